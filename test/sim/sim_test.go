package sim_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a simulator and one SSH client to it.
type bench struct {
	*sim.Sim
	client *ssh.Client
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// start runs a simulator with one pool and a user csi, after change.
func start(t *testing.T, change func(*sim.Options)) *bench {
	t.Helper()
	signer := newSigner(t)
	options := sim.Options{
		StateDir: t.TempDir(),
		Pools:    []appliance.Pool{{Name: "raid10", Size: 100 * appliance.GiB}},
		Users:    []sim.User{{Name: "csi", Keys: []ssh.PublicKey{signer.PublicKey()}}},
	}
	if change != nil {
		change(&options)
	}
	s, err := sim.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &bench{Sim: s, client: dial(t, s, signer)}
}

func dial(t *testing.T, s *sim.Sim, signer ssh.Signer) *ssh.Client {
	t.Helper()
	client, err := ssh.Dial("tcp", s.SSHAddr(), &ssh.ClientConfig{
		User:            "csi",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: ssh.FixedHostKey(s.HostKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// exec runs one line over SSH and returns stdout; stderr must stay empty.
func (b *bench) exec(t *testing.T, line string) (string, error) {
	t.Helper()
	session, err := b.client.NewSession()
	if err != nil {
		return "", err
	}
	defer func() { _ = session.Close() }()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	err = session.Run(line)
	if stderr.Len() > 0 {
		t.Errorf("exec wrote to stderr: %q", stderr.String())
	}
	return stdout.String(), err
}

const addLine = `:if ([:len [/disk find where mount-point="raid10" mounted=yes]] = 1 && [:len [/disk find where slot="x"]] = 0 && ` +
	`[:len [/file find where name="raid10/rds-csi/x.img"]] = 0) do={ :if ([:len [/file find where name="raid10/rds-csi"]] = 0) ` +
	`do={ /file add name="raid10/rds-csi" type=directory }; /disk add type=file slot="x" file-path="/raid10/rds-csi/x.img" ` +
	`file-size=1073741824 mount-filesystem=no nvme-tcp-export=no nvme-tcp-server-port=4420 nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:x.0" comment="rds-csi/1 0" }`

const switchLine = `:onerror e in={ /disk set [find where slot="x" comment="rds-csi/1 0"] nvme-tcp-export=no; ` +
	`/disk set [find where slot="x" comment="rds-csi/1 0"] nvme-tcp-server-nqn="nqn.2000-02.com.mikrotik:x.1" comment="rds-csi/1 1"; ` +
	`/disk set [find where slot="x" comment="rds-csi/1 1"] nvme-tcp-export=yes; :put "N-DONE" } do={ :put ("N-ERR " . $e) }; ` +
	`:put ("N-DISKS " . [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value where slot="x"]]); ` +
	`:put ("N-POOLS " . [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value where mount-point="raid10"]]); ` +
	`:put ("N-FILES " . [:serialize to=json options=json.no-string-conversion value=[/file print detail as-value where name="raid10/rds-csi/x.img"]]); ` +
	`:put ("N-UPTIME " . [/system resource get uptime]); :put "N-END"`

func TestAClientsDayOverSSH(t *testing.T) {
	b := start(t, nil)
	steps := []struct {
		line string
		want []string // prefixes of the lines
	}{
		{addLine, nil},
		{addLine, nil}, // guarded: a second time changes nothing
		{switchLine, []string{
			"N-DONE\r\n",
			`N-DISKS [{".id":"*2","block-device":true,"comment":"rds-csi/1 1","compress":false,"disabled":false,"empty":false,` +
				`"file-offset":0,"file-path":"/raid10/rds-csi/x.img","file-size":1073741824,"iscsi-export":false,"media-interface":"none","media-sharing":false,"model":"/raid10/rds-csi/x.img",` +
				`"mount-filesystem":false,"mount-read-only":false,"nfs-sharing":false,"nvme-tcp-export":true,"nvme-tcp-server-allow-host-name":"",` +
				`"nvme-tcp-server-nqn":"nqn.2000-02.com.mikrotik:x.1","nvme-tcp-server-port":4420,"parent":"","raid-master":"none","sector-size":512,` +
				`"size":1073741824,"slot":"x","slot-default":"","smb-sharing":false,"swap":false,"type":"file"}]` + "\r\n",
			`N-POOLS [{".id":"*1","block-device":true,"disabled":false,"free":106300440576,"fs":"xfs",`,
			`N-FILES [{".id":`,
			"N-UPTIME 00:00:0",
			"N-END\r\n",
		}},
		{
			`:put [:serialize to=json options=json.no-string-conversion value=[/disk print detail as-value proplist=slot,size,comment where type=file and comment~"^rds-csi/1 "]]`,
			[]string{`[{".id":"*2","comment":"rds-csi/1 1","size":1073741824,"slot":"x"}]`},
		},
		{`/disk remove [find where slot="x" comment="rds-csi/1 1"]`, nil},
		{`:put [:len [/disk find where slot="x"]]; :put [:len [/file find where name="raid10/rds-csi/x.img"]]`, []string{"0\r\n", "1\r\n"}},
		{
			`:if ([:len [/disk find where slot="x"]] = 0 && [:len [/disk find where file-path="/raid10/rds-csi/x.img"]] = 0) do={ /file remove [find where name="raid10/rds-csi/x.img"] }`,
			nil,
		},
		{`:put [:len [/file find where name="raid10/rds-csi/x.img"]]`, []string{"0\r\n"}},
		{`:put [/system resource get version]`, []string{"7.24.4 (stable)\r\n"}},
		{`:put [:len [/system package find where name="rose-storage" disabled=no]]`, []string{"1\r\n"}},
	}
	for _, step := range steps {
		got, err := b.exec(t, step.line)
		if err != nil {
			t.Fatalf("exec %s: %v", step.line, err)
		}
		lines := strings.SplitAfter(got, "\r\n")
		lines = lines[:len(lines)-1] // what follows the last line break
		if len(lines) != len(step.want) {
			t.Fatalf("exec %s:\ngot  %q\nwant %d lines", step.line, lines, len(step.want))
		}
		for i, want := range step.want {
			if !strings.HasPrefix(lines[i], want) {
				t.Errorf("exec %s, line %d:\ngot  %q\nwant %q", step.line, i, lines[i], want)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	const line = `/disk set x comment="1"; /disk set x comment="2"; :put "reply"`
	tests := []struct {
		name    string
		fault   sim.Fault
		comment string // what the disk says afterwards
		output  string
		status  bool // whether an exit status arrives
	}{
		{"none", sim.Fault{}, "2", "reply\r\n", true},
		{"drop before", sim.Fault{Kind: sim.DropBefore}, "0", "", false},
		{"drop after none", sim.Fault{Kind: sim.DropAfter}, "0", "", false},
		{"drop after one", sim.Fault{Kind: sim.DropAfter, Statements: 1}, "1", "", false},
		{"drop after all", sim.Fault{Kind: sim.DropAfter, Statements: 3}, "2", "reply\r\n", false},
		{"reply lost", sim.Fault{Kind: sim.ReplyLost}, "2", "", false},
		{"truncate", sim.Fault{Kind: sim.Truncate, Keep: 3}, "2", "rep", true},
		{"truncate nothing", sim.Fault{Kind: sim.Truncate, Keep: 300}, "2", "reply\r\n", true},
		{"garbage", sim.Fault{Kind: sim.Garbage, Line: "motd"}, "2", "motd\r\nreply\r\n", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, nil)
			if _, err := b.Exec(t.Context(), `/disk add type=file slot=x file-path=raid10/x.img file-size=1K comment="0"`); err != nil {
				t.Fatal(err)
			}
			b.SetFault(func(command string) sim.Fault {
				if command != line {
					t.Errorf("the hook saw %q, want %q", command, line)
				}
				return test.fault
			})
			output, err := b.exec(t, line)
			if output != test.output || (err == nil) != test.status {
				t.Errorf("got %q, error %v, want %q and an exit status: %t", output, err, test.output, test.status)
			}
			if got := b.Disks()[0].Comment; got != test.comment {
				t.Errorf("the disk's comment is %q, want %q", got, test.comment)
			}
		})
	}
}

func TestAHangIsEndedByTheClient(t *testing.T) {
	for kind, comment := range map[sim.FaultKind]string{sim.Hang: "0", sim.HangAfter: "1"} {
		b := start(t, nil)
		if _, err := b.Exec(t.Context(), `/disk add type=file slot=x file-path=raid10/x.img file-size=1K comment="0"`); err != nil {
			t.Fatal(err)
		}
		carriedOut := make(chan struct{})
		b.SetFault(func(string) sim.Fault { close(carriedOut); return sim.Fault{Kind: kind} })
		ended := make(chan error)
		go func() {
			_, err := b.exec(t, `/disk set x comment="1"`)
			ended <- err
		}()
		<-carriedOut
		for b.Disks()[0].Comment != comment {
			runtime.Gosched()
		}
		select {
		case err := <-ended:
			t.Errorf("the exec ended with %v, want it to hang", err)
		default:
		}
		_ = b.client.Close()
		if err := <-ended; err == nil {
			t.Error("the exec succeeded, want it cut")
		}
	}
}

func TestAFaultCannotBeCaughtByTheLine(t *testing.T) {
	b := start(t, nil)
	b.SetFault(func(string) sim.Fault { return sim.Fault{Kind: sim.DropAfter, Statements: 1} })
	output, err := b.exec(t, `:onerror e in={ :put "a"; :put "b" } do={ :put "caught" }`)
	if output != "a\r\n" || err == nil {
		t.Errorf("got %q, %v, want only the first statement's output and no exit status", output, err)
	}
}

func TestARestartKeepsKeyDisksAndFiles(t *testing.T) {
	var options sim.Options
	first := start(t, func(o *sim.Options) { options = *o })
	if _, err := first.exec(t, addLine); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	options.SSHAddr = first.SSHAddr()
	second, err := sim.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if got, want := second.Disks(), first.Disks(); !cmp.Equal(got, want) || len(got) != 1 {
		t.Errorf("got disks %v, want %v", got, want)
	}
	if !bytes.Equal(second.HostKey().Marshal(), first.HostKey().Marshal()) || second.SSHAddr() != first.SSHAddr() {
		t.Error("key or address changed over the restart")
	}
}

func TestAnInitiatorLosesItsSubsystemOverSSH(t *testing.T) {
	b := start(t, func(o *sim.Options) { o.Exports.RevokeWait = time.Nanosecond })
	if _, err := b.exec(t, addLine+`; /disk set x nvme-tcp-export=yes`); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.TargetURL()+"/v1/connect",
		strings.NewReader(`{"subsystemNQN":"nqn.2000-02.com.mikrotik:x.0","hostNQN":"host"}`))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	stream := bufio.NewScanner(response.Body)
	if !stream.Scan() || !strings.Contains(stream.Text(), `"file":"`+b.Disks()[0].File+`"`) {
		t.Fatalf("got %q, want the backing file", stream.Text())
	}
	if _, err := b.exec(t, switchLine); err != nil {
		t.Fatal(err)
	}
	if !stream.Scan() || stream.Text() != `{"event":"revoked"}` {
		t.Errorf("got %q, want revoked", stream.Text())
	}
	if got := b.Revocations(); len(got) != 1 || got[0].Confirmed || got[0].Slot != "x" {
		t.Errorf("got revocations %+v, want one of x that nobody confirmed", got)
	}
	if got := b.Sessions(); len(got) != 1 || !got[0].Revoked {
		t.Errorf("got sessions %+v, want the one that never confirmed", got)
	}
}

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:0", "nonsense"} {
		for name, set := range map[string]func(*sim.Options){
			"ssh":  func(o *sim.Options) { o.SSHAddr = addr },
			"http": func(o *sim.Options) { o.HTTPAddr = addr },
		} {
			options := sim.Options{
				StateDir: t.TempDir(), Pools: []appliance.Pool{{Name: "p", Size: 1}}, Users: []sim.User{{Name: "csi"}},
			}
			set(&options)
			s, err := sim.Start(t.Context(), options)
			if !errors.Is(err, sim.ErrOptions) {
				t.Errorf("%s on %s: got %v, want ErrOptions", name, addr, err)
			}
			if err == nil {
				_ = s.Close()
			}
		}
	}
}

func TestAUserWithoutTheSSHPolicyCannotLogIn(t *testing.T) {
	signer := newSigner(t)
	b := start(t, func(o *sim.Options) {
		o.Users = append(o.Users, sim.User{
			Name: "nossh", Keys: []ssh.PublicKey{signer.PublicKey()}, Policies: &appliance.Policies{Read: true},
		})
	})
	client, err := ssh.Dial("tcp", b.SSHAddr(), &ssh.ClientConfig{
		User: "nossh", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(b.HostKey()),
	})
	if err == nil {
		_ = client.Close()
		t.Error("logged in, want a refusal")
	}
}

func TestEveryExecIsObserved(t *testing.T) {
	seen := make(chan sim.Execution, 1)
	b := start(t, func(o *sim.Options) { o.Observe = func(e sim.Execution) { seen <- e } })
	if _, err := b.exec(t, `:put 1`); err != nil {
		t.Fatal(err)
	}
	got := <-seen
	got.Duration = 0
	if want := (sim.Execution{User: "csi", Command: ":put 1", Output: "1\r\n"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
