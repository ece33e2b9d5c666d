package kafka

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// startEmbedded starts a broker and a producer on it.
func startEmbedded(t testing.TB, change func(*Config)) (*rig, *Embedded) {
	t.Helper()
	var broker *Embedded
	r := startRig(t, func(c *Config, p *Parts) {
		if change != nil {
			change(c)
		}
		var err error
		if broker, err = StartEmbedded(c, p.Log); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := broker.Close(); err != nil {
				t.Error(err)
			}
		})
		p.Embedded = broker
	})
	return r.ready(), broker
}

func in(dir string) func(*Config) { return func(c *Config) { c.EmbeddedDataDir = dir } }

// stop closes producer and broker before the test's end.
func (r *rig) stop(broker *Embedded) {
	r.t.Helper()
	r.producer.Close()
	if err := broker.Close(); err != nil {
		r.t.Error(err)
	}
}

func (e *Embedded) clientOptions() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(e.Seeds()...), kgo.Dialer(e.Dial)}
}

// fill stores n events of size bytes in partition 0, 50 a batch, and waits for all.
func (r *rig) fill(n, size int, prefix string) {
	r.t.Helper()
	p := r.partition(0)
	for done := 0; done < n; done += 50 {
		events := make([]*stages.Event, min(50, n-done))
		for i := range events {
			events[i] = newEvent(fmt.Sprint(prefix, done+i), p)
			events[i].Data = make([]byte, size)
		}
		r.producer.Produce(p, events)
		for i := range events {
			r.want(fmt.Sprint(prefix, done+i), stages.Acknowledged, stages.NoReason)
		}
	}
}

func TestEmbeddedEndToEnd(t *testing.T) {
	r, broker := startEmbedded(t, nil)
	p := r.partition(1)
	r.produce(p, "a", "b", "c")
	for i, id := range []string{"a", "b", "c"} {
		ev := r.want(id, stages.Acknowledged, stages.NoReason)
		if ev.Ack.Partition != 1 || ev.Ack.Offset != int64(i) {
			t.Errorf("%s: position %d@%d, want 1@%d", id, ev.Ack.Partition, ev.Ack.Offset, i)
		}
	}
	for i, rec := range stored(t, 3, "events", 1, broker.clientOptions()...) {
		ev, err := EventFromRecord(rec)
		if err != nil || ev.Id != string("abc"[i]) || string(ev.Data) != "data of "+ev.Id {
			t.Errorf("record %d: %v, %v", i, ev, err)
		}
	}
	if n := r.producer.InFlight(); n != 0 {
		t.Errorf("%d records in flight at rest", n)
	}
	if info, err := os.Stat(r.cfg.EmbeddedDataDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("data directory: %v, %v", info.Mode(), err)
	}
}

