package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

// rig is a simulator and a user who logs in for every line.
type rig struct {
	*bench
	signer ssh.Signer
}

func newRig(t *testing.T, changes ...func(*sim.Options)) *rig {
	t.Helper()
	r := &rig{signer: newSigner(t)}
	r.bench = start(t, func(o *sim.Options) {
		o.Users = append(o.Users, sim.User{Name: "ops", Keys: []ssh.PublicKey{r.signer.PublicKey()}})
		for _, change := range changes {
			change(o)
		}
	})
	return r
}

// withDisk is a rig that has the exported disk x with the comment "0".
func withDisk(t *testing.T, changes ...func(*sim.Options)) *rig {
	t.Helper()
	r := newRig(t, changes...)
	r.operate(t, `/disk add type=file slot="x" file-path="/raid10/x.img" file-size=1M nvme-tcp-export=yes `+
		`nvme-tcp-server-nqn="nqn:0" comment="0"`)
	return r
}

// operate runs a line as an operator, to whom nothing happens.
func (r *rig) operate(t *testing.T, line string) string {
	t.Helper()
	out, err := r.Exec(t.Context(), line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSuffix(out, "\r\n")
}

// login dials and authenticates; the connection ends with ctx.
func (r *rig) login(ctx context.Context) (*ssh.Client, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.SSHAddr())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, r.SSHAddr(), &ssh.ClientConfig{
		User: "ops", Auth: []ssh.AuthMethod{ssh.PublicKeys(r.signer)}, HostKeyCallback: ssh.FixedHostKey(r.HostKey()),
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// try logs in and runs one line.
func (r *rig) try(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := r.login(ctx)
	if err != nil {
		return "", err
	}
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	session.Stdout = &out
	err = session.Run(line)
	return out.String(), err
}

// comment of the disk x.
func (r *rig) comment(t *testing.T) string {
	t.Helper()
	return r.operate(t, `:put [/disk get x comment]`)
}

// comeUp ends a reboot.
func (r *rig) comeUp() {
	for r.Phase() != appliance.Up {
		r.NextPhase()
	}
}

// connect asks to be let in as an initiator, reads the first event and stays.
func (r *rig) connect(t *testing.T, nqn string) (status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.TargetURL()+"/v1/connect",
		strings.NewReader(`{"subsystemNQN":"`+nqn+`","hostNQN":"host"}`))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if _, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// broken counts the initiators that lost their connection without a word.
func (r *rig) broken() int {
	broken := 0
	for _, session := range r.Sessions() {
		if session.Broken && !session.Revoked {
			broken++
		}
	}
	return broken
}
