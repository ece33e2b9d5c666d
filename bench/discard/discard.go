// Package discard is a Kafka broker for benchmarks that takes records and throws them away.
//
// It knows one topic, answers what a producer asks (versions, metadata, producer id, produce) and counts the
// records of each partition, so that a run can hold what was acknowledged against what arrived: the counts
// are the offsets that it acknowledges and the end offsets that it lists. It reads only a record batch's
// header and lets the kernel drop the rest: next to a client on the same cores it costs as little as the
// loopback interface allows.
//
// It holds no promise of a broker: nothing is stored, checksums, sequence numbers and producer ids are not
// looked at, and a request sent again is counted again.
package discard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	nodeID       = 1
	maxFrame     = 100 << 20 // as Kafka's socket.request.max.bytes
	readBuffer   = 1 << 10   // small: what is read is copied, what is skipped is not
	batchMaxSize = 1048588   // as Kafka's message.max.bytes
)

// Broker is a running broker. Its methods may be called from any goroutine.
type Broker struct {
	topic    string
	topicID  [16]byte
	listener net.Listener
	counts   []count // by partition
	producer atomic.Int64

	wg    sync.WaitGroup
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// count is padded: partitions are counted by different connections.
type count struct {
	records atomic.Int64
	_       [56]byte
}

// Start listens on addr (port 0: any free one) and serves one topic.
func Start(addr, topic string, partitions int) (*Broker, error) {
	if topic == "" || partitions < 1 {
		return nil, fmt.Errorf("topic %q with %d partitions: want a name and at least 1", topic, partitions)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	b := &Broker{topic: topic, listener: listener, counts: make([]count, partitions), conns: map[net.Conn]struct{}{}}
	copy(b.topicID[:], "discard-broker-1") // any id but zero
	b.wg.Go(b.accept)
	return b, nil
}

// Addr is the host:port that clients connect to.
func (b *Broker) Addr() string { return b.listener.Addr().String() }

// Received returns how many records of each partition have arrived.
func (b *Broker) Received() []int64 {
	received := make([]int64, len(b.counts))
	for i := range b.counts {
		received[i] = b.counts[i].records.Load()
	}
	return received
}

// Close ends all connections and returns when nothing of the broker runs any more.
func (b *Broker) Close() error {
	err := b.listener.Close()
	b.mu.Lock()
	for c := range b.conns {
		_ = c.Close() // its goroutine sees the end
	}
	b.conns = nil // a connection accepted just now closes itself
	b.mu.Unlock()
	b.wg.Wait()
	return err
}

func (b *Broker) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return // closed; a benchmark's listener has no other reason
		}
		b.mu.Lock()
		open := b.conns != nil
		if open {
			b.conns[c] = struct{}{}
		}
		b.mu.Unlock()
		if !open {
			_ = c.Close()
			return
		}
		b.wg.Go(func() { b.serve(c) })
	}
}

// serve answers one connection's requests in order, until it ends or sends what is not Kafka.
func (b *Broker) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		b.mu.Lock()
		delete(b.conns, c)
		b.mu.Unlock()
	}()
	s := &session{broker: b, conn: c, skip: newSkipper(c)}
	s.frame.r = bufio.NewReaderSize(c, readBuffer)
	for {
		if err := s.request(); err != nil {
			return // the client sees its connection closed, like from Kafka
		}
	}
}

// session is one connection; only its goroutine touches it.
type session struct {
	broker *Broker
	conn   net.Conn
	frame  frame
	skip   skipper
	body   []byte // of the last request that was read whole
	out    []byte
	answer kmsg.ProduceResponse
}

// request reads one request and answers it.
func (s *session) request() error {
	size, err := s.frame.next()
	if err != nil {
		return err
	}
	if size < 8 || size > maxFrame {
		return fmt.Errorf("a request of %d bytes", size)
	}
	key, version, correlation := s.frame.int16(), s.frame.int16(), s.frame.int32()
	s.discard(int(s.frame.int16())) // client id; -1 is null
	if s.frame.err != nil {
		return s.frame.err
	}
	if kmsg.Key(key) == kmsg.Produce && version >= 3 && version <= 13 {
		return s.produce(version, correlation)
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return fmt.Errorf("unknown request %d", key)
	}
	req.SetVersion(version)
	if s.body, err = s.frame.rest(s.body); err != nil {
		return err
	}
	if req.IsFlexible() {
		if len(s.body) == 0 || s.body[0] != 0 {
			return errors.New("tags in a request header")
		}
		s.body = s.body[1:]
	}
	if version > req.MaxVersion() && kmsg.Key(key) != kmsg.ApiVersions {
		return fmt.Errorf("request %d in version %d", key, version)
	}
	resp, err := s.broker.answer(req, s.body)
	if err != nil {
		return err
	}
	return s.write(correlation, resp)
}

func (s *session) write(correlation int32, resp kmsg.Response) error {
	s.out = binary.BigEndian.AppendUint32(s.out[:0], 0) // the size, set below
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(correlation))
	if resp.IsFlexible() && kmsg.Key(resp.Key()) != kmsg.ApiVersions {
		s.out = append(s.out, 0) // no tags
	}
	s.out = resp.AppendTo(s.out)
	binary.BigEndian.PutUint32(s.out, uint32(len(s.out)-4))
	_, err := s.conn.Write(s.out)
	return err
}

// discard drops n bytes of the frame: first what is buffered, the rest without reading it.
func (s *session) discard(n int) {
	f := &s.frame
	if n <= 0 || f.err != nil {
		return
	}
	if n > f.left {
		f.err = io.ErrUnexpectedEOF
		return
	}
	f.left -= n
	buffered := min(n, f.r.Buffered())
	_, _ = f.r.Discard(buffered) // cannot fail
	if n -= buffered; n > 0 {
		f.err = s.skip.skip(n)
	}
}
