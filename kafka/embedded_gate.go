package kafka

// The gate: the loopback port of the embedded broker. The broker trusts what it
// reads (an unknown API key panics, a size is allocated before a byte of it has
// come), so every request frame is read and checked here before it sees it.
//
//	client --TCP--> frame: size, API key, version --memory--> broker
//	client <--TCP-- bytes as they come            <--memory-- broker
//
// What it does not keep out: a body whose tagged fields claim to be billions
// makes the broker's parser (kmsg) count to that number, a minute of one core for
// each such request. It ends by itself, holds no memory, and can only come from
// this machine.
//
// Goroutines: serve, and two a connection; close ends them all.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// maxFrame is the largest request. Producers send at most 1 MB a partition by default and the topics are
	// small here, so 16 MiB is a full request of every partition; 100 MiB, Kafka's bound, would let a few
	// connections take the gateway's memory.
	maxFrame = 16 << 20
	// smallFrame goes without the budget, so that large requests cannot hold up the others' small ones.
	smallFrame = 64 << 10
	// frameBudget bounds the larger requests that are being read, all connections together.
	frameBudget = 4 * maxFrame
	// maxClients bounds the connections, and with smallFrame what they can pin.
	maxClients = 128
	// frameTimeout is how long the rest of a request may take once it has begun, and a write of an answer.
	frameTimeout = 30 * time.Second
	// idleTimeout is Kafka's connections.max.idle.ms.
	idleTimeout = 10 * time.Minute
	// frameHeader is size, API key, version and correlation id; the size does not count itself.
	frameHeader = 12
	sizeField   = 4

	apiVersionsKey = 18
)

type gate struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	log      Logger
	// versions has the lowest and highest version of each API key that the broker serves.
	versions map[int16][2]int16
	budget   *semaphore.Weighted
	ctx      context.Context
	stop     context.CancelFunc
	clients  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil after close
}

// newGate asks the broker through client what it serves.
func newGate(l net.Listener, dial func(context.Context) (net.Conn, error), client *kgo.Client, log Logger) (*gate, error) {
	ctx, stop := context.WithCancel(context.Background())
	g := &gate{
		listener: l, dial: dial, log: log, ctx: ctx, stop: stop, versions: make(map[int16][2]int16),
		budget: semaphore.NewWeighted(frameBudget), conns: make(map[net.Conn]struct{}),
	}
	ask, cancel := context.WithTimeout(ctx, ageTimeout)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "event-gateway", "1"
	resp, err := req.RequestWith(ask, client)
	if err != nil {
		stop()
		return nil, fmt.Errorf("asking the embedded broker what it serves: %w", err)
	}
	for _, k := range resp.ApiKeys {
		g.versions[k.ApiKey] = [2]int16{k.MinVersion, k.MaxVersion}
	}
	return g, nil
}

// serve accepts until close.
func (g *gate) serve() {
	for {
		conn, err := g.listener.Accept()
		if err != nil {
			if g.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			g.log.Log(LevelError, "embedded broker: accept", "error", err)
			select { // out of file descriptors, most likely: give others time to close some
			case <-g.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !g.track(conn) {
			conn.Close()
			continue
		}
		g.clients.Go(func() { g.bridge(conn) })
	}
}

func (g *gate) track(conn net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil || len(g.conns) >= maxClients {
		return false
	}
	g.conns[conn] = struct{}{}
	return true
}

func (g *gate) untrack(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.conns, conn)
}

// close ends the listener and every connection, and waits for them.
func (g *gate) close() error {
	g.stop()
	err := g.listener.Close()
	g.mu.Lock()
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	for conn := range conns {
		conn.Close()
	}
	g.clients.Wait()
	return err
}

// bridge serves one client.
func (g *gate) bridge(conn net.Conn) {
	defer g.untrack(conn)
	defer conn.Close()
	broker, err := g.dial(g.ctx)
	if err != nil {
		return // the broker is closing
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		defer conn.Close()
		copyAnswers(conn, broker)
	})
	if err := g.requests(conn, broker); err != nil {
		g.log.Log(LevelWarn, "embedded broker: closed a client's connection", "client", conn.RemoteAddr().String(), "error", err)
	}
	broker.Close()
	answers.Wait()
}

func copyAnswers(conn, broker net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := broker.Read(buf)
		if n > 0 {
			if conn.SetWriteDeadline(time.Now().Add(frameTimeout)) != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// requests passes checked frames on until the client leaves (nil) or misbehaves.
func (g *gate) requests(conn, broker net.Conn) error {
	small := make([]byte, 0, 4096)
	for {
		var header [frameHeader]byte
		if err := conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
			return nil // closed
		}
		if _, err := io.ReadFull(conn, header[:1]); err != nil {
			return nil // the client left between requests
		}
		if err := conn.SetReadDeadline(time.Now().Add(frameTimeout)); err != nil {
			return nil
		}
		if _, err := io.ReadFull(conn, header[1:]); err != nil {
			return fmt.Errorf("a request broke off in its header: %w", err)
		}
		size, err := g.admit(header[:])
		if err != nil {
			return err
		}
		if size <= smallFrame {
			if cap(small) < size {
				small = make([]byte, 0, smallFrame)
			}
			err = pass(conn, broker, header[:], small[:size])
		} else {
			err = g.passLarge(conn, broker, header[:], size)
		}
		if err != nil {
			return err
		}
	}
}

// admit checks a frame's header and returns the frame's whole size.
func (g *gate) admit(header []byte) (int, error) {
	size := int64(binary.BigEndian.Uint32(header))
	key := int16(binary.BigEndian.Uint16(header[4:]))
	version := int16(binary.BigEndian.Uint16(header[6:]))
	if size < frameHeader-sizeField || size > maxFrame {
		return 0, fmt.Errorf("a request says that it has %d bytes; %d to %d are allowed", size, frameHeader-sizeField, maxFrame)
	}
	served, ok := g.versions[key]
	if !ok {
		return 0, fmt.Errorf("a request has the API key %d, which the embedded broker does not serve", key)
	}
	// A newer client asks for its own ApiVersions version first and is told ours (KIP-511).
	if version < served[0] || version > served[1] && key != apiVersionsKey {
		return 0, fmt.Errorf("a request has version %d of the API key %d; the embedded broker serves %d to %d", version, key, served[0], served[1])
	}
	return int(size) + sizeField, nil
}

func (g *gate) passLarge(conn, broker net.Conn, header []byte, size int) error {
	ctx, cancel := context.WithTimeout(g.ctx, frameTimeout)
	defer cancel()
	if err := g.budget.Acquire(ctx, int64(size)); err != nil {
		return fmt.Errorf("no memory for a request of %d bytes: %w", size, err)
	}
	defer g.budget.Release(int64(size))
	return pass(conn, broker, header, make([]byte, size))
}

// pass reads the rest of the frame into frame and writes all of it to the broker.
func pass(conn, broker net.Conn, header, frame []byte) error {
	copy(frame, header)
	if _, err := io.ReadFull(conn, frame[frameHeader:]); err != nil {
		return fmt.Errorf("a request of %d bytes broke off: %w", len(frame), err)
	}
	if _, err := broker.Write(frame); err != nil {
		return fmt.Errorf("the broker gave up on a request: %w", err)
	}
	return nil
}
