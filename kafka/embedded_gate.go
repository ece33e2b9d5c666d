package kafka

import (
	"context"
	"net"
)

type gate struct{ l net.Listener }

func newGate(l net.Listener, dial func(context.Context) (net.Conn, error), log Logger) (*gate, error) {
	return &gate{l}, nil
}
func (g *gate) serve() {}
func (g *gate) close() { g.l.Close() }
