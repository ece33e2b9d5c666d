package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/semaphore"

	"github.com/event-gateway/event-gateway/stages"
)

// freePort is a port that nobody listened on a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startWithPort(t *testing.T) (r *rig, broker *Embedded, addr string) {
	t.Helper()
	port := freePort(t)
	r, broker = startEmbedded(t, func(c *Config) { c.EmbeddedPort = port })
	return r, broker, "127.0.0.1:" + strconv.Itoa(port)
}

// TestGateServesKafkaClients: a client that knows only the port reads what the gateway wrote, and writes.
func TestGateServesKafkaClients(t *testing.T) {
	t.Parallel()
	r, broker, addr := startWithPort(t)
	r.fill(500, 1000, "e")
	records := stored(t, 500, "events", 0, kgo.SeedBrokers(addr))
	if ev, err := EventFromRecord(records[499]); err != nil || ev.Id != "e499" {
		t.Errorf("%v, %v", ev, err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("events"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	large := &kgo.Record{Value: bytes.Repeat([]byte("x"), 500_000)} // more than a small frame, even compressed or not
	if err := client.ProduceSync(t.Context(), large, kgo.StringRecord("small")).FirstErr(); err != nil {
		t.Error(err)
	}
	if len(client.DiscoveredBrokers()) != 1 || broker.Seeds()[0] != addr {
		t.Errorf("clients are told %v, not %s", client.DiscoveredBrokers(), addr)
	}
}

func TestGatePortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := testConfig(t)
	cfg.EmbeddedPort = l.Addr().(*net.TCPAddr).Port
	if _, err := StartEmbedded(cfg, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	cfg.EmbeddedPort = 0
	broker, err := StartEmbedded(cfg, nil) // the lock was given back
	if err != nil {
		t.Fatal(err)
	}
	_ = broker.Close()
}

func frame(key, version int16, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 7)
	return append(b, body...)
}

// TestGateRefuses: each of these ends its own connection and nothing else.
func TestGateRefuses(t *testing.T) {
	r, _, addr := startWithPort(t)
	size := func(n uint32) []byte { return append(binary.BigEndian.AppendUint32(nil, n), make([]byte, 64)...) }
	for name, sent := range map[string][]byte{
		"unknown API key":  frame(9999, 0, nil),
		"negative key":     frame(-1, 0, nil),
		"future version":   frame(3, 1000, nil),
		"negative version": frame(18, -1, nil),
		"size 0":           size(0),
		"size 7":           size(7),
		"size 4 GiB":       size(1<<32 - 1),
		"size over bound":  size(maxFrame + 1),
		"HTTP":             []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":              {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 9, 9, 9, 9, 9},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(sent); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := io.Copy(io.Discard, conn); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v; want the connection closed", name, n, err)
		}
		conn.Close()
	}
	r.eventually("it is logged", func() bool { return r.log.has("API key 9999") })
	r.fill(10, 10, "after")
}

// TestGateHostileBodies: requests that pass the gate with bodies of noise do not end the process.
func TestGateHostileBodies(t *testing.T) {
	r, broker, addr := startWithPort(t)
	random := rand.New(rand.NewPCG(5, 6))
	for key, served := range broker.gate.versions {
		for version := served[0]; version <= served[1]; version++ {
			body := make([]byte, random.IntN(60))
			for i := range body {
				// Below 0x80, because of a fault that no test can wait out: a tag count of 4 billion makes the
				// broker's parser count to it (embedded_gate.go).
				body[i] = byte(random.IntN(0x80))
			}
			body = append([]byte{0, 1, 'c', 0}, body...) // a client id, so that the noise is the request
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(frame(key, version, body)); err != nil {
				t.Error(err)
			}
			conn.(*net.TCPConn).CloseWrite()
			conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("key %d version %d: no end", key, version)
			}
			conn.Close()
		}
	}
	r.fill(10, 10, "after")
}

// TestGateBoundsMemory: connections that announce much and send little take little, and others are served.
func TestGateBoundsMemory(t *testing.T) {
	r, _, addr := startWithPort(t)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var conns []net.Conn
	for i := range 100 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		announce := binary.BigEndian.AppendUint32(nil, maxFrame)
		announce = append(announce, 0, 0, 0, 9, 0, 0, 0, byte(i), 0, 1, 'c')
		if _, err := conn.Write(announce); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	r.fill(200, 1000, "e")
	stored(t, 200, "events", 0, kgo.SeedBrokers(addr))
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > frameBudget+64<<20 {
		t.Errorf("%d connections took %d MiB", len(conns), grown>>20)
	}
}

func TestGateBoundsConnections(t *testing.T) {
	t.Parallel()
	r, _, addr := startWithPort(t)
	refused := 0
	for range maxClients + 20 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(frame(apiVersionsKey, 0, []byte{0, 1, 'c'})); err != nil {
			refused++
			continue
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
			refused++
		}
	}
	if refused != 20 {
		t.Errorf("%d connections refused, want 20", refused)
	}
	r.produce(r.partition(0), "a") // the gateway itself does not come through the gate
	r.want("a", stages.Acknowledged, stages.NoReason)
}

// FuzzGate: whatever a client sends, the broker sees a beginning of it that consists of whole requests with sizes,
// API keys and versions that it serves.
func FuzzGate(f *testing.F) {
	versions := map[int16][2]int16{0: {3, 13}, 3: {0, 12}, apiVersionsKey: {0, 4}}
	f.Fuzz(func(t *testing.T, sent []byte) {
		g := &gate{ctx: t.Context(), versions: versions, budget: semaphore.NewWeighted(frameBudget)}
		broker := &recordedConn{}
		err := g.requests(&recordedConn{Reader: bytes.NewReader(sent)}, broker)
		seen := broker.written
		if !bytes.HasPrefix(sent, seen) {
			t.Fatalf("the broker sees what was not sent: %x of %x", seen, sent)
		}
		if err == nil && len(seen) != len(sent) {
			t.Fatalf("%d of %d bytes were passed on, without an error", len(seen), len(sent))
		}
		for len(seen) > 0 {
			size := sizeField + int(binary.BigEndian.Uint32(seen))
			if size < frameHeader || size > len(seen) {
				t.Fatalf("the broker sees a part of a request: %x", seen)
			}
			key, version := int16(binary.BigEndian.Uint16(seen[4:])), int16(binary.BigEndian.Uint16(seen[6:]))
			served, ok := versions[key]
			if !ok || version < served[0] || version > served[1] && key != apiVersionsKey {
				t.Fatalf("the broker sees version %d of the API key %d", version, key)
			}
			seen = seen[size:]
		}
	})
}

// recordedConn reads from its Reader and keeps what is written.
type recordedConn struct {
	net.Conn
	io.Reader
	written []byte
}

func (c *recordedConn) Read(b []byte) (int, error) { return c.Reader.Read(b) }
func (c *recordedConn) Write(b []byte) (int, error) {
	c.written = append(c.written, b...)
	return len(b), nil
}
func (c *recordedConn) SetReadDeadline(time.Time) error { return nil }
