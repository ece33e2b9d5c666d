package transport

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// drawMessage makes an answered message of n events with every combination of what an answer can have.
func drawMessage(t *rapid.T, n int) *stages.Message {
	topic := stages.NewTopic("events", 0)
	m := &stages.Message{Kind: stages.Batch, WantResults: rapid.Bool().Draw(t, "want results")}
	m.Arm(n)
	for i := range n {
		r := &m.Results[i]
		switch rapid.IntRange(0, 2).Draw(t, "id") {
		case 0:
			m.SetAssignedID(i, uuid.Must(uuid.NewV7()))
		case 1:
			id := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "client id")
			m.SetClientID(i, len(m.Frame), len(id))
			m.Frame = append(m.Frame, id...)
		}
		outcome := stages.Outcome(rapid.IntRange(1, int(stages.Outcomes)-1).Draw(t, "outcome"))
		v := stages.Verdict{Outcome: outcome}
		if !succeeded(outcome) {
			v.Reason = stages.Reason(rapid.IntRange(1, int(stages.Reasons)-1).Draw(t, "reason"))
			v.Stage = stages.StageID(rapid.IntRange(0, int(stages.StageIDs)-1).Draw(t, "stage"))
			v.RetryAfter = time.Duration(rapid.SampledFrom([]int{0, 1, 999, 1000, 1500, 90_000}).Draw(t, "retry")) * time.Millisecond
			if rapid.Bool().Draw(t, "detail") {
				v.Detail = &stages.Detail{
					Field: rapid.SampledFrom([]string{"", "source", "metadata[\xff]"}).Draw(t, "field"), Message: rapid.String().Draw(t, "message"),
				}
				for range rapid.IntRange(0, 3).Draw(t, "violations") {
					v.Detail.Violations = append(v.Detail.Violations, stages.Violation{Field: "data/a\xff", Message: rapid.String().Draw(t, "violation")})
				}
			}
		}
		m.SetVerdict(i, v)
		r.DeadLettered = outcome == stages.Refused && rapid.Bool().Draw(t, "dead-lettered")
		if rapid.Bool().Draw(t, "topic known") || positioned(outcome) {
			r.Topic = topic
		}
		r.Partition = rapid.Int32Range(0, 1<<20).Draw(t, "partition")
		r.Offset = rapid.Int64Range(-1, 1<<62).Draw(t, "offset")
	}
	return m
}

// wantResult is the answer of event i as the generated type, made the plain way.
func wantResult(m *stages.Message, i int) *gatewayv1.IngestEventResponse {
	r := &m.Results[i]
	want := &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome(r.Outcome), DeadLettered: r.DeadLettered}
	if id, assigned := m.EventID(i); assigned {
		want.EventId = uuid.UUID(r.ID).String()
	} else if utf8.Valid(id) {
		want.EventId = string(id)
	}
	if r.Topic != nil {
		want.Topic = r.Topic.Name
	}
	switch r.Outcome {
	case stages.Acknowledged, stages.Duplicate:
		want.Success, want.Partition, want.Offset = true, r.Partition, r.Offset
	case stages.Filtered:
		want.Success = true
	default:
		want.Code, want.Reason, want.Stage = int32(r.Reason.Code()), r.Reason.String(), r.Stage.String()
		want.ErrorMessage = r.Reason.Text()
		if r.Detail != nil && r.Detail.Message != "" {
			want.ErrorMessage = validText(r.Detail.Message)
			if r.Detail.Field != "" {
				want.ErrorMessage = validText(r.Detail.Field) + ": " + want.ErrorMessage
			}
		}
		for i := 1; r.Detail != nil && i < len(shownViolations(r.Detail.Violations)); i++ {
			v := r.Detail.Violations[i]
			want.ErrorMessage += "; " + validText(v.Field) + ": " + validText(v.Message)
		}
		if r.RetryAfterMillis > 0 {
			want.RetryDelay = durationpb.New(time.Duration(r.RetryAfterMillis) * time.Millisecond)
		}
	}
	return want
}

