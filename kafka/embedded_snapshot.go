package kafka

// Snapshots for a start after a crash. Without one that fits its segments, the
// broker reads the whole log of all partitions at once into memory, to look for
// transactions that the crash has cut: 1.4 times its size. The segments were all read just now, batch by
// batch; so a partition without transactions gets the snapshot that a clean stop
// would have left, and the broker then reads it file by file.

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// snapshot is snapshot.json, version 1 of kfake's files.
type snapshot struct {
	Version          int               `json:"version"`
	HighWatermark    int64             `json:"high_watermark"`
	LastStableOffset int64             `json:"last_stable_offset"`
	LogStartOffset   int64             `json:"log_start_offset"`
	Epoch            int32             `json:"epoch"`
	LeaderNode       int32             `json:"leader_node,omitempty"`
	MaxTimestamp     int64             `json:"max_timestamp"` // the broker reckons it anew
	CreatedAt        time.Time         `json:"created_at"`
	Segments         []snapshotSegment `json:"segments"`
}

type snapshotSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
}

// fits reports whether the snapshot describes exactly these segments.
func (s *snapshot) fits(segments []snapshotSegment) bool {
	if s.Version != 1 || len(s.Segments) != len(segments) {
		return false
	}
	for i := range segments {
		if s.Segments[i] != segments[i] {
			return false
		}
	}
	return true
}

// partitionLog is what the segments of a partition hold, all of them good.
type partitionLog struct {
	segments []snapshotSegment
	// first and firstEnd are the offsets of the first segment, next the one after the last record.
	first, firstEnd, next int64
	epoch                 int32
	created               time.Time
}

// renewSnapshot writes the snapshot of a partition, unless there is one that fits. Where the log began for clients
// (DeleteRecords, retention) stays as it was.
func renewSnapshot(dir string, l partitionLog) error {
	path := filepath.Join(dir, snapshotFile)
	s := snapshot{CreatedAt: l.created}
	switch err := readJSON(path, &s); {
	case err != nil:
		s = snapshot{CreatedAt: l.created}
	case s.fits(l.segments), s.Version > 1: // a newer format is the broker's alone
		return nil
	}
	s.Version, s.HighWatermark, s.LastStableOffset, s.Segments = 1, l.next, l.next, l.segments
	s.Epoch = max(s.Epoch, l.epoch)
	if s.LogStartOffset < l.first || s.LogStartOffset > l.firstEnd {
		s.LogStartOffset = l.first
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(path, data)
}

// replaceFile writes a file so that a crash of the process or of the host leaves the old one or the new one: half of
// a snapshot would be damage to the next start. The broker removes a .tmp that is left over.
func replaceFile(path string, data []byte) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
