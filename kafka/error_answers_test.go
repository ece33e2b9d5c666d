package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// Not ready only when nothing but errors has come for a while, and they are not the records' own.
func TestErrorAnswersMakeUnready(t *testing.T) {
	now := int64(time.Hour)
	e := &errorAnswers{now: func() int64 { return now }, lines: newFailures()}
	late := []answerError{{partition: 1, code: kerr.NotEnoughReplicas.Code}}
	for i, step := range []struct {
		after   time.Duration
		errors  []answerError
		stored  bool
		unready string
	}{
		{after: 0, stored: true},
		{after: 1 * time.Second, errors: late},
		{after: 11 * time.Second, errors: late, unready: "for 11s"},
		{after: 1 * time.Second, errors: late, stored: true}, // another partition stores: the gateway is of use
		{after: 1 * time.Second, errors: late},
		{after: 3 * time.Second, errors: late},
		{after: 5 * time.Second, stored: true}, // little traffic beside a bad partition
		{after: 1 * time.Second, errors: late},
		{after: 12 * time.Second, errors: late, unready: "NOT_ENOUGH_REPLICAS"},
		{after: 31 * time.Second},        // nobody has sent anything: it may be well again
		{after: time.Hour, errors: late}, // and this is a new one
		{after: 11 * time.Second, errors: late, unready: "for 11s"},
		{after: 0, stored: true},
		{after: 1 * time.Second, errors: []answerError{{code: kerr.MessageTooLarge.Code}}},
		{after: 15 * time.Second, errors: []answerError{{code: kerr.MessageTooLarge.Code}}}, // the clients' matter
		{after: 1 * time.Second, errors: []answerError{{code: 30000}}},
		{after: 10 * time.Second, unready: "UNKNOWN_SERVER_ERROR"},
	} {
		now += int64(step.after)
		if step.errors != nil || step.stored {
			e.note(step.errors, step.stored)
		}
		got := e.unready()
		if step.unready == "" && got != "" || !strings.Contains(got, step.unready) {
			t.Errorf("step %d: %q, want %q in it", i, got, step.unready)
		}
	}
	var page strings.Builder
	e.write(&page)
	for _, line := range []string{`{error="NOT_ENOUGH_REPLICAS"} 9`, `{error="MESSAGE_TOO_LARGE"} 2`, `{error="UNKNOWN_SERVER_ERROR"} 1`} {
		if !strings.Contains(page.String(), "gateway_kafka_error_answers_total"+line+"\n") {
			t.Errorf("%s is not in\n%s", line, page.String())
		}
	}
}

// An operator reads why nothing is stored, while it is so, though franz-go only sends the batch again and again.
func TestErrorAnswersAreToldWhileTheyLast(t *testing.T) {
	r := newRig(t, nil).ready()
	r.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		return produceErrors(req.(*kmsg.ProduceRequest), kerr.NotEnoughReplicas.Code), nil, true
	})
	r.producer.errorAnswers.since.Store(r.producer.parts.Now() - int64(unreadyAfter)) // for as long already
	r.producer.errorAnswers.last.Store(r.producer.parts.Now())
	r.producer.Produce(r.partition(0), []*stages.Event{newEvent("late", r.partition(0))})
	eventually(t, "the log names the cause", func() bool {
		return strings.Contains(r.log.String(), "a broker answered a batch with an error") && strings.Contains(r.log.String(), "NOT_ENOUGH_REPLICAS")
	})
	eventually(t, "not ready", func() bool {
		err := r.producer.Ready()
		return err != nil && strings.Contains(err.Error(), "NOT_ENOUGH_REPLICAS")
	})
}

func produceErrors(req *kmsg.ProduceRequest, code int16) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			partition := kmsg.NewProduceResponseTopicPartition()
			partition.Partition, partition.ErrorCode, partition.BaseOffset = p.Partition, code, -1
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
