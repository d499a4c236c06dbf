package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sync/errgroup"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/nvmetcp"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/target"
)

// ErrOptions is wrapped by every error about a bad [Options].
var ErrOptions = appliance.ErrOptions

// Sim is a running simulator. It is safe for concurrent use.
type Sim struct {
	options   Options
	appliance *appliance.Appliance
	exports   *export.Registry
	hostKey   ssh.Signer
	server    *sshd.Server
	// ssh, http and nvme are where it listens.
	ssh, http, nvme net.Listener
	cancel          context.CancelFunc
	running         *errgroup.Group
	faults          plan
	rebooted        chan struct{}   // one for every reboot
	stopped         <-chan struct{} // closed when the simulator stops

	mu      sync.Mutex
	hook    func(command string) Fault
	stalled []line // lines that are applied later
}

// Start starts a simulator that runs until ctx ends or Close is called. Both
// ports accept connections when it returns.
func Start(ctx context.Context, options Options) (*Sim, error) {
	if len(options.Users) == 0 || options.StateDir == "" {
		return nil, fmt.Errorf("%w: StateDir and at least one user are needed", ErrOptions)
	}
	if options.HostKeyType == "" {
		options.HostKeyType = sshd.Ed25519
	}
	s := &Sim{options: options, exports: export.New(options.Exports), rebooted: make(chan struct{})}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.release())
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.running, ctx = errgroup.WithContext(ctx)
	s.stopped = ctx.Done()
	s.running.Go(func() error { return s.comeBack(ctx) })
	s.running.Go(func() error { return s.server.Run(ctx, s.ssh) })
	s.running.Go(func() error { return nvmetcp.New(s.options.NVMe, s.exports).Run(ctx, s.nvme) })
	s.running.Go(func() error {
		return target.New(s.exports, s.appliance, s.control()).Run(ctx, s.http)
	})
	return s, nil
}

// open makes everything that can fail, ready to run.
func (s *Sim) open(ctx context.Context) error {
	if err := os.MkdirAll(s.options.StateDir, 0o750); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	var err error
	s.appliance, err = appliance.Open(appliance.Options{
		StateDir: s.options.StateDir, Version: s.options.Version, WithoutRose: s.options.WithoutRose,
		Pools: s.options.Pools, Uptime: s.options.Uptime, Exports: s.exports, Unknowns: s.options.Unknowns,
		FlashDelay: s.options.FlashDelay, Timing: s.options.Timing,
		Console: s.options.Console, Logins: s.logins, MaxSessions: cmp.Or(s.options.Server.MaxSessions, sshd.DefaultMaxSessions),
	})
	if err != nil {
		return fmt.Errorf("open appliance: %w", err)
	}
	s.hostKey, err = sshd.LoadHostKey(filepath.Join(s.options.StateDir, "host_key"), s.options.HostKeyType)
	if err != nil {
		return err
	}
	server := s.options.Server
	server.HostKey = s.hostKey
	server.StopOnDisconnect = s.options.Unknowns.StopOnDisconnect
	server.Subsystem = s.subsystem
	server.Connection, server.Channel = s.connectionTrouble, s.channelTrouble
	if s.options.Timing.Scale > 0 {
		server.Handshake = s.options.Timing.Handshake
	}
	server.Users, server.Passwords = s.credentials()
	s.server = sshd.New(server, handler{s})
	if s.ssh, err = listen(ctx, s.options.SSHAddr); err != nil {
		return err
	}
	if s.http, err = listen(ctx, s.options.HTTPAddr); err != nil {
		return err
	}
	if s.nvme, err = listen(ctx, s.options.NVMeAddr); err != nil {
		return err
	}
	return s.writeKnownHosts()
}

// listen refuses everything but loopback: the simulator trusts whoever asks.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: address %q: %w", ErrOptions, addr, err)
	}
	if !tcp.IP.IsLoopback() {
		return nil, fmt.Errorf("%w: address %q is not a loopback address", ErrOptions, addr)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

func (s *Sim) writeKnownHosts() error {
	line := knownhosts.Line([]string{s.SSHAddr()}, s.HostKey()) + "\n"
	if err := os.WriteFile(s.KnownHosts(), []byte(line), 0o600); err != nil {
		return fmt.Errorf("write known hosts: %w", err)
	}
	return nil
}

// Close stops the simulator and waits for everything it started. State stays
// in the state directory.
func (s *Sim) Close() error {
	s.cancel()
	return s.Wait()
}

// Wait blocks until the simulator has stopped: after Close, when the context
// of Start ends, or when one of its servers fails.
func (s *Sim) Wait() error {
	err := s.running.Wait()
	s.cancel()
	return errors.Join(err, s.release())
}

// release frees what open took.
func (s *Sim) release() error {
	var errs []error
	for _, l := range []net.Listener{s.ssh, s.http, s.nvme} {
		if l != nil {
			// Closing it twice is fine: the servers close theirs.
			_ = l.Close()
		}
	}
	if s.appliance != nil {
		errs = append(errs, s.appliance.Close())
	}
	return errors.Join(errs...)
}
