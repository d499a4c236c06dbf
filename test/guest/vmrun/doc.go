// Command vmrun runs one static test binary as root in a QEMU guest that is made for it and thrown away: it is what
// `go test -exec "vmrun FOLDER"` calls, where FOLDER is what mkguest.sh made. Output, exit code and coverage come back as
// if the test had run here. A guest that dies before its test began is booted again.
//
// With --pair there are two guests on a network of their own, each with the program. The first one's run is the test. The
// second one's has RDS_CSI_GUEST_SERVE in its environment, host:port, and should do there what the first one asks for, which
// finds the same in RDS_CSI_GUEST_OTHER, and its own address in RDS_CSI_GUEST_ADDRESS. RDS_CSI_GUEST_MONITOR is the first
// one's device at which the second one's QEMU takes commands (QMP): to stop that machine as a whole, to let it go on, and to
// look into its memory meanwhile.
//
// RDS_CSI_GUEST_APPEND, in the environment, is added to the kernel's command line.
//
// main.go boots until a test ran, qemu.go is one boot, initrd.go what the guest gets, pair.go two guests, result.go what comes back.
package main
