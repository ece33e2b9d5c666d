package kafka

// What is looked at before the embedded broker starts. It repairs its files by
// throwing away what it cannot read, with a line in its log at most; so we read
// them first, and a start that would lose acknowledged events does not happen
// unless the operator says so.
//
//	store/meta.json topics.json ...       settings; must parse
//	store/partitions/TOPIC-N/*.dat        segments; embedded_segment.go
//	store/partitions/TOPIC-N/snapshot.json sizes and offsets at the last clean stop or start; embedded_snapshot.go
//	store/accepted-loss.json              damages that the operator accepted and that leave a gap for ever

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// damage is one thing that is wrong with a file.
type damage struct {
	text string
	// key names the damage in accepted-loss.json: unlike text, it stays the same while the file grows.
	key string
	// repair makes the file readable by dropping what is damaged; nil: there is nothing to do.
	repair func() error
}

const (
	metaFile     = "meta.json"
	topicsFile   = "topics.json"
	snapshotFile = "snapshot.json"
	acceptedFile = "accepted-loss.json"
)

// settingsFiles besides metaFile and topicsFile: nothing of the gateway depends on them.
var settingsFiles = []string{"acls.json", "sasl.json", "broker_configs.json", "quotas.json", "seq_windows.json", "session_state.json"}

// storedTopics is topics.json, as far as it matters here.
type storedTopics struct {
	Version int           `json:"version"`
	Topics  []storedTopic `json:"topics"`
}

type storedTopic struct {
	Name       string            `json:"name"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs"`
}

// storedSnapshot is snapshot.json, as far as it matters here.
type storedSnapshot struct {
	HighWatermark  int64 `json:"high_watermark"`
	LogStartOffset int64 `json:"log_start_offset"`
	Segments       []struct {
		BaseOffset int64 `json:"base_offset"`
		Size       int64 `json:"size"`
	} `json:"segments"`
}

// checkStore returns what is damaged in store, less what was accepted before,
// and cuts off unfinished writes.
func checkStore(store string, log Logger) ([]damage, error) {
	partitions, err := os.ReadDir(filepath.Join(store, "partitions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	damages, topics := checkSettings(store, len(partitions) > 0)
	known := make(map[string]storedTopic)
	for _, t := range topics.Topics {
		for n := range min(t.Partitions, maxPartitions) {
			known[url.PathEscape(t.Name)+"-"+strconv.Itoa(n)] = t
		}
	}
	for _, p := range partitions {
		dir := filepath.Join(store, "partitions", p.Name())
		t, ok := known[p.Name()]
		if !ok && topics.Topics != nil {
			text := fmt.Sprintf("%s: %s does not know this partition; its events would be invisible", dir, topicsFile)
			damages = append(damages, damage{text: text, key: text})
			continue
		}
		more, err := checkPartition(dir, !strings.Contains(t.Configs["cleanup.policy"], "compact"), log)
		if err != nil {
			return nil, err
		}
		damages = append(damages, more...)
	}
	accepted, err := acceptedLosses(store)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(damages, func(d damage) bool { return accepted[relative(store, d.key)] }), nil
}

// checkSettings reads the files beside the partitions.
func checkSettings(store string, used bool) (damages []damage, topics storedTopics) {
	for _, name := range append([]string{metaFile, topicsFile}, settingsFiles...) {
		path := filepath.Join(store, name)
		var into any = &json.RawMessage{}
		if name == topicsFile {
			into = &topics
		}
		err := readJSON(path, into)
		needed := name == metaFile || name == topicsFile
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist) && (!needed || !used):
		case name == metaFile:
			damages = append(damages, damage{text: fmt.Sprintf("%s: %v; the broker would start empty", path, err), repair: func() error {
				return os.WriteFile(path, []byte(`{"version":1,"cluster_id":"`+embeddedCluster+`"}`), 0o600)
			}})
		case name == topicsFile:
			topics = storedTopics{}
			damages = append(damages, damage{text: fmt.Sprintf("%s: %v; no topic would be found", path, err), repair: func() error {
				return rebuildTopics(store)
			}})
		default:
			damages = append(damages, damage{text: fmt.Sprintf("%s: %v", path, err), repair: func() error {
				return os.Rename(path, path+".damaged")
			}})
		}
	}
	return damages, topics
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("is not valid JSON: %w", err)
	}
	return nil
}

// rebuildTopics makes topics.json anew from the partitions' directories.
func rebuildTopics(store string) error {
	entries, err := os.ReadDir(filepath.Join(store, "partitions"))
	if err != nil {
		return err
	}
	counts := make(map[string]int)
	for _, e := range entries {
		i := strings.LastIndexByte(e.Name(), '-')
		n, err := strconv.Atoi(e.Name()[i+1:])
		if i <= 0 || err != nil {
			continue
		}
		if name, err := url.PathUnescape(e.Name()[:i]); err == nil {
			counts[name] = max(counts[name], n+1)
		}
	}
	type topic struct {
		Name       string `json:"name"`
		ID         []byte `json:"id"` // base64, as the broker writes it
		Partitions int    `json:"partitions"`
		Replicas   int    `json:"replicas"`
	}
	topics := []topic{}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		id := make([]byte, 16)
		rand.Read(id) // never fails
		topics = append(topics, topic{Name: name, ID: id, Partitions: counts[name], Replicas: 1})
	}
	data, err := json.Marshal(map[string]any{"version": 1, "topics": topics})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(store, topicsFile), data, 0o600)
}

