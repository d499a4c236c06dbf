package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// freeAddresses returns n different addresses of the loopback interface that nobody listens on. They are all held open
// until the last one is found and then let go, so another program could take one before we use it; that run then fails
// with the program's own message.
func freeAddresses(ctx context.Context, n int) (addresses []string, err error) {
	var listeners []net.Listener
	defer func() {
		for _, listener := range listeners {
			err = errors.Join(err, listener.Close())
		}
	}()
	for range n {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		listeners = append(listeners, listener)
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
