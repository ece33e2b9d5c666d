package pipeline

// Order: the acknowledged events of one stream with one key are stored in the
// order sent, for every shape of the graph, with refusals in the middle.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

var workerCounts4 = [4]int{1, 2, 3, 5}

// TestOrderPairwise covers every pair of worker counts of any two stages.
func TestOrderPairwise(t *testing.T) {
	for _, procs := range processors() {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for _, shape := range pairwise() {
			checkOrder(t, shape, 1)
		}
	}
}

// TestOrderRandomShapes: 200 shapes with other counts, capacities and loads.
func TestOrderRandomShapes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	for range rounds(200, 20) {
		var shape [6]int
		for i := range shape {
			shape[i] = rng.IntN(6) + 1
		}
		checkOrder(t, shape, rng.Uint64())
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestOrderAllShapes: all 4,096 shapes, with ORDER_FULL=1 (make test-order).
func TestOrderAllShapes(t *testing.T) {
	if os.Getenv("ORDER_FULL") == "" {
		t.Log("the pairwise covering array stands for them; ORDER_FULL=1 runs all 4,096")
		return
	}
	start := time.Now()
	for i := range 4096 {
		var shape [6]int
		for j, n := 0, i; j < 6; j, n = j+1, n/4 {
			shape[j] = workerCounts4[n%4]
		}
		checkOrder(t, shape, uint64(i))
		if i%256 == 255 {
			t.Logf("%d of 4096 shapes, %s", i+1, time.Since(start).Round(time.Second))
		}
	}
}

// pairwise is a covering array of strength 2, built greedily: for each new row
// the candidate that covers most pairs that are still missing.
func pairwise() (rows [][6]int) {
	type pair struct{ a, va, b, vb int }
	missing := map[pair]bool{}
	for a := range 6 {
		for b := a + 1; b < 6; b++ {
			for _, va := range workerCounts4 {
				for _, vb := range workerCounts4 {
					missing[pair{a, va, b, vb}] = true
				}
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	pairs := func(row [6]int, visit func(pair)) {
		for a := range 6 {
			for b := a + 1; b < 6; b++ {
				visit(pair{a, row[a], b, row[b]})
			}
		}
	}
	for len(missing) > 0 {
		var best [6]int
		most := 0
		for range 200 {
			var row [6]int
			for i := range row {
				row[i] = workerCounts4[rng.IntN(4)]
			}
			n := 0
			pairs(row, func(p pair) {
				if missing[p] {
					n++
				}
			})
			if n > most {
				best, most = row, n
			}
		}
		pairs(best, func(p pair) { delete(missing, p) })
		if most > 0 {
			rows = append(rows, best)
		}
	}
	return rows
}

// checkOrder runs several streams with few keys through one shape and compares
// what was stored with what was sent and answered.
func checkOrder(t *testing.T, shape [6]int, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	h := newHarness(t, withWorkers(shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]), func(cfg *Config, parts *Parts) {
		cfg.RingCapacity = 1 << rng.IntN(7)
		if rng.IntN(4) == 0 {
			parts.Stages.BatchLinger = time.Millisecond
		}
		parts.Stages.BatchMaxEvents = 1 + rng.IntN(100)
	})
	const streams, keys = 4, 6
	answers := make([][]answer, streams)
	var wg sync.WaitGroup
	for s := range streams {
		wg.Go(func() { answers[s] = h.stream(s, keys, seed) })
	}
	wg.Wait()
	h.close()
	if err := compare(h.r.logs, answers); err != nil {
		t.Errorf("%s, seed %d: %v", shapeName(shape), seed, err)
	}
}

// answer is what a stream learned about one event.
type answer struct {
	key       string
	outcome   stages.Outcome
	partition int32
	offset    int64
	// invalid: it was sent without source. dead: it was answered as dead-lettered.
	invalid, dead bool
}

// stream sends messages of one or many events, a window of them in flight, as a
// streaming call does. Some events are refused on purpose. Answers by sequence number.
func (h *harness) stream(id, keys int, seed uint64) (answers []answer) {
	rng := rand.New(rand.NewPCG(seed, uint64(id)+10))
	lane := h.p.Lane()
	type sent struct {
		m     *stages.Message
		w     *waiting
		first int
	}
	var window []sent
	receive := func() {
		s := window[0]
		window = window[1:]
		s.w.await(h.t)
		for i := range s.m.Results {
			r := &s.m.Results[i]
			a := &answers[s.first+i]
			a.outcome, a.partition, a.offset, a.dead = r.Outcome, r.Partition, r.Offset, r.DeadLettered
		}
		h.p.Release(s.m)
	}
	for range 40 {
		n, kind := 1, stages.Single
		if rng.IntN(2) == 0 {
			n, kind = 1+rng.IntN(20), stages.Batch
		}
		first := len(answers)
		var events []testEvent
		for i := range n {
			key := fmt.Sprintf("%d-%d", id, rng.IntN(keys))
			source := "s"
			if rng.IntN(10) == 0 {
				source = "" // refused by validate
			}
			events = append(events, testEvent{source: source, key: key, data: stamp(id, first+i)})
			answers = append(answers, answer{key: key, invalid: source == ""})
		}
		w := newWaiting()
		m, _ := h.submit(lane, w, kind, frameOf(events...), n)
		window = append(window, sent{m, w, first})
		if len(window) > 16 {
			receive()
		}
	}
	for len(window) > 0 {
		receive()
	}
	return answers
}

// compare: each stored event was sent and acknowledged at that position, in
// order by stream and key; each acknowledged one is stored.
func compare(logs map[*stages.Partition][]stored, answers [][]answer) error {
	type streamKey struct {
		stream int
		key    string
	}
	count := 0
	for part, log := range logs {
		last := map[streamKey]int{}
		for offset, e := range log {
			k := streamKey{e.stream, e.key}
			if before, ok := last[k]; ok && before >= e.seq {
				return fmt.Errorf("stream %d key %s: %d is stored after %d", e.stream, e.key, e.seq, before)
			}
			last[k] = e.seq
			a := answers[e.stream][e.seq]
			if a.outcome != stages.Acknowledged || a.key != e.key || a.partition != part.ID || a.offset != int64(offset) {
				return fmt.Errorf("stream %d event %d is stored at %d/%d with key %s; the answer was %+v", e.stream, e.seq, part.ID, offset, e.key, a)
			}
			count++
		}
	}
	acked, refused := 0, 0
	for _, stream := range answers {
		for seq, a := range stream {
			switch a.outcome {
			case stages.Acknowledged:
				acked++
			case stages.Refused:
				refused++
			default:
				return fmt.Errorf("event %d has the outcome %v", seq, a.outcome)
			}
		}
	}
	if acked != count || acked == 0 || refused == 0 {
		return fmt.Errorf("%d acknowledged, %d refused, %d stored", acked, refused, count)
	}
	return nil
}
