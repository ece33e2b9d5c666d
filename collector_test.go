package main

import (
	"runtime"
	"runtime/metrics"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{
		0:            mostPercent,
		1 << 20:      mostPercent, // 3200
		8 << 20:      400,
		16 << 20:     200,
		heapRoom:     usualPercent,
		1000 << 20:   usualPercent,
		heapRoom / 3: 300,
	} {
		if got := percentFor(heapRoom, live, 0); got != want {
			t.Errorf("with %d bytes live: %d, want %d", live, got, want)
		}
	}
}

// What lies still makes no room: what may be allocated stays the same.
func TestPercentForMemoryThatLiesStill(t *testing.T) {
	for _, still := range []uint64{1 << 20, 64 << 20, 1 << 30} {
		for _, rest := range []uint64{8 << 20, 32 << 20, 200 << 20} {
			room := max(heapRoom, rest)
			got := uint64(percentFor(heapRoom, still+rest, still)) * (still + rest) / 100
			if one := (still + rest) / 100; got > room || got+one+1 < room {
				t.Errorf("with %d bytes still and %d others: room for %d, want %d", still, rest, got, room)
			}
		}
	}
	if got := percentFor(heapRoom, 1<<40, 1<<40); got != 1 {
		t.Errorf("with nothing but still memory: %d, want 1", got)
	}
}

func gcMetric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

func gogc() uint64 { return gcMetric("/gc/gogc:percent") }

// TestCollector: with a small heap GOGC rises after a collection, with a larger one it comes back, and so it does at
// the end.
func TestCollector(t *testing.T) {
	runtime.GC()
	room := 4 * gcMetric("/gc/heap/live:bytes")
	before := gogc()
	stop := startCollector(room, 0)
	await := func(what string, ok func(uint64) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(gogc()); runtime.GC() {
			if time.Now().After(deadline) {
				t.Fatalf("GOGC is %d, want %s", gogc(), what)
			}
		}
	}
	await("more than 100 with a small heap", func(percent uint64) bool { return percent > usualPercent })
	large := make([]byte, 2*room)
	await("100 with a large one", func(percent uint64) bool { return percent == usualPercent })
	runtime.KeepAlive(large)
	stop()
	if now := gogc(); now != before {
		t.Errorf("GOGC is %d at the end, %d before", now, before)
	}
}
