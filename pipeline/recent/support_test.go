package recent

// Events as decode makes them.

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/stages"
)

// sent is what a test says about an event.
type sent struct {
	id, source, kind, key string
	data                  []byte
}

func (e sent) encode() (b []byte) {
	text := func(n protowire.Number, s string) {
		if s != "" {
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
		}
	}
	text(1, e.id)
	text(2, e.source)
	text(3, e.kind)
	b = protowire.AppendBytes(protowire.AppendTag(b, 5, protowire.BytesType), e.data)
	text(12, e.key)
	return b
}

// fataler is a test, rapid's included.
type fataler interface {
	Fatalf(format string, args ...any)
}

// decode sends a batch through a decoder.
func decode(tb fataler, batch ...sent) (events []*stages.Event) {
	var frame []byte
	for _, e := range batch {
		frame = protowire.AppendBytes(protowire.AppendTag(frame, 1, protowire.BytesType), e.encode())
	}
	m := stages.NewMessage(len(batch))
	m.Frame, m.Kind, m.Received = frame, stages.Batch, time.Unix(1_700_000_000, 123_000_000)
	m.Arm(len(batch))
	d := stages.NewDecoder(stages.Config{MaxEventBytes: 1 << 30}, stages.DeadLetters{}, 0)
	d.Start(m)
	for d.Active() {
		ev := &stages.Event{}
		if d.Next(ev); !ev.Live() {
			tb.Fatalf("the test's event was refused: %v", ev.Verdict)
		}
		events = append(events, ev)
	}
	return events
}
