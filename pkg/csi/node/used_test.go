package node

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
)

// process starts one in a mount namespace of its own, with a copy of every mount, until the test ends. Its script prints a line
// and reads its input; the arguments are $0 and so on.
func process(t *testing.T, script string, arguments ...string) {
	t.Helper()
	p := exec.CommandContext(t.Context(), "sh", append([]string{"-ec", script + "; echo ready; read line || true"}, arguments...)...)
	p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS} // Unshareflags would make the mounts private
	p.Stderr = os.Stderr
	stdin, err := p.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = p.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the process said %q, %v", line, err)
	}
}

// A container has a volume in a place of its own. Whoever merely sees what kubelet mounted keeps no volume from being unstaged.
func TestRealUsersAreToldFromThoseWhoSeeTheHostsMounts(t *testing.T) {
	// The arguments are the published path, kubelet's folder, and an empty folder. As in a container, kubelet's isn't there.
	const contained = `mount --make-rprivate /; mount --bind "$0" "$2"; umount --lazy --recursive "$1"`
	for name, c := range map[string]struct {
		script      string
		block, used bool
	}{
		"nobody":                                  {`true`, false, false},
		"a container":                             {contained, false, true},
		"a container of a part of the volume":     {`mkdir "$0/part"; mount --make-rprivate /; mount --bind "$0/part" "$2"; umount --lazy --recursive "$1"`, false, true},
		"who gets the host's mounts":              {`mount --make-rslave /`, false, false},
		"who gets kubelet's mounts elsewhere":     {`mount --bind "$1" "$2"; mount --make-rslave "$2"`, false, false},
		"who has an old copy of the host's":       {`mount --make-rprivate /`, false, true},
		"nobody, of a device":                     {`true`, true, false},
		"a process that has the device open":      {`exec 3<"$0"`, true, true},
		"who gets the host's mounts, of a device": {`mount --make-rslave /`, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w, loop := newRealWorld(t, "mkfs.ext4", "e2fsck", "resize2fs")
			stage, publish := w.stageRequest(t, epochA), w.publishRequest(t, epochA)
			if c.block {
				stage, publish = w.blockStage(t, oneWriter), w.blockPublish(t, oneWriter)
			}
			if _, err := w.NodeStageVolume(t.Context(), stage); err != nil {
				t.Fatal(err)
			}
			if _, err := w.NodePublishVolume(t.Context(), publish); err != nil {
				t.Fatal(err)
			}
			device, err := w.host.Number(loop.device)
			if err != nil {
				t.Fatal(err)
			}
			place := filepath.Join(t.TempDir(), "place")
			if err := os.Mkdir(place, 0o750); err != nil {
				t.Fatal(err)
			}
			process(t, c.script, w.target, w.folder, place)
			used, err := w.host.Used(t.Context(), []host.DeviceNumber{device, device + 1})
			if err != nil || used[device] != c.used || used[device+1] {
				t.Errorf("used: %v, %v, want %t", used, err, c.used)
			}
		})
	}
}
