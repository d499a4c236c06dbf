// Command rds-sim runs the simulated RouterOS storage appliance of test/sim as
// a process of its own, on loopback only.
//
//	rds-sim --ssh 127.0.0.1:2200 --http 127.0.0.1:2280 --state DIR \
//	  --pool raid10=100GiB --user csi --authorized-key FILE --uptime 24h
//
// It writes DIR/known_hosts for SSH clients and keeps disks and files in DIR
// over restarts. It ends on SIGTERM or SIGINT; bad flags make it exit with 2.
//
// flags.go reads the command line, main.go runs the simulator.
package main
