package schema

import (
	"bytes"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// Empty messages are small on the wire and large in memory: there is a bound before they are built.
func TestManyMessagesAreRefusedBeforeTheyAreBuilt(t *testing.T) {
	c, err := compileProtobuf(&bundle{root: Text{Type: Protobuf, Definition: `syntax="proto3"; message M { repeated M m = 1; string s = 2; }`}}, false)
	if err != nil {
		t.Fatal(err)
	}
	check := func(data []byte) *stages.Detail { return c.schema.Check(&stages.Event{Data: data}) }
	if d := check(bytes.Repeat([]byte("\x0a\x00"), maxValues)); d != nil {
		t.Errorf("as many as are allowed: %+v", d)
	}
	nested := append([]byte("\x0a\xc2\x9a\x0c"), bytes.Repeat([]byte("\x0a\x00"), 100_001)...)
	for _, data := range [][]byte{bytes.Repeat([]byte("\x0a\x00"), maxValues+1), nested} {
		if d := check(data); d == nil || !strings.Contains(d.Message, "more than 100000 values") {
			t.Errorf("%+v", d)
		}
	}
}
