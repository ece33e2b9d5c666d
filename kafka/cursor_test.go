package kafka

import (
	"errors"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

var testIdentity = identityOf("events", [16]byte{1, 2, 3})

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := positions(rapid.SliceOfN(rapid.Int64Range(0, 1<<62), 0, 200).Draw(t, "positions"))
		text := cursorOf(&testIdentity, ps)
		got, err := readCursor(text, &testIdentity)
		if err != nil || !slices.Equal(got, ps) {
			t.Fatalf("%v became %v (%v) by way of %s", ps, got, err, text)
		}
		if n := len(text); n > cursorRoom(len(ps))+len(ps)*6 {
			t.Fatalf("cursor of %d partitions has %d bytes", len(ps), n)
		}
	})
}

func TestCursorsThatAreRefused(t *testing.T) {
	good := cursorOf(&testIdentity, positions{5, 0, 1 << 40})
	other := identityOf("events", [16]byte{9})
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"cut":             {good[:len(good)-1], errCursorForm},
		"longer":          {good + "A", errCursorForm},
		"no base64":       {"*" + good[1:], errCursorForm},
		"padded":          {good + "=", errCursorForm},
		"a word":          {"latest", errCursorForm},
		"version":         {"Ag" + good[2:], errCursorVersion},
		"another topic":   {cursorOf(&other, positions{5}), errCursorTopic},
		"endless":         {string(make([]byte, maxCursor+1)), errCursorForm},
		"many partitions": {cursorOf(&testIdentity, make(positions, maxPartitions+1)), errCursorForm},
	} {
		if _, err := readCursor(c.text, &testIdentity); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range good { // a letter typed wrong
		wrong := []byte(good)
		if wrong[i]++; wrong[i] == '{' || wrong[i] == ':' || wrong[i] == '[' {
			wrong[i] = 'A'
		}
		if ps, err := readCursor(string(wrong), &testIdentity); err == nil {
			t.Errorf("letter %d changed: taken as %v", i, ps)
		}
	}
}

// FuzzCursor: nothing panics, and what is taken is written the same again.
func FuzzCursor(f *testing.F) {
	for _, ps := range []positions{{}, {0}, {5, 0, 1 << 40}, make(positions, 40)} {
		f.Add(cursorOf(&testIdentity, ps))
	}
	f.Add("latest")
	f.Fuzz(func(t *testing.T, text string) {
		ps, err := readCursor(text, &testIdentity)
		if err == nil && cursorOf(&testIdentity, ps) != text {
			t.Errorf("%q was taken as %v, whose cursor is %q", text, ps, cursorOf(&testIdentity, ps))
		}
	})
}

// FuzzCursorOffsets is for what a checksum cannot keep away: it is easily computed.
func FuzzCursorOffsets(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte{3, 5, 0, 0x80, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		ps, err := readOffsets(raw)
		if err != nil {
			return
		}
		again, err := readCursor(cursorOf(&testIdentity, ps), &testIdentity)
		if err != nil || !slices.Equal(again, ps) {
			t.Errorf("%x was read as %v, which is read as %v: %v", raw, ps, again, err)
		}
	})
}

// A cursor goes behind the encoded event, however long it is.
func TestFramesWithCursors(t *testing.T) {
	for _, partitions := range []int{0, 1, 3, 11, 12, 13, 14, 15, 16, 100, 3000} {
		ps := make(positions, partitions)
		for p := range ps {
			ps[p] = int64(p) * 1000
		}
		ev := &eventv1.Event{Id: "1", Source: "/s", Type: "t", Data: []byte("data"), PartitionKey: "k"}
		d := &delivery{Delivery: stages.Delivery{Event: proto.CloneOf(ev)}}
		if err := d.encode(cursorRoom(partitions)); err != nil {
			t.Fatal(err)
		}
		d.setCursor(&testIdentity, positions{1})
		d.setCursor(&testIdentity, ps)
		moved := ps.joined(positions{77})
		for _, c := range []struct {
			frame []byte
			ps    positions
		}{{d.Frame, ps}, {d.withCursor(&testIdentity, moved).Frame, moved}} {
			got := &eventv1.Event{}
			if err := proto.Unmarshal(c.frame, got); err != nil {
				t.Fatalf("%d partitions: %v", partitions, err)
			}
			want := proto.CloneOf(ev)
			want.Cursor = cursorOf(&testIdentity, c.ps)
			if !proto.Equal(got, want) {
				t.Errorf("%d partitions: %v, want %v", partitions, got, want)
			}
		}
	}
}
