package rds

import (
	"net"
	"sync"
)

// gate is a connection that holds back the news of its end while a request for a channel is on its way out. The SSH
// library tells all channels that it knows of the end and forgets them; one that enters its list just after that would
// be waited for, by a goroutine, for as long as the process lives. An appliance that lets one in and hangs up, for hours,
// would leave such a goroutine every now and then.
type gate struct {
	net.Conn

	mu     sync.Mutex
	broken bool
	// asking, unless nil, is closed once the request has been written.
	asking chan struct{}
}

// ask announces a request for a channel. It reports false if the connection has ended. asked has to follow.
func (g *gate) ask() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.broken {
		g.asking = make(chan struct{})
	}
	return !g.broken
}

// asked says that the request is in the library's list, or will never be.
func (g *gate) asked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asking != nil {
		close(g.asking)
		g.asking = nil
	}
}

// Read returns errors only while no request is on its way out, and lets none out after them.
func (g *gate) Read(data []byte) (int, error) {
	n, err := g.Conn.Read(data)
	if err == nil {
		return n, nil
	}
	g.mu.Lock()
	g.broken = true
	asking := g.asking
	g.mu.Unlock()
	if asking != nil {
		<-asking
	}
	return n, err
}

// Write lets the news out: what is being written entered the library's list before.
func (g *gate) Write(data []byte) (int, error) {
	defer g.asked()
	return g.Conn.Write(data)
}

// Close lets the news out, whatever is on its way.
func (g *gate) Close() error {
	defer g.asked()
	return g.Conn.Close()
}
