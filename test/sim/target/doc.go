// Package target is the door initiators use: HTTP on loopback. A process that
// plays a node's kernel asks here to be connected to a subsystem and is told
// the backing file, and later that the subsystem was taken away.
//
// server.go routes and serves, connect.go holds the stream of one session.
package target
