package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// The guests' addresses on their network, where the second one serves the first, and where the first one reaches the
// monitor of the second.
const (
	firstAddress  = "10.77.0.1"
	secondAddress = "10.77.0.2"
	served        = secondAddress + ":4421"
	monitorPort   = "/dev/vport0p3"
)

// link is one end of what is between two guests. Their network is datagrams from one socket file to another, so that it
// stands when a guest has to be booted again.
type link struct {
	own, other  string // socket files
	mac         string
	address     string
	monitor     []string // QEMU's arguments for one end of the second guest's monitor
	environment []string
}

// qemuArguments is nothing for a guest without a network.
func (l *link) qemuArguments() []string {
	if l == nil {
		return nil
	}
	return append([]string{
		"-netdev", fmt.Sprintf("dgram,id=pair,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", l.own, l.other),
		"-device", "virtio-net-pci,netdev=pair,mac=" + l.mac,
	}, l.monitor...)
}

// commands set the network up in the guest.
func (l *link) commands() []string {
	if l == nil {
		return nil
	}
	lines := []string{
		"modprobe virtio_net", "ip address add " + l.address + "/24 dev eth0", "ip link set eth0 up",
		"export RDS_CSI_GUEST_ADDRESS=" + l.address,
	}
	for _, variable := range l.environment {
		lines = append(lines, "export "+variable)
	}
	return lines
}

// links gives the ends of what is between two guests; folder is for the socket files. The first guest has the second
// one's monitor at a virtio port. Its QEMU tries every second to connect them, and says so if the other one isn't there yet.
func links(folder string) (first, second *link) {
	one, two, monitor := filepath.Join(folder, "1.sock"), filepath.Join(folder, "2.sock"), filepath.Join(folder, "monitor.sock")
	first = &link{own: one, other: two, mac: "52:54:00:00:00:01", address: firstAddress}
	first.monitor = []string{"-chardev", "socket,id=monitor,reconnect=1,path=" + monitor, "-device", "virtserialport,nr=3,chardev=monitor"}
	first.environment = []string{"RDS_CSI_GUEST_OTHER=" + served, "RDS_CSI_GUEST_MONITOR=" + monitorPort}
	second = &link{own: two, other: one, mac: "52:54:00:00:00:02", address: secondAddress}
	second.monitor = []string{"-qmp", "unix:" + monitor + ",server=on,wait=off"}
	second.environment = []string{"RDS_CSI_GUEST_SERVE=" + served}
	return first, second
}

// runBeside runs the guest beside a second one that serves it, and returns the exit code of the first one's program.
func (g guest) runBeside(ctx context.Context) (int, error) {
	second := g
	second.arguments, second.outputs, second.shown = nil, nil, os.Stderr
	g.link, second.link = links(g.work)
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
