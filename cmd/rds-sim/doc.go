// Command rds-sim runs the simulated RouterOS storage appliance of test/sim as
// a process of its own, on loopback only.
//
//	rds-sim --listen 127.0.0.1:2200 --http 127.0.0.1:2280 --state DIR \
//	  --pool raid10=100GiB --user csi --authorized-key FILE --uptime 24h
//
// What can go wrong is asked for at the HTTP port, see package target:
//
//	curl -d '{"name":"reply lost","when":{"times":1}}' 127.0.0.1:2280/v1/faults
//	curl -X POST 127.0.0.1:2280/v1/power-cut
//
// with --flash-delay, --boot-down and --boot-starting saying what a power cut
// loses and how long a reboot takes, and --timing how slow everything is.
//
// Real initiators can connect with --nvmet 127.0.0.1:4420, on Linux as root
// with the module nvmet-tcp: then the kernel's own target exports the disks.
//
// It writes DIR/known_hosts for SSH clients and keeps disks and files in DIR
// over restarts. It ends on SIGTERM or SIGINT; bad flags make it exit with 2.
//
// flags.go reads the command line, main.go runs the simulator.
package main
