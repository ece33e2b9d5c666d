package kafka

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
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
	// franz-go runs a promise before it takes the record off its count.
	if err := r.producer.Flush(t.Context()); err != nil || r.producer.InFlight() != 0 {
		t.Errorf("%d records in flight at rest (%v)", r.producer.InFlight(), err)
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
	t.Parallel()
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
		Report: func(events []*stages.Event) { sendAll(reports, events) }, Embedded: broker,
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
				fmt.Fprintf(out, "acked %s %d %d\n", ev.ID.Value, ev.Ack.Partition, ev.Ack.Offset)
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
	t.Parallel()
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
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		r, broker := startEmbedded(t, func(c *Config) {
			c.EmbeddedDataDir, c.NumPartitions, c.EmbeddedMaxBytes = dir, 1, 16*stages.MiB
		})
		r.fill(1200, 20_000, "e")
		r.eventually("old events are dropped", func() bool { return diskUse(t, dir) <= int64(16*stages.MiB) })
		r.stop(broker)
	}
}

// TestEmbeddedAge: old events go; offsets never start again.
func TestEmbeddedAge(t *testing.T) {
	t.Parallel()
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

// After a crash the start writes the snapshot that a clean stop would have left, so that the broker does not read the
// whole log into memory; not beside a transaction, which only the broker can end.
func TestEmbeddedRenewsSnapshots(t *testing.T) {
	t.Parallel()
	r, broker := startEmbedded(t, nil)
	r.fill(200, 1000, "e")
	client, err := kgo.NewClient(append(broker.clientOptions(), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	client.Close()
	r.stop(broker)
	dir := r.cfg.EmbeddedDataDir
	snapshotOf := func(partition int) string {
		return filepath.Join(dir, "broker", "partitions", fmt.Sprint("events-", partition), snapshotFile)
	}
	var clean snapshot
	if err := readJSON(snapshotOf(0), &clean); err != nil {
		t.Fatal(err)
	}
	for partition := range 2 {
		if err := os.Remove(snapshotOf(partition)); err != nil {
			t.Fatal(err)
		}
	}
	damages, err := checkStore(filepath.Join(dir, "broker"), discardLog{})
	if err != nil || len(damages) > 0 {
		t.Fatalf("%v, %v", damages, err)
	}
	var renewed snapshot
	if err := readJSON(snapshotOf(0), &renewed); err != nil {
		t.Fatal(err)
	}
	if renewed.CreatedAt.IsZero() || renewed.CreatedAt.After(time.Now()) {
		t.Errorf("created at %v", renewed.CreatedAt)
	}
	renewed.CreatedAt, renewed.MaxTimestamp = clean.CreatedAt, clean.MaxTimestamp
	if !reflect.DeepEqual(renewed, clean) {
		t.Errorf("renewed %+v, a clean stop left %+v", renewed, clean)
	}
	if _, err := os.Stat(snapshotOf(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the partition with a transaction has a snapshot: %v", err)
	}
	r, broker = startEmbedded(t, in(dir))
	r.fill(50, 10, "more")
	if n := len(stored(t, 250, "events", 0, broker.clientOptions()...)); n != 250 {
		t.Errorf("%d records", n)
	}
}

// oldData is a data directory as an earlier version has left it, with the events "old0" to "old19" in partition 0.
// UPDATE_EMBEDDED_DATA=VERSION go test ./kafka -run TestEmbeddedOpensOldData adds one before a release.
const oldData = "testdata/embedded-*"

// forEver keeps what it finds.
func forEver(dir string) func(*Config) {
	return func(c *Config) { c.EmbeddedDataDir, c.EmbeddedRetention = dir, 100*365*24*time.Hour }
}

// A newer gateway takes over what an older one has stored, and goes on behind it.
func TestEmbeddedOpensOldData(t *testing.T) {
	if name := os.Getenv("UPDATE_EMBEDDED_DATA"); name != "" {
		dir := filepath.Join("testdata", "embedded-"+name)
		r, broker := startEmbedded(t, forEver(dir))
		client, err := kgo.NewClient(append(broker.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			ev := newEvent(fmt.Sprint("old", i), r.partition(0))
			ev.Msg.Received = time.Date(2020, 1, 1, 0, 0, i, 0, time.UTC) // as old as it will look some day
			rec := recordOf(ev)
			rec.fill(t.Context(), FormatBinary, ev, &timeText{})
			if err := client.ProduceSync(t.Context(), &rec.kafka).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		r.stop(broker)
	}
	old, err := filepath.Glob(oldData)
	if err != nil || len(old) == 0 {
		t.Fatalf("%s: %v, %v", oldData, old, err)
	}
	for _, from := range old {
		t.Run(filepath.Base(from), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			r, broker := startEmbedded(t, forEver(dir))
			r.fill(5, 10, "new")
			for i, rec := range stored(t, 25, "events", 0, broker.clientOptions()...) {
				want := fmt.Sprint("old", i)
				if i >= 20 {
					want = fmt.Sprint("new", i-20)
				}
				if ev, err := EventFromRecord(rec); err != nil || ev.Id != want || rec.Offset != int64(i) {
					t.Errorf("record %d: %v, %v, want %s", i, ev, err, want)
				}
			}
		})
	}
}
