package stages

import (
	"testing"
	"unsafe"
)

// The stages in the middle of the graph are to touch one cache line of an event, a report that is no AcknowledgedRun
// two, the end of the graph three and the attributes; a field in the wrong place costs no test, only time.
func TestEventLayout(t *testing.T) {
	const line = 64
	var e Event
	for _, f := range []struct {
		name string
		at   uintptr
		want uintptr
	}{
		{"the last word of the first line, Partition", unsafe.Offsetof(e.Partition) / line, 0},
		{"the first of the second, Size", unsafe.Offsetof(e.Size) / line, 1},
		{"the last of the second, Ack", (unsafe.Offsetof(e.Ack) + unsafe.Sizeof(e.Ack) - 1) / line, 1},
		{"the first of the third, Sink", unsafe.Offsetof(e.Sink) / line, 2},
		{"the attributes", unsafe.Offsetof(e.Attributes), 3 * line},
		{"an event, so that each begins with a line", unsafe.Sizeof(e) % line, 0},
	} {
		if f.at != f.want {
			t.Errorf("%s: %d, want %d (an event takes %d bytes)", f.name, f.at, f.want, unsafe.Sizeof(e))
		}
	}
}
