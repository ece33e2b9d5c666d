package transport

// What an answer costs, beside building the generated message and marshalling it.

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// benchAnswers is how many distinct messages are answered in turn.
const benchAnswers = 64

// answeredMessages are messages of n events each that Kafka has all of, in the state that the retirer leaves them in.
func answeredMessages(n int, kind stages.Kind, wantResults bool) []*stages.Message {
	topic := stages.NewTopic("events", 0)
	messages := make([]*stages.Message, benchAnswers)
	for k := range messages {
		m := &stages.Message{Kind: kind, WantResults: wantResults}
		m.Arm(n)
		for i := range n {
			id := fmt.Sprintf("018f2d1e-7c3a-7b61-9a3e-%06d%06d", k, i)
			m.SetClientID(i, len(m.Frame), len(id))
			m.Frame = append(m.Frame, id...)
			var g stages.Group
			g.Add(i)
			m.Hand(g)
			m.WinAcknowledged(g)
			if !m.Quiet() {
				r := m.Write(i)
				r.Outcome, r.Stage, r.Topic, r.Partition, r.Offset = stages.Acknowledged, stages.AtProduce, topic, 2, int64(123456789+i)
			}
		}
		messages[k] = m
	}
	return messages
}

// BenchmarkAnswer encodes the answer of one event, of a batch of 100 of which the
// client wants to know only what failed (nothing did), and of one with a result an
// event. An operation is one event.
func BenchmarkAnswer(b *testing.B) {
	single := answeredMessages(1, stages.Single, false)
	b.Run("events=1/impl=gateway", func(b *testing.B) { benchEncode(b, single, encodeSingle, plainSingle) })
	b.Run("events=1/impl=plain-proto.Marshal", func(b *testing.B) { benchEncode(b, single, plainSingle, plainSingle) })
	for _, results := range []string{"failed", "all"} {
		batch := answeredMessages(100, stages.Batch, results == "all")
		b.Run("events=100/results="+results+"/impl=gateway", func(b *testing.B) { benchEncode(b, batch, encodeBatch, plainBatch) })
		b.Run("events=100/results="+results+"/impl=plain-proto.Marshal", func(b *testing.B) { benchEncode(b, batch, plainBatch, plainBatch) })
	}
}

func benchEncode(b *testing.B, messages []*stages.Message, encode, want func(*stages.Message) *[]byte) {
	events, size, wanted := messages[0].Events(), 0, 0
	for _, m := range messages {
		if got, want := *encode(m), *want(m); !bytes.Equal(got, want) {
			b.Fatalf("%x, want %x", got, want)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	answers := 0
	for n := 0; n < b.N; n += events {
		answer := encode(messages[answers%benchAnswers])
		size += len(*answer)
		buffers.Put(answer)
		answers++
	}
	b.StopTimer()
	for i := range answers {
		wanted += len(*want(messages[i%benchAnswers]))
	}
	if size != wanted {
		b.Fatalf("%d bytes of answers, want %d", size, wanted)
	}
}

func plainSingle(m *stages.Message) *[]byte {
	b, err := proto.Marshal(wantResult(m, 0))
	if err != nil {
		panic(err)
	}
	return &b
}

// plainBatch builds only what the answer has: no result that nobody asked for.
func plainBatch(m *stages.Message) *[]byte {
	response := &gatewayv1.IngestEventBatchResponse{}
	for i := range m.Events() {
		if m.Outcome(i) == stages.Acknowledged {
			response.Succeeded++
		} else {
			response.Failures = append(response.Failures, &gatewayv1.IngestEventBatchResponse_Failure{Index: int32(i), Result: wantResult(m, i)})
		}
		if m.WantResults {
			response.Results = append(response.Results, wantResult(m, i))
		}
	}
	b, err := proto.Marshal(response)
	if err != nil {
		panic(err)
	}
	return &b
}
