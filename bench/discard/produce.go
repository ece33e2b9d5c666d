package discard

// Produce requests, read as they stream in: of a record batch only the header.

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A record batch (magic 2) begins with a header of this size: base offset (8), length (4), leader epoch (4),
// magic at 16, ..., record count at 57.
const (
	batchHeader = 61
	atMagic     = 16
	atCount     = 57
)

// produce reads a produce request of version 3 to 13 after its header's client id and answers it.
//
// From version 9 on, lengths are varints of length + 1 and every structure ends with tags; from 13 on, topics
// have ids instead of names.
func (s *session) produce(version int16, correlation int32) error {
	f := &s.frame
	flexible := version >= 9
	s.tags(flexible) // of the header
	s.discard(s.length(flexible, f.int16OrZero(flexible)))
	acks := f.int16()
	f.int32() // timeout: the answer comes at once
	s.answer = kmsg.ProduceResponse{Version: version, Topics: s.answer.Topics[:0]}
	for range s.count(flexible) {
		if err := s.produceTopic(version); err != nil {
			return err
		}
	}
	s.tags(flexible)
	if f.err == nil && f.left != 0 {
		return fmt.Errorf("%d bytes after a produce request", f.left)
	}
	if f.err != nil || acks == 0 {
		return f.err
	}
	return s.write(correlation, &s.answer)
}

func (s *session) produceTopic(version int16) error {
	f, b := &s.frame, s.broker
	flexible := version >= 9
	topic := kmsg.NewProduceResponseTopic()
	var known bool
	unknown := kerr.UnknownTopicOrPartition.Code
	if version >= 13 {
		copy(topic.TopicID[:], f.take(16))
		known, unknown = topic.TopicID == b.topicID, kerr.UnknownTopicID.Code
	} else {
		name, err := s.text(s.length(flexible, f.int16OrZero(flexible)))
		if err != nil {
			return err
		}
		topic.Topic = name
		known = name == b.topic
	}
	for range s.count(flexible) {
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition = f.int32()
		records, ok := s.batch(flexible)
		s.tags(flexible)
		switch {
		case f.err != nil:
			return f.err
		case !known || p.Partition < 0 || int(p.Partition) >= len(b.counts):
			p.ErrorCode = unknown
		case !ok:
			p.ErrorCode = kerr.CorruptMessage.Code
		default:
			p.BaseOffset = b.counts[p.Partition].records.Add(records) - records
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	s.tags(flexible)
	s.answer.Topics = append(s.answer.Topics, topic)
	return f.err
}

// batch reads one partition's records and returns how many they are; false: they are no record batch.
func (s *session) batch(flexible bool) (records int64, ok bool) {
	f := &s.frame
	var size int
	if flexible {
		size = f.uvarint() - 1
	} else {
		size = int(f.int32())
	}
	if size < batchHeader || size > f.left {
		s.discard(size)
		return 0, false
	}
	header, err := f.r.Peek(batchHeader)
	if err != nil {
		f.fail(err)
		return 0, false
	}
	n := int32(binary.BigEndian.Uint32(header[atCount:]))
	ok = header[atMagic] == 2 && n > 0
	s.discard(size)
	return int64(n), ok
}

// count reads an array's length.
func (s *session) count(flexible bool) int {
	var n int
	if flexible {
		n = s.frame.uvarint() - 1
	} else {
		n = int(s.frame.int32())
	}
	if n > s.frame.left { // an element takes at least a byte
		s.frame.fail(io.ErrUnexpectedEOF)
	}
	if s.frame.err != nil {
		return 0
	}
	return max(n, 0)
}

// length is a string's length: short was read already where lengths are 16 bits.
func (s *session) length(flexible bool, short int16) int {
	if flexible {
		return s.frame.uvarint() - 1
	}
	return int(short)
}

func (f *frame) int16OrZero(flexible bool) int16 {
	if flexible {
		return 0
	}
	return f.int16()
}

// text reads a topic's name.
func (s *session) text(n int) (string, error) {
	f := &s.frame
	if n < 0 || n > min(249, f.left) { // the most that Kafka allows
		f.fail(fmt.Errorf("a topic name of %d bytes", n))
		return "", f.err
	}
	p, err := f.r.Peek(n)
	if err != nil {
		f.fail(err)
		return "", err
	}
	name := string(p)
	s.discard(n)
	return name, f.err
}

// tags skips the tagged fields that end a structure.
func (s *session) tags(flexible bool) {
	if !flexible {
		return
	}
	for range s.frame.uvarint() {
		if s.frame.err != nil {
			return
		}
		s.frame.uvarint()
		s.discard(s.frame.uvarint())
	}
}
