package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/klog/v2"
)

// reconnectDelay is how long to wait before a broken connection is tried again.
const reconnectDelay = time.Second

// follow starts to read a connection's stream; nil stands for one that is broken. c.mu is held. The reading outlives
// the call that connected, and ends with link.unfollow.
func (c *connector) follow(ctx context.Context, l *link, opened *stream) {
	ctx, l.unfollow = context.WithCancel(context.WithoutCancel(ctx))
	l.connected = opened != nil
	c.followed.Go(func() { c.keep(ctx, l, opened) })
}

// keep stays with a connection until it is revoked or disconnected. A broken stream is restored as a kernel restores a
// connection: what is attached stays so meanwhile, and is given up when the target refuses it.
func (c *connector) keep(ctx context.Context, l *link, opened *stream) {
	logger := klog.FromContext(ctx).WithValues("subsystem", l.SubsystemNQN, "device", l.Device)
	for opened == nil || !c.read(ctx, opened) {
		if ctx.Err() != nil {
			return
		}
		logger.Info("The connection broke; trying again", "delay", reconnectDelay)
		var err error
		if opened, err = c.restore(ctx, l); errors.Is(err, errRefused) {
			logger.Info("Refused on reconnect: the subsystem was taken away meanwhile")
			break
		}
		if err != nil {
			return // stopping, or disconnected meanwhile
		}
	}
	if err := c.revoke(ctx, l); err != nil {
		logger.Error(err, "Not confirmed: the device is still there")
	}
}

// read follows the stream until it ends and reports whether it ended with a revocation.
func (c *connector) read(ctx context.Context, opened *stream) (revoked bool) {
	defer context.AfterFunc(ctx, opened.close)()
	defer opened.close()
	for {
		switch event, err := opened.next(); {
		case err != nil:
			return false
		case event == eventRevoked:
			return true
		}
	}
}

// restore connects again until it works, is refused or the context ends.
func (c *connector) restore(ctx context.Context, l *link) (*stream, error) {
	c.mu.Lock()
	l.connected = false
	c.mu.Unlock()
	ticker := time.NewTicker(reconnectDelay)
	defer ticker.Stop()
	for {
		opened, err := c.simulator.connect(ctx, l.SubsystemNQN)
		if err == nil {
			return opened, c.adopt(ctx, l, opened)
		}
		if errors.Is(err, errRefused) {
			return nil, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// adopt makes a new session the connection's. If it was disconnected meanwhile, the session is over at once.
func (c *connector) adopt(ctx context.Context, l *link, opened *stream) error {
	c.mu.Lock()
	known := c.links[l.SubsystemNQN] == l
	if known {
		l.connected, l.Session = true, opened.session
		c.save(ctx)
	}
	c.mu.Unlock()
	if !known {
		opened.close()
		return errors.Join(errRevoked, c.simulator.end(context.WithoutCancel(ctx), opened.session))
	}
	klog.FromContext(ctx).Info("Connected again", "subsystem", l.SubsystemNQN, "device", l.Device)
	return nil
}

// revoke cuts the device off and only then confirms it to the simulator.
func (c *connector) revoke(ctx context.Context, l *link) error {
	start := time.Now()
	c.mu.Lock()
	l.ending = true
	c.mu.Unlock()
	if err := cutOff(ctx, l.Device, l.File); err != nil {
		return fmt.Errorf("cut off %s: %w", l.Device, err)
	}
	klog.FromContext(ctx).Info("Cut off: the subsystem was taken away", "subsystem", l.SubsystemNQN, "device", l.Device, "took", time.Since(start))
	c.forget(ctx, l)
	return nil
}
