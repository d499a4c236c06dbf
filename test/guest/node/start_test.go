package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/csi/node/host"
	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// product is what the program calls itself when it is to be the driver's own, with its flags.
const product = "rds-csi"

// productLimit is how long it runs at most.
const productLimit = 2 * time.Minute

// rdsCSI is `rds-csi node` with these flags, in a process of its own, and what it prints.
func rdsCSI(t *testing.T, flags ...string) (process *exec.Cmd, printed *bytes.Buffer) {
	t.Helper()
	world.Guest(t)
	ctx, cancel := context.WithTimeout(t.Context(), productLimit)
	t.Cleanup(cancel)
	printed = &bytes.Buffer{}
	process = exec.CommandContext(ctx, "/proc/self/exe")
	process.Args = append([]string{product, "node", "--node-name", "node-a", "--endpoint", "unix://" + t.TempDir() + "/csi.sock"}, flags...)
	process.Stdout, process.Stderr = printed, printed
	return process, printed
}

// A node plugin that can't work ends, and its last line, which kubectl describe pod shows, says why and what to do.
func TestANodePluginThatCannotWorkSaysWhy(t *testing.T) {
	identity := []string{"--machine-id", "machine-a"}
	nothing := func(*testing.T, *exec.Cmd) {}
	for name, c := range map[string]struct {
		flags []string
		start func(t *testing.T, process *exec.Cmd)
		want  []string
	}{
		"its own network": {identity, func(_ *testing.T, process *exec.Cmd) {
			process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		}, []string{"hostNetwork: true"}},
		"its own processes": {identity, func(_ *testing.T, process *exec.Cmd) {
			process.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
		}, []string{"hostPID: true"}},
		"nvme-tcp isn't loaded": {identity, func(t *testing.T, _ *exec.Cmd) {
			t.Helper()
			unload(t, "nvme_tcp", "nvme_fabrics")
		}, []string{"modprobe nvme-tcp", "/etc/modules-load.d", "/dev/nvme-fabrics"}},
		"the kernel can't load nvme-tcp": {identity, func(t *testing.T, _ *exec.Cmd) {
			t.Helper()
			setModprobe(t, "/bin/false")
			unload(t, "nvme_tcp")
		}, []string{"modprobe nvme-tcp", "/etc/modules-load.d"}},
		"no commands": {identity, func(t *testing.T, process *exec.Cmd) {
			t.Helper()
			process.Env = []string{"PATH=" + t.TempDir()}
		}, []string{"mkfs.ext4, mkfs.xfs", "install"}},
		"no identity": {nil, nothing, []string{"no identity", "--machine-id", "hostPID"}},
		"an identity that many have": {
			[]string{"--machine-id", "03000200-0400-0500-0006-000700080009"},
			nothing,
			[]string{"--machine-id", "placeholder", "status.nodeInfo"},
		},
		"a folder that isn't shared": {
			append([]string{"--kubelet-dir", "/tmp"}, identity...), nothing,
			[]string{"--kubelet-dir /tmp", "mountPropagation: Bidirectional", "mount --make-rshared"},
		},
		"no folder of kubelet's": {identity, nothing, []string{"--kubelet-dir /var/lib/kubelet", "--root-dir"}},
		"no node name":           {[]string{"--node-name="}, nothing, []string{"--node-name", "spec.nodeName"}},
	} {
		t.Run(name, func(t *testing.T) {
			process, printed := rdsCSI(t, c.flags...)
			c.start(t, process)
			err := process.Run()
			exit, exited := errors.AsType[*exec.ExitError](err)
			if !exited || exit.ExitCode() < 1 {
				t.Fatalf("it ended with %v, want an exit code; it printed:\n%s", err, printed)
			}
			lines := strings.Split(strings.TrimSpace(printed.String()), "\n")
			last := lines[len(lines)-1]
			for _, want := range append(c.want, product+" node: ") {
				if !strings.Contains(last, want) {
					t.Errorf("the last line doesn't say %q:\n%s", want, printed)
				}
			}
			t.Log(last)
		})
	}
}

// unload removes modules until the test ends.
func unload(t *testing.T, modules ...string) {
	t.Helper()
	for _, module := range modules {
		if output, err := exec.CommandContext(t.Context(), "rmmod", module).CombinedOutput(); err != nil {
			t.Fatalf("unload %s: %v: %s", module, err, output)
		}
	}
	t.Cleanup(func() {
		if output, err := exec.Command("modprobe", "nvme-tcp").CombinedOutput(); err != nil { //nolint:noctx // it is done at once
			t.Errorf("load nvme-tcp: %v: %s", err, output)
		}
	})
}

// setModprobe sets, until the test ends, what the kernel calls to load a module.
func setModprobe(t *testing.T, command string) {
	t.Helper()
	const setting = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(setting)
	if err == nil {
		err = os.WriteFile(setting, []byte(command), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(setting, before, 0) })
}

// nvme-cli, for one, has only nvme-fabrics loaded. The kernel itself loads the other module for the driver, which has
// neither the right to do so nor the file.
func TestANodePluginHasTheKernelLoadItsModule(t *testing.T) {
	world.Guest(t)
	unload(t, "nvme_tcp")
	startPlugin(t, host.Capabilities())
	if _, err := os.Stat("/sys/module/nvme_tcp"); err != nil {
		t.Error(err)
	}
}

// isProduct reports whether this process is to be the driver.
func isProduct() bool { return os.Args[0] == product }
