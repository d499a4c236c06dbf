package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// without does something on a thread that lacks these capabilities.
func without(t *testing.T, do func(), dropped ...int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before [2]unix.CapUserData
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	after := before
	for _, c := range dropped {
		after[c/32].Effective &^= 1 << (c % 32)
	}
	if err := unix.Capset(&header, &after[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Capset(&header, &before[0]); err != nil {
			t.Fatal(err)
		}
	}()
	do()
}

// startStranger starts a process that isn't root's, until the test ends.
func startStranger(t *testing.T) {
	t.Helper()
	stranger := exec.CommandContext(t.Context(), "sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stranger.Process.Kill(), stranger.Wait() })
}

// A process that the kernel doesn't show may have the device, which must not be disconnected then.
func TestRealUsersThatAreNotShownAreNotTakenForNone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	startStranger(t)
	for name, dropped := range map[string][]int{
		"of processes that may do more": {unix.CAP_SYS_PTRACE},
		"of processes of another user":  {unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE},
	} {
		t.Run(name, func(t *testing.T) {
			without(t, func() {
				if users, err := (Linux{}).Users(t.Context(), 1); !errors.Is(err, fs.ErrPermission) {
					t.Errorf("users %v, %v, want an error", users, err)
				}
			}, dropped...)
		})
	}
}
