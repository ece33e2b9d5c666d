//go:build faults

package faults

// Cursors that no gateway made: their form is that of kafka/cursor.go.

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// cursorHead is the version, a checksum of what follows it, and the topic's identity.
const cursorHead = 1 + 4 + 8

// ahead is a cursor with every partition's place that much further.
func ahead(t *testing.T, cursor string, by uint64) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) < cursorHead {
		t.Fatalf("the cursor %q: %v", cursor, err)
	}
	out := raw[:cursorHead:cursorHead]
	rest := raw[cursorHead:]
	for first := true; len(rest) > 0; first = false {
		n, length := binary.Uvarint(rest)
		if length <= 0 {
			t.Fatalf("the cursor %q has no number at its end", cursor)
		}
		if rest = rest[length:]; !first { // the first one is how many partitions there are
			n += by
		}
		out = binary.AppendUvarint(out, n)
	}
	binary.BigEndian.PutUint32(out[1:], crc32.Checksum(out[1+4:], crc32.MakeTable(crc32.Castagnoli)))
	return base64.RawURLEncoding.EncodeToString(out)
}
