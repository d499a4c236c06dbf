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
//	s.SetFault(func(command string) sim.Fault { return sim.Fault{Kind: sim.ReplyLost} })
//	s.Exec(ctx, `/disk remove [find where slot="x"]`) // as an operator, without SSH
//	s.Disks(), s.Sessions(), s.Revocations()
//	s.DropConnections() // cuts every SSH connection
//
// Options.Observe is told of every exec, for tests that count them.
// Options.Unknowns, Exports and Server hold a switch for each behaviour of the
// real appliance that nobody has documented.
//
// A simulator started again over the same StateDir has the same host key,
// disks and files.
//
// The parts: script (the language), appliance (state and menus), export (the
// kernel side of the target), sshd (the wire), target (the initiators' door).
package sim
