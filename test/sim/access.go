package sim

import (
	"context"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
)

// SSHAddr is the address of the SSH server, such as "127.0.0.1:40001".
func (s *Sim) SSHAddr() string { return s.ssh.Addr().String() }

// NVMeAddr is the address of the NVMe/TCP target for initiators without a
// kernel.
func (s *Sim) NVMeAddr() string { return s.nvme.Addr().String() }

// TargetURL is the base URL of the initiators' door.
func (s *Sim) TargetURL() string { return "http://" + s.http.Addr().String() }

// HostKey is the key the SSH server shows.
func (s *Sim) HostKey() ssh.PublicKey { return s.hostKey.PublicKey() }

// KnownHosts is the path of a file with the host key under SSHAddr.
func (s *Sim) KnownHosts() string { return filepath.Join(s.options.StateDir, "known_hosts") }

// Exec runs a console line as an operator with every right, without SSH and
// without faults, and returns what the console prints.
func (s *Sim) Exec(ctx context.Context, line string) (string, error) {
	return s.appliance.Exec(ctx, appliance.AllPolicies(), line, nil)
}

// SetFault installs a hook that is asked before each exec over SSH, before any
// injection is; nil takes it away. Its faults have to be those of an exec. The
// hook is called from many goroutines at once.
func (s *Sim) SetFault(hook func(command string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

func (s *Sim) hooked(command string) Fault {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook == nil {
		return Fault{}
	}
	return hook(command)
}

// DropConnections cuts every SSH connection.
func (s *Sim) DropConnections() { s.server.DropConnections() }

// Disks lists the file-backed disks.
func (s *Sim) Disks() []appliance.DiskInfo { return s.appliance.Disks() }

// Sessions lists the hosts that are connected to a subsystem or were never
// confirmed to have left one.
func (s *Sim) Sessions() []export.SessionInfo { return s.exports.Sessions() }

// Revocations lists every host that was cut off since the start.
func (s *Sim) Revocations() []export.Revocation { return s.exports.Revocations() }
