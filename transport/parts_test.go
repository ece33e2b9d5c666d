package transport

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func TestBufferClassesWasteAtMostAQuarter(t *testing.T) {
	last := -1
	for n := 1; n <= 64<<20; n += 1 + n/97 {
		class, capacity := bufferClass(n)
		if capacity < n || (n > 2048 && capacity > n+n/4+1) || class < last || class >= bufferClasses {
			t.Fatalf("%d bytes: class %d of %d", n, class, capacity)
		}
		if again, same := bufferClass(capacity); again != class || same != capacity {
			t.Fatalf("a buffer of %d bytes goes back to class %d of %d", capacity, again, same)
		}
		last = class
	}
	var p bufferPool
	b := p.Get(65 << 20)
	p.Put(b) // too large to keep
	if b := p.Get(100); len(*b) != 100 || cap(*b) != 2048 {
		t.Errorf("%d, %d", len(*b), cap(*b))
	}
}

func TestCodecPassesOtherMessagesOn(t *testing.T) {
	var c encoding.CodecV2 = newCodec()
	want := batchRequest(10)
	data, err := c.Marshal(want)
	if err != nil || c.Name() != "proto" {
		t.Fatal(c.Name(), err)
	}
	got := &gatewayv1.IngestEventBatchRequest{}
	if err := c.Unmarshal(data, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	data.Free()
}

func TestCodecHandsAnswersOverWithoutACopy(t *testing.T) {
	b := buffers.Get(10)
	copy(*b, "0123456789")
	first := &(*b)[0]
	a := &answer{bytes: b}
	data, err := newCodec().Marshal(a)
	if err != nil || data.Len() != 10 || &data[0].ReadOnlyData()[0] != first || a.bytes != nil {
		t.Error("copied")
	}
	if _, pooled := data[0].(mem.SliceBuffer); pooled {
		t.Error("the buffer does not go back to the pool")
	}
	data.Free()
}

func TestClientTable(t *testing.T) {
	made := 0
	table := newClientTable(10, func(name string) *stages.Client { made++; return &stages.Client{Name: name} })
	a := table.hold("a")
	if table.hold("a") != a || made != 2 {
		t.Fatalf("%d clients made for one name and the shared account", made)
	}
	for i := range 100 { // idle ones make place for new ones; the one in use stays
		c := table.hold(fmt.Sprint(i))
		if c.Name != fmt.Sprint(i) {
			t.Fatalf("client %d is %s", i, c.Name)
		}
		c.Unhold()
	}
	if table.hold("a") != a {
		t.Error("a client in use was evicted")
	}
	if table.count() != 10 || len(table.byName) != 10 {
		t.Errorf("%d clients", table.count())
	}
	for i := range 9 {
		table.hold(fmt.Sprint("busy", i))
	}
	if c := table.hold("late"); c.Name != otherClient {
		t.Errorf("with a table full of busy clients: %s", c.Name)
	}
}

// TestWindow: a queue, whatever the sizes; it lets go of what it grew to.
func TestWindow(t *testing.T) {
	var w window
	var next, want uint64
	out := make([]*stages.Message, sendBurst)
	rng := rand.New(rand.NewPCG(1, 2))
	done := 0
	for range 2000 {
		for range rng.IntN(40) {
			if w.length() >= 256 {
				break
			}
			first, ok := w.push(&stages.Message{Seq: next})
			if !ok || first != (next == w.head.Load()) {
				t.Fatalf("push %d: first %v, ok %v", next, first, ok)
			}
			next++
		}
		n := w.advance(done, out)
		want += uint64(done)
		for i := range n {
			if out[i].Seq != want+uint64(i) {
				t.Fatalf("message %d at place %d", out[i].Seq, want+uint64(i))
			}
		}
		done = rng.IntN(n + 1)
	}
	if w.seal() != (w.length() == 0) {
		t.Error("sealed with messages in it")
	}
	for n := w.advance(done, out); n > 0; n = w.advance(n, out) {
	}
	if len(w.ring) > firstWindow {
		t.Errorf("an empty window keeps a ring of %d", len(w.ring))
	}
	w.idle()
	if w.ring != nil {
		t.Error("an idle window keeps its ring")
	}
	if !w.seal() {
		t.Error("an empty window cannot be sealed")
	}
	if _, ok := w.push(&stages.Message{}); ok {
		t.Error("pushed into a sealed window")
	}
}

// TestFrameWalk: DATA frames are charged to their streams however the bytes are cut.
func TestFrameWalk(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	_ = f.WriteSettings()
	_ = f.WriteData(1, false, make([]byte, 1000))
	_ = f.WriteWindowUpdate(0, 5)
	_ = f.WriteData(3, false, make([]byte, 16384))
	_ = f.WriteData(5, false, make([]byte, 7))
	_ = f.WriteData(1, true, nil)
	_ = f.WriteDataPadded(1, false, make([]byte, 24), make([]byte, 200)) // padding counts for nothing
	_ = f.WriteDataPadded(3, false, nil, make([]byte, 200))
	_ = f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 3, []byte{9, 1}) // more padding than frame
	for cut := 1; cut < 40; cut++ {
		l := newRecvLimit(stages.MiB)
		here, there := net.Pipe()
		c := newRecvConn(here, l, &sendLimit{})
		one, three := &recvStream{conn: c, id: 1}, &recvStream{conn: c, id: 3}
		c.streams[1], c.streams[3] = one, three
		for rest := b.Bytes(); len(rest) > 0; {
			n := min(cut, len(rest))
			c.walk(rest[:n])
			rest = rest[n:]
		}
		if one.unread.Load() != 1024+2*frameCost || three.unread.Load() != 16384+frameCost || l.unread.Load() != 17408+3*frameCost || l.holders.Load() != 1 {
			t.Fatalf("cut %d: %d, %d, %d", cut, one.unread.Load(), three.unread.Load(), l.unread.Load())
		}
		one.delivered(1000)
		one.complete()
		if one.unread.Load() != 24 {
			t.Fatalf("cut %d: %d after all but 24 bytes were read", cut, one.unread.Load())
		}
		one.close()
		one.close()
		one.delivered(24)
		one.received(50)
		_ = c.Close()
		_ = there.Close()
		if l.unread.Load() != 0 || l.holders.Load() != 0 || len(c.streams) != 0 {
			t.Fatalf("cut %d: %d left, %d holders", cut, l.unread.Load(), l.holders.Load())
		}
	}
}

// TestAccountsRace: whatever the interleaving of reader and handlers, nothing is left.
func TestAccountsRace(t *testing.T) {
	l := newRecvLimit(stages.MiB)
	c := &recvConn{limit: l, streams: map[uint32]*recvStream{}}
	var wg sync.WaitGroup
	for id := range uint32(50) {
		c.streams[id] = &recvStream{conn: c, id: id}
	}
	for _, s := range slices.Collect(maps.Values(c.streams)) {
		ready := make(chan struct{}, 100)
		wg.Go(func() {
			for range 100 {
				s.received(10)
				ready <- struct{}{}
			}
		})
		wg.Go(func() {
			for range 50 {
				<-ready
				s.delivered(10)
				s.complete()
			}
			s.close()
		})
	}
	wg.Wait()
	if l.unread.Load() != 0 || l.holders.Load() != 0 || c.unread.Load() != 0 {
		t.Errorf("%d unread, %d holders", l.unread.Load(), l.holders.Load())
	}
}
