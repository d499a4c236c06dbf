package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"git.srvlab.io/whiskey/rds-csi-driver/pkg/nvme"
)

// detachLimit bounds the wait for a device that should be unused.
const detachLimit = 5 * time.Second

var (
	errStopping     = errors.New("this node process is stopping")
	errRevoked      = errors.New("the subsystem was taken away")
	errNoStream     = errors.New("the connection is broken and being restored")
	errNotConnected = errors.New("it is not connected")
	errConnected    = errors.New("another call has connected it meanwhile")
)

// connector attaches a loop device per connected subsystem. Its methods are safe for concurrent use.
type connector struct {
	simulator *simulator
	stateFile string

	mu       sync.Mutex
	links    map[string]*link // by subsystem NQN
	stopping bool
	followed sync.WaitGroup
}

// link is one connection. Its fields are guarded by connector.mu.
type link struct {
	attachment
	// connected: the simulator's stream is open, so that we would hear of a revocation.
	connected bool
	// ending: nobody may use the device any more.
	ending bool
	// unfollow ends the goroutine that reads the stream; nil if there is none yet.
	unfollow context.CancelFunc
}

// newConnector takes up what an earlier run left attached; Run connects that again.
func newConnector(s *simulator, stateFile string) (*connector, error) {
	attachments, err := loadState(stateFile)
	if err != nil {
		return nil, err
	}
	c := &connector{simulator: s, stateFile: stateFile, links: map[string]*link{}}
	for _, a := range attachments {
		c.links[a.SubsystemNQN] = &link{attachment: a}
	}
	return c, nil
}

// Run keeps connections alive until ctx ends. It leaves devices and mounts as they are, as the restart of a node
// process does, and returns when nothing runs any more.
func (c *connector) Run(ctx context.Context) error {
	c.mu.Lock()
	for _, l := range c.links {
		c.follow(ctx, l, nil)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.stopping = true
	for _, l := range c.links {
		if l.unfollow != nil {
			l.unfollow()
		}
	}
	c.mu.Unlock()
	c.followed.Wait()
	c.simulator.client.CloseIdleConnections()
	return nil
}

// Connect asks the simulator for the subsystem and attaches a loop device to its file.
func (c *connector) Connect(ctx context.Context, target nvme.Target) error {
	if device, err := c.existing(ctx, target.SubsystemNQN); device != "" || err != nil {
		return err
	}
	opened, err := c.simulator.connect(ctx, target.SubsystemNQN)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	device, err := c.attach(ctx, target.SubsystemNQN, opened)
	if err != nil {
		opened.close()
		// Nothing is attached in this session, so saying that it is over is true.
		return errors.Join(err, c.simulator.end(context.WithoutCancel(ctx), opened.session))
	}
	klog.FromContext(ctx).Info("Connected", "subsystem", target.SubsystemNQN, "device", device, "file", opened.file)
	return nil
}

// Device gives the loop device of a connection, which is there as soon as the connection is.
func (c *connector) Device(ctx context.Context, subsystemNQN string) (string, error) {
	device, err := c.existing(ctx, subsystemNQN)
	if err == nil && device == "" {
		err = fmt.Errorf("%s: %w", subsystemNQN, errNoStream)
	}
	return device, err
}

// existing gives the device of a connection that is alive, "" if there is none.
func (c *connector) existing(ctx context.Context, nqn string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[nqn]
	if c.stopping {
		return "", errStopping
	}
	if l == nil {
		return "", nil
	}
	attached, err := isAttached(l.Device, l.File)
	switch {
	case err != nil:
		return "", err
	case !attached:
		// A device that was still in use when it was disconnected is freed by the kernel later on.
		c.drop(ctx, l)
		return "", nil
	case l.ending:
		return "", errRevoked
	case !l.connected:
		return "", errNoStream
	default:
		return l.Device, nil
	}
}

func (c *connector) attach(ctx context.Context, nqn string, opened *stream) (string, error) {
	file, err := filepath.EvalSymlinks(opened.file)
	if err != nil {
		return "", fmt.Errorf("find the backing file: %w", err)
	}
	if err := c.endOthers(ctx, nqn, file); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return "", errStopping
	}
	if c.links[nqn] != nil {
		return "", errConnected
	}
	device, err := attachLoop(file)
	if err != nil {
		return "", err
	}
	l := &link{attachment: attachment{SubsystemNQN: nqn, File: file, Device: device, Session: opened.session}}
	c.links[nqn] = l
	c.save(ctx)
	c.follow(ctx, l, opened)
	return device, nil
}

