package transport

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
)

func TestTheGateHoldsTheEndBackWhileAChannelIsAskedFor(t *testing.T) {
	tests := map[string]func(*gate){
		"until the request is written": func(g *gate) { _, _ = g.Write([]byte("x")) },
		"until it failed otherwise":    func(g *gate) { g.asked() },
		"until the connection closes":  func(g *gate) { _ = g.Close() },
	}
	for name, release := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := newPipe()
				g := &gate{Conn: ours}
				if !g.ask() {
					t.Fatal("no channel can be asked for on a good connection")
				}
				_ = theirs.Close()
				told := make(chan error, 1)
				go func() {
					_, err := g.Read(make([]byte, 1))
					told <- err
				}()
				synctest.Wait()
				select {
				case err := <-told:
					t.Errorf("the end was told too early: %v", err)
				default:
				}
				release(g)
				if err := <-told; !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want EOF", err)
				}
				if g.ask() {
					t.Error("a channel could be asked for after the end")
				}
			})
		})
	}
}
