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

// renewSnapshot writes the snapshot of a partition whose segments are good and hold the offsets first to next,
// unless there is one that fits. Where the log began for clients (DeleteRecords, retention) stays as it was.
func renewSnapshot(dir string, segments []snapshotSegment, first, next int64, created time.Time) error {
	path := filepath.Join(dir, snapshotFile)
	s := snapshot{CreatedAt: created}
	if err := readJSON(path, &s); err == nil && s.fits(segments) {
		return nil
	} else if err != nil {
		s = snapshot{CreatedAt: created}
	}
	s.Version, s.HighWatermark, s.LastStableOffset, s.Segments = 1, next, next, segments
	if s.LogStartOffset < first || s.LogStartOffset > next {
		s.LogStartOffset = first
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// A crash in between must not leave half of it: the next start would call that damage.
	temporary := path + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, path)
}
