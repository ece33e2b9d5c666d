package kafka

// Damaged files of the embedded broker: what is found, what is said, and what
// happens after the operator accepted the loss.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// makeStore leaves a store with several segments, as a clean stop or a crash does.
func makeStore(t *testing.T, clean bool) (dir string, events int) {
	t.Helper()
	dir, events = t.TempDir(), 600 // in three files
	small := func(c *Config) { c.EmbeddedDataDir, c.NumPartitions, c.EmbeddedMaxBytes = dir, 1, 16*stages.MiB }
	r, broker := startEmbedded(t, small)
	r.fill(events, 10_000, "e")
	if clean {
		r.stop(broker)
		return dir, events
	}
	crashed := t.TempDir()
	if err := os.CopyFS(filepath.Join(crashed, "broker"), os.DirFS(filepath.Join(dir, "broker"))); err != nil {
		t.Fatal(err)
	}
	return crashed, events
}

func copyStore(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "broker"), os.DirFS(filepath.Join(from, "broker"))); err != nil {
		t.Fatal(err)
	}
	return to
}

func segmentFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "broker", "partitions", "*", "*.dat"))
	if err != nil || len(files) < 3 {
		t.Fatalf("segments %v: %v", files, err)
	}
	return files
}

// whole reports whether every event of makeStore is there, unchanged and in order.
func whole(t *testing.T, broker *Embedded, events int) bool {
	t.Helper()
	info := broker.cluster.PartitionInfo("events", 0)
	if info == nil || info.HighWatermark != int64(events) || info.LogStartOffset != 0 {
		return false
	}
	for i, rec := range stored(t, events, "events", 0, broker.clientOptions()...) {
		if ev, err := EventFromRecord(rec); err != nil || ev.Id != fmt.Sprint("e", i) || rec.Offset != int64(i) {
			return false
		}
	}
	return true
}

// TestEmbeddedFlippedBit: wherever a bit flips in a segment, the start is
// refused with the file's name, or the flip does no harm. With the flag it
// starts, and without the flag afterwards.
func TestEmbeddedFlippedBit(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean %v", clean), func(t *testing.T) {
			t.Parallel()
			dir, events := makeStore(t, clean)
			random := rand.New(rand.NewPCG(1, 2))
			refused := 0
			const tries = 24
			for try := range tries {
				damaged := copyStore(t, dir)
				files := segmentFiles(t, damaged)
				file := files[random.IntN(len(files))]
				// Every other flip hits a batch's header, where length, offsets and checksum are.
				at := flip(t, file, random, try%2 == 0)
				cfg := testConfig(t)
				cfg.EmbeddedDataDir, cfg.NumPartitions, cfg.EmbeddedMaxBytes = damaged, 1, 16*stages.MiB
				broker, err := StartEmbedded(cfg, nil)
				if err == nil {
					if !whole(t, broker, events) {
						t.Errorf("%s bit at %d: started, and events are gone", filepath.Base(file), at)
					}
					_ = broker.Close()
					continue
				}
				refused++
				if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "EMBEDDED_ALLOW_DATA_LOSS") {
					t.Errorf("refused without naming %s: %v", file, err)
				}
				startsWithLoss(t, cfg)
			}
			if refused < tries*2/3 {
				t.Errorf("refused only %d of %d", refused, tries)
			}
		})
	}
}

// flip flips one bit of file and returns the byte's position.
func flip(t *testing.T, file string, random *rand.Rand, header bool) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := random.IntN(len(data))
	if header {
		at = random.IntN(batchHeader)
	}
	data[at] ^= 1 << random.IntN(8)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return at
}

func startsWithLoss(t *testing.T, cfg *Config) {
	t.Helper()
	log := &testLog{}
	allowed := *cfg
	allowed.EmbeddedAllowDataLoss = true
	for _, c := range []*Config{&allowed, cfg} {
		broker, err := StartEmbedded(c, log)
		if err != nil {
			t.Errorf("after the loss was accepted: %v", err)
			return
		}
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	}
	if !log.has("going on without") {
		t.Error("the loss was not logged")
	}
}

// TestEmbeddedTornTail: what a kill -9 leaves of a write is no damage.
func TestEmbeddedTornTail(t *testing.T) {
	t.Parallel()
	dir, events := makeStore(t, false)
	random := rand.New(rand.NewPCG(3, 4))
	for range 8 {
		torn := copyStore(t, dir)
		files := segmentFiles(t, torn)
		last := newest(t, files)
		data, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		// A beginning of one more batch: the first one's bytes with the next offset.
		more := append([]byte{}, data[:1+random.IntN(int(wholeBatch(data))-1)]...)
		if len(more) >= 8 {
			more[6], more[7] = byte(events>>8), byte(events)
		}
		if err := os.WriteFile(last, append(data, more...), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, log := testConfig(t), &testLog{}
		cfg.EmbeddedDataDir, cfg.NumPartitions = torn, 1
		broker, err := StartEmbedded(cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		if !whole(t, broker, events) || !log.has("unfinished write") {
			t.Errorf("after %d torn bytes: events are gone, or nothing was said:\n%s", len(more), log)
		}
		_ = broker.Close()
	}
}

func newest(t *testing.T, files []string) string {
	t.Helper()
	bases, err := segmentsOf(filepath.Dir(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(files[0]), fmt.Sprint(bases[len(bases)-1], ".dat"))
}

// TestEmbeddedOtherDamage: lost files, shorter files and damaged settings.
func TestEmbeddedOtherDamage(t *testing.T) {
	t.Parallel()
	dir, _ := makeStore(t, true)
	bases, err := segmentsOf(filepath.Join(dir, "broker", "partitions", "events-0"))
	if err != nil {
		t.Fatal(err)
	}
	segment := func(i int) string { return fmt.Sprintf("partitions/events-0/%d.dat", bases[i]) }
	last := segment(len(bases) - 1)
	for name, c := range map[string]struct {
		file   string
		damage func(path string) error
	}{
		"middle file gone":         {segment(2), func(string) error { return nil }},
		"last file gone":           {last, os.Remove},
		"shorter than at the stop": {last, func(path string) error { return os.Truncate(path, 0) }},
		"zeroes at the end": {last, func(path string) error {
			info, err := os.Stat(path)
			return errors.Join(err, os.Truncate(path, info.Size()+4096))
		}},
		"no meta.json":          {"meta.json", os.Remove},
		"meta.json garbled":     {"meta.json", func(path string) error { return os.WriteFile(path, []byte("{"), 0o600) }},
		"no topics.json":        {"topics.json", os.Remove},
		"topics.json garbled":   {"topics.json", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		"snapshot.json garbled": {"partitions/events-0/snapshot.json", func(path string) error { return os.WriteFile(path, []byte("1"), 0o600) }},
		"sasl.json garbled":     {"sasl.json", func(path string) error { return os.WriteFile(path, []byte("{]"), 0o600) }},
	} {
		t.Run(name, func(t *testing.T) {
			damaged := copyStore(t, dir)
			path := filepath.Join(damaged, "broker", c.file)
			if name == "middle file gone" {
				path = filepath.Join(damaged, "broker", segment(1))
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				path = filepath.Join(damaged, "broker", c.file) // the file after it is named
			} else if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(t)
			cfg.EmbeddedDataDir, cfg.NumPartitions = damaged, 1
			broker, err := StartEmbedded(cfg, nil)
			if err == nil {
				_ = broker.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("does not name %s: %v", path, err)
			}
			startsWithLoss(t, cfg)
		})
	}
}
