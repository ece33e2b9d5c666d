package kafka

// Reading one segment file of the embedded broker: record batches one after
// the other, as Kafka writes them (kafka.apache.org/documentation/#recordbatch).
//
// The rule that tells an unfinished write from damage. A batch is written with
// one write and acknowledged after it, so a process that is killed leaves at
// most a beginning of one batch, at the end of the last segment; it was never
// acknowledged. So the rest of a file is an unfinished write only if it
//   - is in the last segment of its partition,
//   - is shorter than the batch it begins says it is,
//   - does not fit its own checksum (else only its length was damaged), and
//   - has no whole batch anywhere in it (else a length in the middle was damaged).
// Everything else that does not read is damage to something acknowledged.

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The parts of a batch header that matter here, by position.
const (
	batchBase       = 0  // int64: offset of the first record
	batchLength     = 8  // int32: bytes after this field
	batchPrefix     = 12 // what batchLength does not count
	batchEpoch      = 12 // int32: the leader's
	batchMagic      = 16 // int8: 2
	batchChecksum   = 17 // uint32: CRC-32C of everything behind it
	batchCovered    = 21
	batchAttributes = 21 // int16
	batchLastDelta  = 23 // int32: offset of the last record, less batchBase
	batchTime       = 27 // int64: the first record's, in milliseconds since 1970
	batchHeader     = 61
	// of a transaction, or the marker of one's end
	batchTransactional = 0x10 | 0x20
	maxBatchOnDisk     = 1 << 30
	maxOffsetInFile    = 1 << 40 // how far a batch found by searching may be ahead
)

// segment is one file to be read.
type segment struct {
	path string
	base int64
	last bool
	// contiguous: every offset must follow the one before. Compaction leaves gaps.
	contiguous bool
}

// finding is what reading a segment came to.
type finding struct {
	// next is the offset after the last good batch.
	next int64
	// first is the offset of the first batch, -1 without one.
	first int64
	// created is the first batch's time. transactional: some batch belongs to a transaction.
	created       time.Time
	transactional bool
	// epoch is the leader epoch of the last batch.
	epoch int32
	// good is the number of bytes up to the end of the last good batch; size all of them.
	good, size int64
	// torn: the rest is an unfinished write.
	torn bool
	// damage says what is wrong at good; empty: nothing.
	damage string
}

// read goes through the file batch by batch, with the memory of one batch.
func (s segment) read() (finding, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return finding{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return finding{}, err
	}
	found := finding{next: -1, first: -1, size: info.Size()}
	in := bufio.NewReaderSize(f, 1<<20)
	var batch []byte
	for found.good < found.size {
		left := found.size - found.good
		header, err := in.Peek(int(min(left, batchHeader)))
		if err != nil {
			return found, err
		}
		size := wholeBatch(header)
		if size > left || size == 0 {
			return s.judgeRest(f, found)
		}
		if int64(cap(batch)) < size {
			batch = make([]byte, size)
		}
		batch = batch[:size]
		if _, err := io.ReadFull(in, batch); err != nil {
			return found, err
		}
		if found.damage = s.judge(batch, found); found.damage != "" {
			return found, nil
		}
		base := int64(binary.BigEndian.Uint64(batch[batchBase:]))
		if found.first < 0 {
			found.first = base
			found.created = time.UnixMilli(int64(binary.BigEndian.Uint64(batch[batchTime:])))
		}
		found.epoch = int32(binary.BigEndian.Uint32(batch[batchEpoch:]))
		found.transactional = found.transactional || binary.BigEndian.Uint16(batch[batchAttributes:])&batchTransactional != 0
		found.next = base + int64(int32(binary.BigEndian.Uint32(batch[batchLastDelta:]))) + 1
		found.good += size
	}
	return found, nil
}

// wholeBatch is the size that the batch claims; 0 when that cannot be a batch or the header is not all there.
func wholeBatch(header []byte) int64 {
	if len(header) < batchHeader {
		return 0
	}
	length := int64(int32(binary.BigEndian.Uint32(header[batchLength:])))
	if length < batchHeader-batchPrefix || length > maxBatchOnDisk {
		return 0
	}
	return batchPrefix + length
}

func (s segment) judge(batch []byte, so finding) string {
	base := int64(binary.BigEndian.Uint64(batch[batchBase:]))
	last := int64(int32(binary.BigEndian.Uint32(batch[batchLastDelta:])))
	switch {
	case batch[batchMagic] != 2:
		return "is not a record batch"
	case !checksumFits(batch):
		return "does not match its checksum"
	case so.first < 0 && base < s.base, so.first < 0 && s.contiguous && base != s.base:
		return fmt.Sprintf("starts at offset %d, the file's name says %d", base, s.base)
	case so.next >= 0 && (base < so.next || s.contiguous && base != so.next):
		return fmt.Sprintf("starts at offset %d instead of %d", base, so.next)
	case last < 0:
		return "has a negative number of records"
	}
	return ""
}

func checksumFits(batch []byte) bool {
	return binary.BigEndian.Uint32(batch[batchChecksum:]) == checksum(batch)
}

func checksum(batch []byte) uint32 { return crc32.Checksum(batch[batchCovered:], castagnoli) }

// judgeRest decides about an end of file that is no whole batch.
func (s segment) judgeRest(f *os.File, found finding) (finding, error) {
	rest := make([]byte, found.size-found.good)
	if _, err := f.ReadAt(rest, found.good); err != nil {
		return found, err
	}
	switch {
	case !s.last:
		found.damage = "is cut short, and later files follow"
	case len(rest) >= batchHeader && checksumFits(rest):
		found.damage = "has a wrong length"
	case len(rest) >= batchHeader && wholeBatch(rest) == 0:
		found.damage = "has an impossible length"
	case len(rest) >= batchHeader && rest[batchMagic] != 2:
		found.damage = "is not a record batch"
	case holdsBatch(rest[min(1, len(rest)):], found.next):
		found.damage = "has a wrong length: whole batches follow"
	default:
		found.torn = true
	}
	return found, nil
}

// holdsBatch looks for a whole batch of an offset at or above next anywhere in b.
func holdsBatch(b []byte, next int64) bool {
	for ; len(b) >= batchHeader; b = b[1:] {
		if b[batchMagic] != 2 {
			continue
		}
		base := int64(binary.BigEndian.Uint64(b[batchBase:]))
		if base < next || base > max(next, 0)+maxOffsetInFile {
			continue
		}
		if size := wholeBatch(b); size > 0 && size <= int64(len(b)) && checksumFits(b[:size]) {
			return true
		}
	}
	return false
}
