package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ready is the line with which the guest's init says that the test begins.
const ready = "guest: ready"

// errNotBegun says that the guest ended, or was stopped, before its test began.
var errNotBegun = errors.New("the guest died before its test began")

// errTooLong says why a guest was stopped.
var errTooLong = errors.New("the guest was stopped, as its time was up")

// guest is one program to run, and what to run it with.
type guest struct {
	// folder is what mkguest.sh made; work is this run's own.
	folder, work string
	program      string
	arguments    []string
	outputs      map[string]string
	limit        time.Duration
	// shown is where the program's output goes.
	shown io.Writer
	// link, unless nil, is the network to another guest.
	link *link
}

// boot starts the guest, shows what its program prints, and returns the program's exit code.
func (g guest) boot(ctx context.Context) (int, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	clock := time.AfterFunc(bootLimit, func() { stop(errTooLong) })
	defer clock.Stop()
	result := filepath.Join(g.work, "result.tar")
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", g.qemuArguments(result)...) //nolint:gosec // a test's own guest
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	qemu.Stderr = os.Stderr
	output, outputEnd, err := os.Pipe()
	if err != nil {
		return exitFailure, err
	}
	console, consoleEnd, err := os.Pipe()
	if err != nil {
		return exitFailure, err
	}
	qemu.ExtraFiles = []*os.File{outputEnd, consoleEnd}
	started := time.Now()
	if err := qemu.Start(); err != nil {
		return exitFailure, err
	}
	_, _ = outputEnd.Close(), consoleEnd.Close()
	kernel := make(chan string)
	go func() { kernel <- readAll(console) }()
	began := show(g.shown, output, func() {
		clock.Reset(g.limit)
		fmt.Fprintf(os.Stderr, "vmrun: booted in %.1f s\n", time.Since(started).Seconds())
	})
	said := <-kernel
	_ = qemu.Wait() // it says nothing that the result doesn't
	code, err := g.collect(result)
	switch {
	case err == nil && began:
		fmt.Fprintf(os.Stderr, "vmrun: %.1f s in all, %.1f s of CPU\n", time.Since(started).Seconds(), qemu.ProcessState.UserTime().Seconds())
		return code, nil
	case began:
		err = fmt.Errorf("%w from the guest", err)
	default:
		err = errNotBegun
	}
	return exitFailure, fmt.Errorf("%w; its console ended with:\n%s", errors.Join(err, context.Cause(ctx)), said)
}

// qemuArguments describe the machine. KVM isn't asked for: not every machine that runs tests has it, and a guest that is
// sometimes five times faster makes tests that fail sometimes.
func (g guest) qemuArguments(result string) []string {
	kernel := []string{
		"console=ttyS0 panic=-1 reboot=t quiet loglevel=4 nokaslr mitigations=off no_timer_check audit=0 apparmor=0 random.trust_cpu=on cryptomgr.notests",
		// Linux 6.1 takes what its initiator lends to its own target, over loopback, for a leak of memory ("kernel BUG at mm/usercopy.c").
		"hardened_usercopy=off",
		// What takes a second of emulation each and what no test needs.
		"initcall_blacklist=init_encrypted,crypto_kdf108_init,jent_mod_init,load_system_certificate_list,bpf_tcp_ca_kfunc_init",
		os.Getenv("RDS_CSI_GUEST_APPEND"),
	}
	return append([]string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// One thread emulates both CPUs in turn. With one each, a CPU sometimes goes on with what it translated while the other
		// one patched that code, as Linux does with its own: "Oops: int3". It isn't slower, as nothing needs to be locked.
		"-machine", "q35,vmport=off,hpet=off", "-accel", "tcg,thread=single", "-smp", "2", "-m", "1024",
		// QEMU 7.2 emulates cmpxchg16b wrongly enough to crash Linux 6.12.
		"-cpu", "max,-cx16,-la57",
		"-kernel", filepath.Join(g.folder, "vmlinux"), "-initrd", g.initrd(), "-append", strings.Join(kernel, " "),
		"-chardev", "file,id=console,path=/dev/fd/4", "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=output,path=/dev/fd/3", "-device", "virtserialport,nr=1,chardev=output",
		"-chardev", "file,id=result,path=" + result, "-device", "virtserialport,nr=2,chardev=result",
	}, g.link.qemuArguments()...)
}

// show copies the program's output to shown, of which the line that says ready is not a part. It tells whether that line came.
func show(shown io.Writer, output io.Reader, begin func()) bool {
	lines := bufio.NewReader(output)
	line, err := lines.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != ready {
		return false
	}
	begin()
	_, _ = io.Copy(shown, lines)
	return true
}

// readAll reads to the end and keeps the last of it.
func readAll(console io.Reader) string {
	const keep = 6000
	text, _ := io.ReadAll(console)
	return string(bytes.TrimSpace(text[max(0, len(text)-keep):]))
}
