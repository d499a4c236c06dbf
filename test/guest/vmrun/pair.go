package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// The guests' addresses on their network, and where the second one serves the first.
const (
	firstAddress  = "10.77.0.1"
	secondAddress = "10.77.0.2"
	served        = secondAddress + ":4421"
)

// link is one end of the network between two guests: datagrams from one socket file to another, so that it stands when a
// guest has to be booted again.
type link struct {
	own, other  string // socket files
	mac         string
	address     string
	environment string
}

// qemuArguments is nothing for a guest without a network.
func (l *link) qemuArguments() []string {
	if l == nil {
		return nil
	}
	return []string{
		"-netdev", fmt.Sprintf("dgram,id=pair,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", l.own, l.other),
		"-device", "virtio-net-pci,netdev=pair,mac=" + l.mac,
	}
}

// commands set the network up in the guest.
func (l *link) commands() []string {
	if l == nil {
		return nil
	}
	return []string{
		"modprobe virtio_net", "ip address add " + l.address + "/24 dev eth0", "ip link set eth0 up",
		"export RDS_CSI_GUEST_ADDRESS=" + l.address, "export " + l.environment,
	}
}

// runBeside runs the guest beside a second one that serves it, and returns the exit code of the first one's program.
func (g guest) runBeside(ctx context.Context) (int, error) {
	second := g
	second.arguments, second.outputs, second.shown = nil, nil, os.Stderr
	sockets := [2]string{filepath.Join(g.work, "1.sock"), filepath.Join(g.work, "2.sock")}
	g.link = &link{own: sockets[0], other: sockets[1], mac: "52:54:00:00:00:01", address: firstAddress, environment: "RDS_CSI_GUEST_OTHER=" + served}
	second.link = &link{own: sockets[1], other: sockets[0], mac: "52:54:00:00:00:02", address: secondAddress, environment: "RDS_CSI_GUEST_SERVE=" + served}
	for folder, one := range map[string]*guest{"1": &g, "2": &second} {
		one.work = filepath.Join(one.work, folder)
		if err := os.Mkdir(one.work, 0o700); err != nil {
			return exitFailure, fmt.Errorf("make a folder for the guest: %w", err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var ended sync.WaitGroup
	defer ended.Wait()
	defer stop()
	ended.Go(func() {
		if _, err := second.run(ctx); ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "vmrun: the second guest ended before the first: %v\n", err)
		}
	})
	return g.run(ctx)
}