// checkPartition reads all segments of one partition, in order.
func checkPartition(dir string, contiguous bool, log Logger) ([]damage, error) {
	segments, err := segmentsOf(dir)
	if err != nil {
		return nil, err
	}
	var damages []damage
	l := partitionLog{first: -1, firstEnd: -1, next: -1}
	plain := contiguous // nothing that only the broker itself can read
	for i, base := range segments {
		s := segment{
			path: filepath.Join(dir, strconv.FormatInt(base, 10)+".dat"),
			base: base, last: i == len(segments)-1, contiguous: contiguous,
		}
		found, err := s.read()
		if err != nil {
			return nil, err
		}
		if found.torn {
			log.Log(LevelInfo, "embedded broker: removed an unfinished write, which was never acknowledged",
				"file", s.path, "bytes", found.size-found.good)
			if err := os.Truncate(s.path, found.good); err != nil {
				return nil, err
			}
		}
		if gap := found.first >= 0 && l.next >= 0 && (found.first < l.next || contiguous && found.first > l.next); gap {
			text := fmt.Sprintf("%s: starts at offset %d, and the file before it ends at %d", s.path, found.first, l.next)
			damages = append(damages, damage{text: text, key: text})
		}
		if found.damage != "" {
			damages = append(damages, s.damaged(found))
		}
		l.next = max(l.next, found.next)
		if i == 0 {
			l.first, l.firstEnd, l.created = found.first, found.next, found.created
		}
		l.epoch = max(l.epoch, found.epoch)
		l.segments = append(l.segments, snapshotSegment{BaseOffset: base, Size: found.good})
		plain = plain && !found.transactional
	}
	if len(damages) == 0 && contiguous {
		damages = checkSnapshot(dir, segments, l.first, l.firstEnd, l.next)
	}
	if len(damages) == 0 && plain && l.first >= 0 {
		if err := renewSnapshot(dir, l); err != nil { // the disk may be full
			log.Log(LevelWarn, "embedded broker: a snapshot cannot be written; the start takes more memory", "directory", dir, "error", err)
		}
	}
	return damages, nil
}

// damaged: what follows the damage goes, so that the broker does not read it as something else.
func (s segment) damaged(found finding) damage {
	return damage{
		text: fmt.Sprintf("%s: the batch at byte %d %s; lost would be the file's last %d bytes, its events from offset %d on",
			s.path, found.good, found.damage, found.size-found.good, max(found.next, s.base)),
		repair: func() error { return os.Truncate(s.path, found.good) },
	}
}

func segmentsOf(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".dat"); ok {
			if base, err := strconv.ParseInt(name, 10, 64); err == nil {
				bases = append(bases, base)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// checkSnapshot holds the files against the last stop or start. Since then, files
// may have grown, come at the end, and gone at the start.
func checkSnapshot(dir string, segments []int64, first, firstEnd, next int64) []damage {
	path := filepath.Join(dir, snapshotFile)
	var snap storedSnapshot
	err := readJSON(path, &snap)
	if errors.Is(err, fs.ErrNotExist) || len(segments) == 0 {
		return nil
	}
	drop := func() error { return os.Remove(path) } // the broker then reads everything from the segments
	if err != nil {
		return []damage{{text: fmt.Sprintf("%s: %v; offsets would be guessed", path, err), repair: drop}}
	}
	clean := len(snap.Segments) == len(segments)
	for _, s := range snap.Segments {
		file := filepath.Join(dir, strconv.FormatInt(s.BaseOffset, 10)+".dat")
		info, err := os.Stat(file)
		switch {
		case err != nil && s.BaseOffset > segments[0]:
			return []damage{{text: fmt.Sprintf("%s: is missing, and was there at the last stop or start with %d bytes", file, s.Size), repair: drop}}
		case err != nil: // retention
			clean = false
		case info.Size() < s.Size:
			return []damage{{text: fmt.Sprintf("%s: has %d bytes, and had %d at the last stop or start; the events in between are lost", file, info.Size(), s.Size), repair: drop}}
		default:
			clean = clean && info.Size() == s.Size
		}
	}
	if clean && first >= 0 && (snap.HighWatermark != next || snap.LogStartOffset < first || snap.LogStartOffset > firstEnd) {
		return []damage{{text: fmt.Sprintf("%s: says offsets %d to %d, the segments hold %d to %d",
			path, snap.LogStartOffset, snap.HighWatermark, first, next), repair: drop}}
	}
	return nil
}

// repairStore drops what is damaged, until only gaps are left: they stay, and
// are noted as accepted.
func repairStore(store string, damages []damage, log Logger) error {
	for {
		repaired := false
		for _, d := range damages {
			if d.repair != nil {
				repaired = true
				if err := d.repair(); err != nil {
					return err
				}
			}
		}
		if !repaired {
			return accept(store, damages)
		}
		var err error
		if damages, err = checkStore(store, log); err != nil || len(damages) == 0 {
			return err
		}
	}
}

func accept(store string, damages []damage) error {
	accepted, err := acceptedLosses(store)
	if err != nil {
		return err
	}
	for _, d := range damages {
		accepted[relative(store, d.key)] = true
	}
	data, err := json.MarshalIndent(slices.Sorted(maps.Keys(accepted)), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(store, acceptedFile), data, 0o600)
}

// relative makes keys that survive a move of the data directory.
func relative(store, key string) string {
	return strings.ReplaceAll(key, store+string(filepath.Separator), "")
}

func acceptedLosses(store string) (map[string]bool, error) {
	accepted := make(map[string]bool)
	var texts []string
	err := readJSON(filepath.Join(store, acceptedFile), &texts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", acceptedFile, err)
	}
	for _, text := range texts {
		accepted[text] = true
	}
	return accepted, nil
}
