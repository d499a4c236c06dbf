package node

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// user is a process that uses a volume in a mount namespace of its own, where it keeps what is unmounted elsewhere.
type user struct {
	*exec.Cmd

	stdin io.Closer
}

// use starts a process with a copy of every mount. It runs the script, which prints "ready" and then reads its input. The
// arguments are $0 and so on.
func use(t *testing.T, script string, arguments ...string) user {
	t.Helper()
	u := user{Cmd: exec.CommandContext(t.Context(), "sh", append([]string{"-ec", script}, arguments...)...)}
	u.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	u.Stderr = os.Stderr
	stdin, err := u.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := u.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.stdin = stdin
	if err := u.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the user said %q, %v", line, err)
	}
	return u
}

// end has the process end.
func (u user) end(t *testing.T) {
	t.Helper()
	_ = u.stdin.Close()
	if err := u.Wait(); err != nil {
		t.Errorf("the user: %v", err)
	}
}

// refusesToUnstage makes sure that the volume isn't unstaged and stays connected, and that the error says these words.
func (v *volume) refusesToUnstage(t *testing.T, words ...string) {
	t.Helper()
	for range 2 {
		err := v.unstage(t)
		for _, word := range append(words, "still in use") {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("unstage while somebody uses the volume: %v, want an error with %q", err, word)
			}
		}
		t.Log(err)
	}
	if len(world.Controllers(v.nqn())) == 0 {
		t.Error("disconnected while somebody uses the volume")
	}
}

// comesBack ends the volume's life on the node, begins another one, and makes sure that the pod finds its data.
func (v *volume) comesBack(t *testing.T, seed byte) {
	t.Helper()
	v.home(t)
	v.bring(t)
	if !v.holds(t, seed) {
		t.Error("the data is gone")
	}
	v.home(t)
}

// A container may keep a filesystem mounted that kubelet unpublished. What it wrote and didn't sync must not be lost.
func TestAFilesystemThatIsMountedInAnotherNamespaceStays(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			v := newRig(t, world.Options{}).create(t, "pvc-1", kind, nil)
			v.bring(t)
			source := filepath.Join(t.TempDir(), "source")
			if err := os.WriteFile(source, content(1), 0o600); err != nil {
				t.Fatal(err)
			}
			u := use(t, `mount -o bind "$1" "$2"; cat "$0" > "$2/data"; echo ready; read line || true; cat "$0" > "$2/later"`, source, v.target(), t.TempDir())
			twice(t, "unpublish", v.unpublish)
			v.refusesToUnstage(t, fmt.Sprintf("process %d (sh)", u.Process.Pid))
			// Another pod may come meanwhile: it shares the filesystem, which mustn't be checked under a user.
			twice(t, "stage beside the user", v.stage)
			twice(t, "publish beside the user", v.publish)
			if !v.holds(t, 1) {
				t.Error("another pod doesn't see what was written")
			}
			twice(t, "unpublish", v.unpublish)
			v.refusesToUnstage(t)
			u.end(t)
			v.comesBack(t, 1)
		})
	}
}

// A device may be in use without any mount.
func TestADeviceThatIsUsedWithoutAMountStays(t *testing.T) {
	for name, c := range map[string]struct{ script, word string }{
		"open": {`exec 3<>"$0"; cat "$1" >&3; echo ready; read line || true`, "(sh) has it open"},
		"loop": {`losetup /dev/loop3 "$0"; cat "$1" > /dev/loop3; echo ready; read line || true; losetup -d /dev/loop3`, "loop3 is a loop device on it"},
		"swap": {`mkswap "$0" > /dev/null; swapon "$0"; echo ready; read line || true; swapoff "$0"; cat "$1" > "$0"`, "the kernel swaps to it"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newRig(t, world.Options{}).create(t, "pvc-1", "block", nil)
			v.bring(t)
			source := filepath.Join(t.TempDir(), "source")
			if err := os.WriteFile(source, content(1), 0o600); err != nil {
				t.Fatal(err)
			}
			u := use(t, c.script, world.Device(v.nqn()), source)
			twice(t, "unpublish", v.unpublish)
			v.refusesToUnstage(t, c.word)
			u.end(t)
			v.comesBack(t, 1)
		})
	}
}
