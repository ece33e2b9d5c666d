package transform

// What the tests share: a realistic event, and memory for what rules write.

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sampleData is the data of a usual event of a shop, 449 bytes: what the figures of the languages are about.
const sampleData = `{"order_id":"ord-20260918-004711","customer":{"id":"customer-42","email":"jane.doe@example.org","tier":"gold"},` +
	`"amount":129.95,"currency":"EUR","items":[{"sku":"A-1001","name":"Coffee grinder","quantity":1,"price":89.95},` +
	`{"sku":"B-2002","name":"Beans \"dark\", 1 kg","quantity":2,"price":20.00}],"shipping":{"method":"express",` +
	`"address":{"city":"Springfield","zip":"12345","country":"US"}},"created_at":"2026-09-18T10:31:07.123Z","test":false,"note":null}`

// newEvent is an event with that data, as decode and validate hand it on.
func newEvent(data string) *stages.Event {
	m := &stages.Message{Client: &stages.Client{Name: "192.0.2.7"}, Received: time.Unix(1_790_000_000, 0)}
	m.Arm(1)
	ev := &stages.Event{Msg: m, Size: len(data) + 200, Data: []byte(data)}
	ev.ID.Value = []byte("018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55")
	ev.Source.Value = []byte("/shop/checkout")
	ev.Type.Value = []byte("order.created")
	ev.Subject.Value = []byte("order/4711")
	ev.DataContentType.Value = []byte("application/json")
	ev.PartitionKey.Value = []byte("customer-42")
	ev.HasTime, ev.Seconds, ev.Nanos = true, 1_789_726_267, 123_000_000
	ev.Metadata = []stages.Pair{
		{Name: []byte("traceparent"), Value: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")},
		{Name: []byte("tenant"), Value: []byte("acme")},
	}
	ev.More = true
	return ev
}

// heap is a Memory; taken counts its bytes. A limit of 0 is none.
type heap struct{ taken, limit int }

func (h *heap) Begin() {}

func (h *heap) Take(_ *stages.Event, n int) []byte {
	if h.limit > 0 && h.taken+n > h.limit {
		return nil
	}
	h.taken += n
	return make([]byte, n)
}
