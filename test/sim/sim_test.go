package sim_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"

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
				`"file-offset":0,"file-path":"/raid10/rds-csi/x.img","file-size":1073741824,"model":"/raid10/rds-csi/x.img",` +
				`"mount-filesystem":false,"mount-read-only":false,"nvme-tcp-export":true,"nvme-tcp-server-allow-host-name":"",` +
				`"nvme-tcp-server-nqn":"nqn.2000-02.com.mikrotik:x.1","nvme-tcp-server-port":4420,"parent":"","sector-size":512,` +
				`"size":1073741824,"slot":"x","slot-default":"","type":"file"}]` + "\r\n",
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
		lines := strings.SplitAfter(strings.TrimSuffix(got, ""), "\r\n")
		if got == "" {
			lines = nil
		} else {
			lines = lines[:len(lines)-1]
		}
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
