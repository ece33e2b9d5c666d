package stages

// Why the API is protobuf: the same event in both formats, in bytes and CPU.

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// jsonEvent is the event as a service would send it over HTTP: the JSON format of
// CloudEvents. Data is a JSON value, as that format wants for JSON payloads.
// data_base64 would be a third longer; with a JSON value, encoding/json has to read
// through the payload, which protobuf only copies. That is how it is with JSON.
type jsonEvent struct {
	SpecVersion     string            `json:"specversion"`
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Subject         string            `json:"subject,omitempty"`
	Time            time.Time         `json:"time"`
	DataContentType string            `json:"datacontenttype,omitempty"`
	DataSchema      string            `json:"dataschema,omitempty"`
	PartitionKey    string            `json:"partitionkey,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Data            json.RawMessage   `json:"data,omitempty"`
}

func jsonOf(ev *eventv1.Event) *jsonEvent {
	return &jsonEvent{SpecVersion: "1.0", ID: ev.Id, Source: ev.Source, Type: ev.Type, Subject: ev.Subject, Time: ev.Timestamp.AsTime(),
		DataContentType: ev.DataContentType, DataSchema: ev.DataSchema, PartitionKey: ev.PartitionKey, Metadata: ev.Metadata, Data: ev.Data}
}

// BenchmarkFormat marshals and unmarshals one event an operation.
func BenchmarkFormat(b *testing.B) {
	events := distinctEvents()
	structs := make([]*jsonEvent, benchInputs)
	binary, text := make([][]byte, benchInputs), make([][]byte, benchInputs)
	for i, ev := range events {
		var err error
		structs[i] = jsonOf(ev)
		if text[i], err = json.Marshal(structs[i]); err != nil {
			b.Fatal(err)
		}
		binary[i] = encode(b, ev)
		var back jsonEvent
		if err := json.Unmarshal(text[i], &back); err != nil || back.ID != ev.Id || !back.Time.Equal(ev.Timestamp.AsTime()) || !bytes.Equal(back.Data, ev.Data) {
			b.Fatalf("the JSON of event %d does not say the same: %v\n%s", i, err, text[i])
		}
	}
	b.Run("op=marshal/impl=protobuf", func(b *testing.B) {
		benchMarshal(b, binary, func(i int) ([]byte, error) { return proto.Marshal(events[i]) })
	})
	b.Run("op=marshal/impl=plain-encoding/json", func(b *testing.B) {
		benchMarshal(b, text, func(i int) ([]byte, error) { return json.Marshal(structs[i]) })
	})
	b.Run("op=unmarshal/impl=protobuf", func(b *testing.B) {
		benchUnmarshal(b, binary, func(i int) (data []byte, err error) {
			ev := &eventv1.Event{}
			err = proto.Unmarshal(binary[i], ev)
			return ev.Data, err
		})
	})
	b.Run("op=unmarshal/impl=plain-encoding/json", func(b *testing.B) {
		benchUnmarshal(b, text, func(i int) (data []byte, err error) {
			ev := &jsonEvent{}
			err = json.Unmarshal(text[i], ev)
			return ev.Data, err
		})
	})
}

func benchMarshal(b *testing.B, want [][]byte, marshal func(i int) ([]byte, error)) {
	size, wanted := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		out, err := marshal(i % benchInputs)
		if err != nil {
			b.Fatal(err)
		}
		size += len(out)
	}
	b.StopTimer()
	for i := range b.N {
		wanted += len(want[i%benchInputs])
	}
	if size != wanted {
		b.Fatalf("%d bytes, want %d", size, wanted)
	}
	b.ReportMetric(float64(size)/float64(b.N), "B/event")
}

func benchUnmarshal(b *testing.B, inputs [][]byte, unmarshal func(i int) (data []byte, err error)) {
	size, read := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		data, err := unmarshal(i % benchInputs)
		if err != nil {
			b.Fatal(err)
		}
		read += len(data)
		size += len(inputs[i%benchInputs])
	}
	b.StopTimer()
	if want := b.N * len(orderJSON(0)); read != want {
		b.Fatalf("%d bytes of data, want %d", read, want)
	}
	b.ReportMetric(float64(size)/float64(b.N), "B/event")
}
