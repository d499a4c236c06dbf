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

	"git.srvlab.io/whiskey/rds-csi-driver/test/guest/world"
)

// product is what the program calls itself when it is to be the driver's own, with its flags.
const product = "rds-csi"

// rdsCSI is `rds-csi node` with these flags, in a process of its own, and what it prints.
func rdsCSI(t *testing.T, flags ...string) (process *exec.Cmd, printed *bytes.Buffer) {
	t.Helper()
	world.Guest(t)
	ctx, cancel := context.WithTimeout(t.Context(), world.Patience)
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
	} {
		t.Run(name, func(t *testing.T) {
			process, printed := rdsCSI(t, c.flags...)
			c.start(t, process)
			err := process.Run()
			exit, exited := errors.AsType[*exec.ExitError](err)
			if !exited || exit.ExitCode() != 1 {
				t.Fatalf("it ended with %v, want exit code 1; it printed:\n%s", err, printed)
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

// isProduct reports whether this process is to be the driver.
func isProduct() bool { return os.Args[0] == product }