// endOthers cuts off what is left of this node's earlier epochs on the file: a disk has one subsystem at a time, so the
// one that just let us in is the only one that lives.
func (c *connector) endOthers(ctx context.Context, nqn, file string) error {
	c.mu.Lock()
	var others []*link
	for _, l := range c.links {
		if l.File == file && l.SubsystemNQN != nqn {
			others = append(others, l)
		}
	}
	c.mu.Unlock()
	for _, l := range others {
		if err := c.revoke(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// Rescan has the loop device take over the size of its file.
func (c *connector) Rescan(_ context.Context, subsystemNQN string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.links[subsystemNQN]
	if l == nil {
		return fmt.Errorf("rescan %s: %w", subsystemNQN, errNotConnected)
	}
	return resizeLoop(l.Device, l.File)
}

// Connections lists what is attached, also what an earlier run of this process attached.
func (c *connector) Connections(_ context.Context, nqnPrefix string) ([]nvme.Connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var connections []nvme.Connection
	for nqn, l := range c.links {
		if strings.HasPrefix(nqn, nqnPrefix) {
			connections = append(connections, nvme.Connection{SubsystemNQN: nqn, Device: l.Device, State: l.state()})
		}
	}
	return connections, nil
}

// state is the kernel's word for what such a connection would be in. connector.mu is held.
func (l *link) state() string {
	switch {
	case l.ending:
		return "deleting"
	case !l.connected:
		return "connecting"
	default:
		return "live"
	}
}

// Disconnect detaches the device and then ends the session. A device that is still in use is an error.
func (c *connector) Disconnect(ctx context.Context, subsystemNQN string) error {
	c.mu.Lock()
	l := c.links[subsystemNQN]
	if l != nil {
		l.ending = true
	}
	c.mu.Unlock()
	if l == nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, detachLimit)
	defer cancel()
	if err := waitUntil(bounded, func() (bool, error) { return clearLoop(l.Device, l.File) }); err != nil {
		return fmt.Errorf("detach %s, which may still be mounted somewhere: %w", l.Device, err)
	}
	c.forget(ctx, l)
	return nil
}

// forget drops a connection whose device is gone, and tells the simulator so.
func (c *connector) forget(ctx context.Context, l *link) {
	c.mu.Lock()
	session := l.Session
	c.drop(ctx, l)
	c.mu.Unlock()
	logger := klog.FromContext(ctx)
	// The caller may be the very goroutine that drop has just ended.
	if err := c.simulator.end(context.WithoutCancel(ctx), session); err != nil {
		logger.Error(err, "The simulator doesn't know that the session is over", "session", session, "subsystem", l.SubsystemNQN)
		return
	}
	logger.Info("Session ended", "subsystem", l.SubsystemNQN, "device", l.Device, "session", session)
}

// drop takes a connection out of the books and stops following it, so that its end isn't taken for a broken stream.
// c.mu is held.
func (c *connector) drop(ctx context.Context, l *link) {
	if c.links[l.SubsystemNQN] == l {
		delete(c.links, l.SubsystemNQN)
	}
	if l.unfollow != nil {
		l.unfollow()
	}
	c.save(ctx)
}

// save writes the state file; c.mu is held. If it can't, only a restart would notice, so it is not worth an outage.
func (c *connector) save(ctx context.Context) {
	attachments := make([]attachment, 0, len(c.links))
	for _, l := range c.links {
		attachments = append(attachments, l.attachment)
	}
	if err := saveState(c.stateFile, attachments); err != nil {
		klog.FromContext(ctx).Error(err, "A restart of this process will not know what is connected", "file", c.stateFile)
	}
}
