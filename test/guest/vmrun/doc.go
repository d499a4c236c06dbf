// Command vmrun runs one static test binary as root in a QEMU guest that is made for it and thrown away: it is what
// `go test -exec "vmrun FOLDER"` calls, where FOLDER is what mkguest.sh made. Output, exit code and coverage come back as
// if the test had run here. A guest that dies before its test began is booted again.
//
// RDS_CSI_GUEST_APPEND, in the environment, is added to the kernel's command line.
//
// main.go boots until a test ran, qemu.go is one boot, initrd.go what the guest gets, result.go what comes back.
package main
