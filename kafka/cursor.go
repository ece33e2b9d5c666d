package kafka

// Cursors: where a reader stands, in all partitions of a topic, as text that is
// opaque to clients.
//
//	base64url( version | CRC-32C of what follows | identity of the topic | number of partitions | next offset of each )
//
// Numbers are uvarints of encoding/binary. The checksum finds what was cut or typed wrong; it is no signature. A
// cursor that somebody makes up opens nothing that a start at the beginning does not open too.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	cursorVersion = 1
	identityBytes = 8
	// cursorHead is what comes before the number of partitions.
	cursorHead = 1 + crc32.Size + identityBytes
	// maxCursor bounds what is looked at of a client's cursor: 10 bytes for each of maxPartitions partitions.
	maxCursor = (cursorHead + (maxPartitions+1)*binary.MaxVarintLen64) * 4 / 3
)

// identity tells topics apart, also one that was deleted and created again.
type identity [identityBytes]byte

// identityOf hashes a topic's name and the id that Kafka gave it. Brokers before Kafka 2.8 give none: then a recreated
// topic is not told from its predecessor.
func identityOf(topic string, id [16]byte) (out identity) {
	h := sha256.New()
	h.Write(id[:])
	h.Write([]byte(topic))
	copy(out[:], h.Sum(nil))
	return out
}

// positions are the offsets that a reader wants next, by partition. Shared ones are never changed.
type positions []int64

// at is the next offset of partition p. One that the positions do not know was added to the topic later: all of it is
// new.
func (ps positions) at(p int32) int64 {
	if int(p) < len(ps) {
		return ps[p]
	}
	return 0
}

// grown is ps for n partitions or more, a copy.
func (ps positions) grown(n int) positions {
	out := make(positions, max(n, len(ps)))
	copy(out, ps)
	return out
}

// covers reports whether a reader at ps has nothing left to read below other.
func (ps positions) covers(other positions) bool {
	for p, offset := range other {
		if ps.at(int32(p)) < offset {
			return false
		}
	}
	return true
}

// joined has the later one of both for each partition.
func (ps positions) joined(other positions) positions {
	out := ps.grown(len(other))
	for p, offset := range other {
		out[p] = max(out[p], offset)
	}
	return out
}

// offsets are the places of the partitions from first on, for franz-go. One that is not there any more is an error.
func (ps positions) offsets(first int) map[int32]kgo.Offset {
	at := make(map[int32]kgo.Offset, len(ps))
	for p := first; p < len(ps); p++ {
		at[int32(p)] = kgo.NoResetOffset().At(ps[p])
	}
	return at
}

var crc32c = crc32.MakeTable(crc32.Castagnoli)

// smallChecksum is crc32.Checksum with crc32c for a few bytes on the stack, which that one would move to the heap, for every event.
func smallChecksum(p []byte) uint32 {
	crc := ^uint32(0)
	for _, c := range p {
		crc = crc32c[byte(crc)^c] ^ crc>>8
	}
	return ^crc
}

// appendCursor appends the cursor of ps to b.
func appendCursor(b []byte, id *identity, ps positions) []byte {
	var small [128]byte
	raw := append(small[:0], cursorVersion, 0, 0, 0, 0)
	raw = append(raw, id[:]...)
	raw = binary.AppendUvarint(raw, uint64(len(ps)))
	for _, offset := range ps {
		raw = binary.AppendUvarint(raw, uint64(offset))
	}
	binary.BigEndian.PutUint32(raw[1:], smallChecksum(raw[1+crc32.Size:]))
	return base64.RawURLEncoding.AppendEncode(b, raw)
}

// Why a text is no cursor of a topic, for the one who sent it.
var (
	errCursorForm    = errors.New("it is not a cursor of an event gateway, or not all of it")
	errCursorVersion = errors.New("it is of another version of the gateway, which this one does not read")
	errCursorTopic   = errors.New("it is of another topic or cluster, or the topic was created anew since")
)

// readCursor is the positions of a cursor.
func readCursor(text string, id *identity) (positions, error) {
	if len(text) > maxCursor {
		return nil, errCursorForm
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < cursorHead {
		return nil, errCursorForm
	}
	if raw[0] != cursorVersion {
		return nil, errCursorVersion
	}
	if binary.BigEndian.Uint32(raw[1:]) != crc32.Checksum(raw[1+crc32.Size:], crc32c) {
		return nil, errCursorForm
	}
	if !slices.Equal(raw[1+crc32.Size:cursorHead], id[:]) {
		return nil, errCursorTopic
	}
	return readOffsets(raw[cursorHead:])
}

// readOffsets reads the part of a cursor that its checksum vouches for; made up ones are refused all the same.
func readOffsets(raw []byte) (positions, error) {
	n, raw, ok := uvarint(raw)
	if !ok || n > maxPartitions || n > uint64(len(raw)) {
		return nil, errCursorForm
	}
	ps := make(positions, n)
	for p := range ps {
		var offset uint64
		if offset, raw, ok = uvarint(raw); !ok || offset > math.MaxInt64 {
			return nil, errCursorForm
		}
		ps[p] = int64(offset)
	}
	if len(raw) > 0 {
		return nil, errCursorForm
	}
	return ps, nil
}

// uvarint reads one number, in its shortest form only: so that equal positions have one cursor.
func uvarint(raw []byte) (n uint64, rest []byte, ok bool) {
	n, length := binary.Uvarint(raw)
	if length <= 0 || length > 1 && raw[length-1] == 0 {
		return 0, nil, false
	}
	return n, raw[length:], true
}
