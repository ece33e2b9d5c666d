package kafka

// Answers are understood however the network cuts them, and the bytes go through unchanged.

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// scripted reads what the test has written down.
type scripted struct {
	net.Conn
	io.Reader
}

func (s scripted) Read(p []byte) (int, error)  { return s.Reader.Read(p) }
func (s scripted) Write(p []byte) (int, error) { return len(p), nil }

func asking(key, version int16, id int32) []byte {
	b := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(key))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(version)), uint32(id))
}

func answerFrame(id int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	return append(binary.BigEndian.AppendUint32(b, uint32(id)), body...)
}

func produceAnswer(version int16, codes ...int16) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = version
	topic := kmsg.NewProduceResponseTopic()
	topic.Topic = "events"
	for i, code := range codes {
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.ErrorCode = int32(i), code
		topic.Partitions = append(topic.Partitions, p)
	}
	resp.Topics = append(resp.Topics, topic)
	var body []byte
	if resp.IsFlexible() {
		body = []byte{0}
	}
	return resp.AppendTo(body)
}

func TestAnswersReadAlong(t *testing.T) {
	ambiguous, rejected := kerr.RequestTimedOut.Code, kerr.InvalidRecord.Code
	for _, c := range []struct {
		name   string
		answer []byte
		id     int32
		doubts int
	}{
		{"fine", produceAnswer(9, 0, 0), 1, 0},
		{"in doubt", produceAnswer(9, 0, ambiguous), 1, 1},
		{"in doubt, by topic id", produceAnswer(13, ambiguous, 0), 2, 1},
		{"in doubt, before tagged fields", produceAnswer(7, ambiguous), 3, 1},
		{"rejected", produceAnswer(9, rejected), 1, 0},
		{"broken", []byte{0, 1, 2}, 1, 1},
		{"empty", nil, 1, 1},
		{"an answer to something else", produceAnswer(9, ambiguous), 4, 0},
	} {
		sent := append(answerFrame(c.id, c.answer), answerFrame(5, produceAnswer(9, ambiguous))...)
		for name, cut := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				doubts := 0
				conn := &answerConn{Conn: scripted{Reader: cut(bytes.NewReader(sent))}, heard: func(a produceAnswers) {
					if a.doubt {
						doubts++
					}
				}, asked: map[int32]int16{}}
				for _, request := range [][]byte{asking(0, 9, 1), asking(0, 13, 2), asking(0, 7, 3), asking(3, 9, 4), asking(0, 9, 5)} {
					if _, err := conn.Write(request); err != nil {
						t.Fatal(err)
					}
				}
				got, err := io.ReadAll(conn)
				if err != nil || !bytes.Equal(got, sent) {
					t.Fatalf("%d of %d bytes came through: %v", len(got), len(sent), err)
				}
				if doubts != c.doubts+1 { // and the second answer
					t.Errorf("%d doubts, want %d", doubts, c.doubts+1)
				}
			})
		}
	}
}