func TestEmbeddedLock(t *testing.T) {
	r, broker := startEmbedded(t, nil)
	if _, err := StartEmbedded(r.cfg, r.log); err == nil || !strings.Contains(err.Error(), "another process uses this directory") {
		t.Fatalf("second start: %v", err)
	}
	r.stop(broker)
	again, err := StartEmbedded(r.cfg, r.log)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestEmbeddedSyncWrites(t *testing.T) {
	r, _ := startEmbedded(t, func(c *Config) { c.EmbeddedSyncWrites = true })
	r.fill(100, 100, "e")
}

// childDirectory makes the test binary a gateway's broker that is to be killed.
const childDirectory = "KAFKA_TEST_CHILD_DIR"

// childMain stores events as fast as it can and says which are acknowledged, until it is killed.
func childMain(dir string) {
	cfg := testConfig(childT{})
	cfg.EmbeddedDataDir = dir
	broker, err := StartEmbedded(cfg, nil)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	reports := make(chan *stages.Event, 1000)
	topics := stages.NewTopics(cfg.Topics()...)
	p, err := NewProducer(cfg, Parts{
		Topics: topics, Breaker: stages.NewBreaker(5*time.Second, nil), MaxEvents: 1000, DeliveryTimeout: 10 * time.Second,
		Report: func(ev *stages.Event) { reports <- ev }, Embedded: broker,
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for tick := time.NewTicker(time.Millisecond); p.Ready() != nil; <-tick.C {
	}
	out := bufio.NewWriter(os.Stdout)
	for n := 0; ; n++ {
		for _, sp := range topics.Default.Partitions() {
			events := make([]*stages.Event, 20)
			for i := range events {
				events[i] = newEvent(fmt.Sprintf("%d-%d-%d-%d", os.Getpid(), sp.ID, n, i), sp)
				events[i].Data = make([]byte, 500)
			}
			p.Produce(sp, events)
		}
		for range 20 * len(topics.Default.Partitions()) {
			if ev := <-reports; ev.Ack.Verdict.Outcome == stages.Acknowledged {
				fmt.Fprintf(out, "acked %s %d %d\n", ev.ID, ev.Ack.Partition, ev.Ack.Offset)
			}
		}
		if err := out.Flush(); err != nil {
			os.Exit(1) // the parent is gone
		}
	}
}

// childT stands in for a test where there is none.
type childT struct{ testing.TB }

func (childT) TempDir() string { return "" }

// TestEmbeddedSurvivesKill: kill -9 under load, several times over, loses nothing acknowledged.
func TestEmbeddedSurvivesKill(t *testing.T) {
	dir, acked := t.TempDir(), map[string]position{}
	for round := range 3 {
		maps.Copy(acked, runAndKill(t, dir, 3000))
		r, broker := startEmbedded(t, in(dir))
		admin, err := kgo.NewClient(broker.clientOptions()...)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := kadm.NewClient(admin).ListEndOffsets(t.Context(), "events")
		if err != nil {
			t.Fatal(err)
		}
		admin.Close()
		lost := 0
		for p := range int32(3) {
			end, _ := ends.Lookup("events", p)
			ids := map[string]int64{}
			for _, rec := range stored(t, int(end.Offset), "events", p, broker.clientOptions()...) {
				ev, err := EventFromRecord(rec)
				if err != nil {
					t.Fatal(err)
				}
				ids[ev.Id] = rec.Offset
			}
			for id, at := range acked {
				if at.partition == p && ids[id] != at.offset {
					lost++
				}
			}
		}
		if lost > 0 {
			t.Errorf("round %d: %d of %d acknowledged events are lost or elsewhere", round, lost, len(acked))
		}
		r.stop(broker)
	}
}

type position struct {
	partition int32
	offset    int64
}

func runAndKill(t *testing.T, dir string, least int) map[string]position {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), childDirectory+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[string]position{}
	lines := bufio.NewScanner(out)
	killed := false
	for lines.Scan() {
		var id string
		var at position
		if n, _ := fmt.Sscanf(lines.Text(), "acked %s %d %d", &id, &at.partition, &at.offset); n != 3 {
			break // the line that was being written
		}
		acked[id] = at
		if len(acked) >= least && !killed {
			killed = true
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if !killed {
		_ = child.Process.Kill()
		t.Errorf("the child ended by itself after %d: %s", len(acked), lines.Text())
	}
	_ = child.Wait() // "signal: killed"
	return acked
}

func diskUse(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // retention removes files while we walk
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// TestEmbeddedSize: the disk bound holds, also after a restart and whoever makes partitions.
func TestEmbeddedSize(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		r, broker := startEmbedded(t, func(c *Config) {
			c.EmbeddedDataDir, c.NumPartitions, c.EmbeddedMaxBytes = dir, 1, 16*stages.MiB
		})
		r.fill(2000, 20_000, "e")
		r.eventually("old events are dropped", func() bool { return diskUse(t, dir) <= int64(16*stages.MiB) })
		r.stop(broker)
	}
}

// TestEmbeddedAge: old events go; offsets never start again.
func TestEmbeddedAge(t *testing.T) {
	dir := t.TempDir()
	r, broker := startEmbedded(t, in(dir))
	r.fill(200, 100, "e")
	client, err := kgo.NewClient(broker.clientOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	expire := func(age time.Duration) int64 {
		t.Helper()
		if err := broker.expire(t.Context(), kadm.NewClient(client), time.Now().Add(age)); err != nil {
			t.Fatal(err)
		}
		return broker.cluster.PartitionInfo("events", 0).LogStartOffset
	}
	if start := expire(23 * time.Hour); start != 0 {
		t.Errorf("dropped up to %d before their time", start)
	}
	if start := expire(25 * time.Hour); start != 199 {
		t.Errorf("log starts at %d, want all but the last dropped", start)
	}
	r.stop(broker)
	r, _ = startEmbedded(t, in(dir))
	r.produce(r.partition(0), "next")
	if ev := r.want("next", stages.Acknowledged, stages.NoReason); ev.Ack.Offset != 200 {
		t.Errorf("next event at offset %d, want 200", ev.Ack.Offset)
	}
}

// makeStore leaves a store with several segments, as a clean stop or a crash does.
func makeStore(t *testing.T, clean bool) (dir string, events int) {
	t.Helper()
	dir, events = t.TempDir(), 800
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
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean %v", clean), func(t *testing.T) {
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
					broker.Close()
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
		broker.Close()
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
				broker.Close()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("does not name %s: %v", path, err)
			}
			startsWithLoss(t, cfg)
		})
	}
}
