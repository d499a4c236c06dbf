package transport

import (
	"net"
	"sync"
)

// gate is a connection that delays the news of its end while a request for a channel is being written.
//
// It works around a leak in golang.org/x/crypto/ssh. When a connection ends, the library closes every channel in its list.
// A channel that enters the list just after that is never closed: the goroutine that waits for it stays for as long as the
// process lives. An appliance that accepts logins and hangs up, for hours, would cause such goroutines every now and then.
type gate struct {
	net.Conn

	mu     sync.Mutex
	broken bool
	// asking, unless nil, is closed once the request has been written.
	asking chan struct{}
}

// ask announces a request for a channel. It returns false if the connection has ended. asked has to follow.
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

// Read returns an error only while no request is being written. After an error no more requests may be made.
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

// Write ends the delay: the channel entered the library's list before its request was written.
func (g *gate) Write(data []byte) (int, error) {
	defer g.asked()
	return g.Conn.Write(data)
}

// Close ends the delay as well.
func (g *gate) Close() error {
	defer g.asked()
	return g.Conn.Close()
}
