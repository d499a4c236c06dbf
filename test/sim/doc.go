// Package sim runs a simulated RouterOS storage appliance: SSH for its
// management, loopback HTTP for the processes that play NVMe/TCP initiators.
// It shares no code with the driver it tests.
//
// In a test:
//
//	s, err := sim.Start(ctx, sim.Options{
//		StateDir: t.TempDir(),
//		Pools:    []appliance.Pool{{Name: "raid10", Size: 100 * appliance.GiB}},
//		Users:    []sim.User{{Name: "csi", Keys: []ssh.PublicKey{signer.PublicKey()}}},
//	})
//	defer s.Close()
//	s.SSHAddr()      // "127.0.0.1:40001"
//	s.HostKey()      // ssh.PublicKey to pin
//	s.KnownHosts()   // path of a known_hosts file with that key
//	s.TargetURL()    // "http://127.0.0.1:40002": see package target
//	s.Exec(ctx, `/disk remove [find where slot="x"]`) // as an operator, without SSH
//	s.Disks(), s.Sessions(), s.Revocations()
//	s.DropConnections() // cuts every SSH connection
//
// # Faults
//
// [Faults] lists one of every kind, by stable names, for tests that go through
// all of them. [Sim.Inject] has one wait for its occasions, which [When]
// selects by number, by regular expression or by seeded probability, and how
// often:
//
//	for _, f := range sim.Faults() {
//		i := s.Inject(f.Fault, sim.When{Times: 2, Command: regexp.MustCompile("/disk add")})
//		... what the test does; f.Silent faults have to be given a short deadline ...
//		i.Strikes()     // how often it struck: check that it did
//		s.ClearFaults() // nothing goes wrong any more; what was done stays done
//		for f.Reboots && s.Phase() != appliance.Up {
//			s.NextPhase()
//		}
//		s.Advance(time.Hour) // uptime grows, flash gets what was written
//	}
//
// [Sim.SetFault] installs a hook instead, for tests that decide themselves.
// A fault strikes an exec, the opening of a channel or a connection, see
// [FaultKind.Occasion]; fault.go documents each kind. Lines that somebody else
// runs in between ours are Fault{Kind: Interleave, Statements: k, Lines: ...}.
//
// # Reboot and time
//
// [Sim.Reboot] takes the appliance down: connections are reset ([appliance.Down]),
// then SSH answers while no pool is mounted ([appliance.Starting]), then it is
// up. [Sim.NextPhase] goes on; with Options.BootTimes it goes on by itself.
// A power cut loses the configuration of the last Options.FlashDelay: record,
// NQN and export together; [Sim.Advance] makes what was written older.
// Options.Timing gives commands the durations of the real appliance.
//
// # Output for people
//
// print without as-value gives what captures of real hardware show (see
// appliance/testdata); Options.Console sets its width and shuffles it.
//
// Options.Observe is told of every exec, for tests that count them.
// Options.Unknowns, Exports and Server hold a switch for each behaviour of the
// real appliance that nobody has documented.
//
// A simulator started again over the same StateDir has the same host key,
// disks and files.
//
// Where to look: fault.go and faultlist.go say what can go wrong, inject.go and
// subject.go when, strike.go (execs) and wire.go (channels, connections) make
// it happen, reboot.go takes the appliance down.
//
// The parts: script (the language), appliance (state and menus), export (the
// kernel side of the target), sshd (the wire), sftpd (its file subsystem),
// target (the initiators' door).
package sim
