package sshd

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"time"
)

// Login is one authenticated connection.
type Login struct {
	User string
	// Address is where it comes from, without the port.
	Address string
	Since   time.Time
}

// Logins lists the connections that are authenticated now, the oldest first.
func (s *Server) Logins() []Login {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.users), func(a, b Login) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.User, b.User))
	})
}

func (s *Server) login(c *connection) {
	address := c.tcp.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[c] = Login{User: c.user, Address: address, Since: time.Now()}
}

func (s *Server) logout(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, c)
}
