package transport

import (
	"runtime"
	"testing"
)

// TestIdleStreamsCostLittle: a stream without messages is one goroutine and its accounts.
func TestIdleStreamsCostLittle(t *testing.T) {
	g := start(t, nil)
	g.good()
	measure := func() (int, int64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), int64(m.HeapInuse + m.StackInuse)
	}
	goroutines, memory := measure()
	const connections, streams = 8, 250
	for range connections {
		c := g.rawHTTP2()
		defer func() { _ = c.conn.Close() }()
		for i := range streams {
			c.open(uint32(2*i+1), batchStreamMethod)
		}
	}
	const n = connections * streams
	g.eventually("all streams open", func() bool { return g.server.streams.count() == n })
	goroutinesAfter, memoryAfter := measure()
	// Each connection has three of its own on the server and one in this test.
	if extra := goroutinesAfter - goroutines; extra > n+10*connections {
		t.Errorf("%d goroutines for %d streams", extra, n)
	}
	each := (memoryAfter - memory) / n
	t.Logf("%d bytes an idle stream", each)
	if each > 32<<10 {
		t.Errorf("an idle stream takes %d bytes", each)
	}
}
