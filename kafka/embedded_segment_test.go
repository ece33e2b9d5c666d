package kafka

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// segmentBytes is a segment of n batches of two records each, as the broker writes it.
func segmentBytes(n int) (data []byte, starts []int) {
	for i := range n {
		record := []byte{20, 0, 0, 0, 1, 8, 'd', 'a', 't', byte('a' + i), 0}
		batch := kmsg.RecordBatch{
			FirstOffset: int64(2 * i), Magic: 2, LastOffsetDelta: 1, NumRecords: 2, ProducerID: 7,
			Records: append(append([]byte{}, record...), record...),
		}
		batch.Length = int32(batchHeader - batchPrefix + len(batch.Records))
		raw := batch.AppendTo(nil)
		binary.BigEndian.PutUint32(raw[batchChecksum:], checksum(raw))
		starts = append(starts, len(data))
		data = append(data, raw...)
	}
	return data, starts
}

func readSegment(t *testing.T, data []byte, last bool) finding {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.dat")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := segment{path: path, last: last, contiguous: true}.read()
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestSegmentCut: every beginning of a file is what a kill may leave of the last segment, and damage to any other.
func TestSegmentCut(t *testing.T) {
	t.Parallel()
	data, starts := segmentBytes(3)
	whole := map[int]bool{len(data): true}
	for _, at := range starts {
		whole[at] = true
	}
	for cut := range len(data) + 1 {
		found := readSegment(t, data[:cut], true)
		if found.damage != "" || found.torn == whole[cut] {
			t.Errorf("cut at %d: %+v", cut, found)
		}
		if found = readSegment(t, data[:cut], false); (found.damage == "") != whole[cut] || found.torn {
			t.Errorf("sealed file cut at %d: %+v", cut, found)
		}
	}
}

// TestSegmentFlips: every single bit of every batch, the last one too, is
// damage and never taken for an unfinished write.
func TestSegmentFlips(t *testing.T) {
	t.Parallel()
	data, starts := segmentBytes(3)
	for i, at := range starts {
		end := len(data)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		for bit := range (end - at) * 8 {
			if field := bit / 8; field >= batchPrefix && field < batchMagic {
				continue // the leader's epoch: no checksum covers it, and nothing is read from it
			}
			flipped := append([]byte{}, data...)
			flipped[at+bit/8] ^= 1 << (bit % 8)
			if found := readSegment(t, flipped, true); found.damage == "" || found.torn || found.good != int64(at) {
				t.Errorf("batch %d, byte %d, bit %d: %+v", i, bit/8, bit%8, found)
			}
		}
	}
}
