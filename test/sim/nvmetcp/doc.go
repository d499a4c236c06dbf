// Package nvmetcp lets initiators without a kernel see the exports of the
// simulator: it speaks NVMe/TCP as far as opening an admin queue goes, and
// ends connections as the registry says. It serves no I/O; package kernel does.
//
// server.go accepts and holds connections, pdu.go reads and writes the
// protocol's messages.
package nvmetcp
