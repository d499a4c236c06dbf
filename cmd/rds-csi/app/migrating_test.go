package app

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/rds"
	"git.srvlab.io/whiskey/rds-csi-driver/test/docs"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim"
	"git.srvlab.io/whiskey/rds-csi-driver/test/simtest"
)

// What docs/migrating.md has people do on the appliance leaves the data where it can be published from.
func TestAVolumeOfVersion0CanBeMoved(t *testing.T) {
	const name = "pvc-ccdecfad-a8bf-572e-9120-464c4d99f12f"
	folder := ""
	simulator, config := simtest.Start(t, func(o *sim.Options) {
		o.Unknowns.SFTPRename, o.Unknowns.SlotMax, folder = true, len(name), filepath.Join(o.StateDir, "files")
	})
	exec := func(lines string) {
		t.Helper()
		for line := range strings.Lines(lines) {
			if out, err := simulator.Exec(t.Context(), line); err != nil || out != "" {
				t.Fatalf("%s\ngot %q, %v", line, out, err)
			}
		}
	}
	id, err := rds.NewVolumeID(simtest.Pool, "rds-csi", simtest.ClusterID, name)
	if err != nil {
		t.Fatal(err)
	}
	exec(`/file add name="raid10/metal-csi" type=directory`)
	exec(`/disk add type=file file-path=/raid10/metal-csi/` + name + `.img file-size=16M slot=` + name +
		` nvme-tcp-export=yes nvme-tcp-server-port=4420 nvme-tcp-server-nqn=nqn.2000-02.com.mikrotik:` + name)
	data := bytes.Repeat([]byte("data"), 4<<20)
	if err := os.WriteFile(filepath.Join(folder, simtest.Pool, "metal-csi", name+".img"), data, 0o600); err != nil {
		t.Fatal(err)
	}

	values := strings.NewReplacer("NAME", name, "POOL", simtest.Pool, "CLUSTER", simtest.ClusterID, "SLOT", id.Slot())
	console := docs.Blocks(t, "../../..", "migrating.md", "ros hardware")
	exec(values.Replace(console[0]))
	rename(t, config, values.Replace(docs.Blocks(t, "../../..", "migrating.md", "sftp hardware")[0]))
	exec(values.Replace(console[1]))
	mend := &applianceMendOptions{volumeID: id.String(), volume: name, appliance: applianceOptions{config: config.Config, ssh: config.SSH, directory: "rds-csi"}}
	if err := mend.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := mendRecord(t.Context(), mend, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}

	client := simtest.Client(t, config)
	disk, err := client.Get(t.Context(), id)
	if err != nil || disk.Exported || disk.Size != int64(len(data)) || disk.Record.Volume != name {
		t.Fatalf("got %+v, %v, want the disk under its new name, not exported", disk, err)
	}
	if disk, err = client.Publish(t.Context(), disk, disk.Record.Publish("node-a/machine-a", "mount", "single-node-writer", false)); err != nil || !disk.Admits() {
		t.Errorf("publish: %+v, %v", disk, err)
	}
	if got, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(id.String())+".img")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v, want the data as it was", len(got), err)
	}
	if left := simulator.Disks(); len(left) != 1 {
		t.Errorf("left: %+v, want one disk", left)
	}
}

// rename carries out sftp's command of that name.
func rename(t *testing.T, config simtest.Config, line string) {
	t.Helper()
	var from, to string
	if _, err := fmt.Sscanf(line, "rename %s %s", &from, &to); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	key, err := os.ReadFile(config.SSH.PrivateKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := knownhosts.New(config.SSH.KnownHostsFile)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := ssh.Dial("tcp", config.SSH.Address, &ssh.ClientConfig{
		User: config.SSH.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: pinned,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	client, err := sftp.NewClient(connection)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if err := client.Rename(from, to); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}
