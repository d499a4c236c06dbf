package sim

import (
	"time"

	"golang.org/x/crypto/ssh"

	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/appliance"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/export"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/nvmetcp"
	"git.srvlab.io/whiskey/rds-csi-driver/test/sim/sshd"
)

// Options of a [Sim]. Only StateDir, Pools and Users have no default.
type Options struct {
	// SSHAddr, HTTPAddr and NVMeAddr are loopback addresses to listen on;
	// "127.0.0.1:0" if empty.
	SSHAddr, HTTPAddr, NVMeAddr string
	// StateDir keeps everything that survives a restart; made if missing.
	StateDir string
	// Version is the RouterOS version; "7.24.4" if empty.
	Version string
	// WithoutRose leaves the rose-storage package out.
	WithoutRose bool
	// Pools are the mounted file systems; at least one.
	Pools []appliance.Pool
	// Users may log in; at least one.
	Users []User
	// Uptime is how long the appliance claims to have been up at the start.
	Uptime time.Duration
	// HostKeyType of a new state directory; ed25519 if empty.
	HostKeyType sshd.KeyType
	// Unknowns decides what documentation leaves open.
	Unknowns appliance.Unknowns
	// FlashDelay is how long the configuration takes to reach flash: a power
	// cut loses what was written within it. 0 loses nothing.
	FlashDelay time.Duration
	// BootTimes are how long a reboot takes; the zero value has it wait for
	// NextPhase.
	BootTimes BootTimes
	// Timing is how long commands take; the zero value takes no time.
	Timing appliance.Timing
	// Exports tunes the target: how long a revocation waits, identities.
	Exports export.Options
	// NVMe is how the NVMe/TCP target treats initiators without a kernel.
	NVMe nvmetcp.Options
	// Server caps and tunes the SSH server; HostKey and Users are filled in.
	Server sshd.Options
	// Console is how print looks to people.
	Console appliance.Console
	// Observe, when set, is told of every exec after it was carried out. It
	// is called from many goroutines at once.
	Observe func(Execution)
}

// User is a login of the appliance.
type User struct {
	Name string
	// Keys the user may log in with.
	Keys []ssh.PublicKey
	// Password of a user without keys; nobody with a key can log in with one.
	Password string
	// Policies of the user's group; nil means all of them.
	Policies *appliance.Policies
}

// Execution is one exec line that was carried out over SSH.
type Execution struct {
	User, Command string
	// Output is what went back, faults included.
	Output string
	// Fault is the kind of the one that struck; NoFault if none did.
	Fault FaultKind
	// Duration is how long the appliance took.
	Duration time.Duration
}
