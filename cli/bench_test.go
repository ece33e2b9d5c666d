package cli

// What it costs a client to make an event: what bounds a load generator.

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// BenchmarkEventCreation makes requests of one event of about 450 bytes, every one
// with its own id, key and data: from the template of gateway publish, and by
// filling in the generated struct and marshalling it, into new memory or into
// memory that is used again.
func BenchmarkEventCreation(b *testing.B) {
	const size, keys = 340, 1000
	fields := eventFields{eventType: "order.created", source: "/shop/checkout", subject: "order/4711", contentType: "text/plain", run: "0a1b2c3d"}
	t := newTemplate(fields, keys, size)
	plain := func(n int64) *gatewayv1.IngestEventRequest {
		at := int(n * 131 % letterPool)
		return &gatewayv1.IngestEventRequest{Event: &eventv1.Event{
			Id: fmt.Sprintf("%s-%012d", fields.run, n), Source: fields.source, Type: fields.eventType, Subject: fields.subject,
			Data: t.letters[at : at+size], DataContentType: fields.contentType, PartitionKey: fmt.Sprintf("key-%08d", n%keys),
		}}
	}
	for _, n := range []int64{0, 1, 999, 1000, 123_456_789} {
		var got gatewayv1.IngestEventRequest
		if err := proto.Unmarshal(t.append(nil, n), &got); err != nil || !proto.Equal(&got, plain(n)) {
			b.Fatalf("event %d: %v\n%v", n, err, &got)
		}
	}
	each := proto.Size(plain(0))
	run := func(impl string, create func(dst []byte, n int64) (out []byte, size int)) {
		b.Run("impl="+impl, func(b *testing.B) {
			const kept = 64 << 10 // about a batch of 100, as it would be sent
			total, dst := 0, make([]byte, 0, kept+each)
			b.SetBytes(int64(each))
			b.ReportAllocs()
			b.ResetTimer()
			for n := range int64(b.N) {
				if len(dst) > kept {
					dst = dst[:0]
				}
				made := 0
				dst, made = create(dst, n)
				total += made
			}
			b.StopTimer()
			if total != b.N*each || !strings.Contains(string(dst), fmt.Sprintf("%012d", b.N-1)) {
				b.Fatalf("%d bytes, want %d", total, b.N*each)
			}
		})
	}
	run("gateway", func(dst []byte, n int64) ([]byte, int) {
		out := t.append(dst, n)
		return out, len(out) - len(dst)
	})
	run("plain-proto.Marshal", func(_ []byte, n int64) ([]byte, int) {
		event, err := proto.Marshal(plain(n))
		if err != nil {
			b.Fatal(err)
		}
		return event, len(event)
	})
	run("plain-proto.MarshalAppend", func(dst []byte, n int64) ([]byte, int) {
		out, err := proto.MarshalOptions{}.MarshalAppend(dst, plain(n))
		if err != nil {
			b.Fatal(err)
		}
		return out, len(out) - len(dst)
	})
}