func wantBatch(m *stages.Message) *gatewayv1.IngestEventBatchResponse {
	want := &gatewayv1.IngestEventBatchResponse{}
	for i := range m.Results {
		r := wantResult(m, i)
		if r.Success {
			want.Succeeded++
		} else {
			want.Failures = append(want.Failures, &gatewayv1.IngestEventBatchResponse_Failure{Index: int32(i), Result: r})
		}
		if _, assigned := m.EventID(i); assigned {
			want.AssignedIds = append(want.AssignedIds, &gatewayv1.IngestEventBatchResponse_AssignedId{Index: int32(i), EventId: r.EventId})
		}
		switch r.Outcome {
		case gatewayv1.Outcome_OUTCOME_FILTERED:
			want.Filtered = append(want.Filtered, int32(i))
		case gatewayv1.Outcome_OUTCOME_DUPLICATE:
			want.Duplicates = append(want.Duplicates, int32(i))
		}
		if m.WantResults {
			want.Results = append(want.Results, r)
		}
	}
	return want
}

// TestAnswersAreTheGeneratedMessages: the hand-written encoding is byte for byte what the generated code writes
// in its deterministic order, and its length is what was announced.
func TestAnswersAreTheGeneratedMessages(t *testing.T) {
	plain := proto.MarshalOptions{Deterministic: true}
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t, rapid.IntRange(1, 300).Draw(t, "events"))
		for i := range min(len(m.Results), 3) {
			want, err := plain.Marshal(wantResult(m, i))
			if err != nil {
				t.Fatal(err)
			}
			got := appendResult(nil, m, i)
			if !bytes.Equal(got, want) || sizeResult(m, i) != len(got) {
				t.Fatalf("event %d: %x (announced %d), want %x: %v", i, got, sizeResult(m, i), want, wantResult(m, i))
			}
		}
		b := encodeBatch(m)
		got := &gatewayv1.IngestEventBatchResponse{}
		if err := proto.Unmarshal(*b, got); err != nil {
			t.Fatal(err)
		}
		if want := wantBatch(m); !proto.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if announced := tallyBatch(m).size; announced != len(*b) {
			t.Fatalf("announced %d bytes, wrote %d", announced, len(*b))
		}
	})
}

func TestLongClientIDIsNotEchoed(t *testing.T) {
	m := &stages.Message{Frame: make([]byte, 1<<20)}
	m.Arm(1)
	m.SetClientID(0, 0, 1<<20)
	m.SetVerdict(0, stages.Verdict{Outcome: stages.Refused, Reason: stages.InvalidEvent})
	if b := encodeSingle(m); len(*b) > 2*maxEcho {
		t.Errorf("the answer has %d bytes", len(*b))
	}
	if st := resultStatus(m, 0); len(st.Proto().String()) > 4*maxEcho {
		t.Error("the status echoes the id")
	}
}

func acknowledged(n int) *stages.Message {
	m := &stages.Message{Kind: stages.Batch, Frame: []byte("an-id-of-the-client")}
	m.Arm(n)
	topic := stages.NewTopic("events", 0)
	for i := range n {
		m.SetClientID(i, 0, len(m.Frame))
		m.SetVerdict(i, stages.Verdict{Outcome: stages.Acknowledged})
		m.Results[i].Topic, m.Results[i].Partition, m.Results[i].Offset = topic, 2, 123456789
	}
	return m
}

func TestAcknowledgedAnswersAllocateNothing(t *testing.T) {
	m, batch := acknowledged(1), acknowledged(100)
	if n := testing.AllocsPerRun(1000, func() { buffers.Put(encodeSingle(m)) }); n > 0.1 {
		t.Errorf("%v allocations a single answer", n)
	}
	if n := testing.AllocsPerRun(1000, func() { buffers.Put(encodeBatch(batch)) }); n > 0.1 {
		t.Errorf("%v allocations a batch answer", n)
	}
}

// A status fits the 8 KiB of headers that clients take, whatever was wrong.
func TestViolationsFitAHeader(t *testing.T) {
	m := acknowledged(1)
	d := &stages.Detail{Field: "data/a", Message: strings.Repeat("m", 400)}
	for range stages.MaxViolations {
		d.Violations = append(d.Violations, stages.Violation{Field: "data/" + strings.Repeat("f", 300), Message: strings.Repeat("m", 400)})
	}
	m.SetVerdict(0, stages.Verdict{Outcome: stages.Refused, Reason: stages.SchemaViolation, Detail: d})
	if n := proto.Size(resultStatus(m, 0).Proto()) * 4 / 3; n > 6<<10 {
		t.Errorf("the status takes %d bytes of headers", n)
	}
	if n := len(shownViolations(d.Violations)); n != 2 {
		t.Errorf("%d violations are shown", n)
	}
}
