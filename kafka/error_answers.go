package kafka

// What brokers answer produce requests with besides "stored". franz-go sends
// such batches again and says nothing until their time is over, so that an
// operator would read RECORD_TIMEOUT and never NOT_ENOUGH_REPLICAS. Counted, logged
// a line a code, and /ready says it when nothing else is answered any more.

import (
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// unreadyAfter is how long nothing but errors must have been answered. Leaders move within a second or two; and
	// franz-go sends a batch again every 2.5 s at the latest, so that one bad partition's answers come in between
	// those of others with little traffic.
	unreadyAfter = 10 * time.Second
	// forgottenAfter is when an error without a later answer counts no more. A balancer that sends nothing to a
	// gateway which is not ready would else never find out that Kafka is well again.
	forgottenAfter = 30 * time.Second
)

// answerError is one partition's answer with an error.
type answerError struct {
	topic     string // "" in answers that have topic ids
	partition int32
	code      int16
}

// errorAnswers is what is known of them. Any goroutine.
type errorAnswers struct {
	now   func() int64
	lines *failures
	// counts are the answers by error code, -1 first.
	counts [math.MaxUint8 + 1]atomic.Uint64
	// since is when they began with nothing else in between, in nanoseconds of now, 0 = the last answer stored
	// something; last is when the last one came, and code its error.
	since, last atomic.Int64
	code        atomic.Int32
}

// note takes an answer: its partitions with an error, and whether any other stored its records. What is wrong with
// the records themselves is their clients' matter.
func (e *errorAnswers) note(errors []answerError, stored bool) {
	if stored && e.since.Load() != 0 { // nearly never written: the word stays in every cache
		e.since.Store(0)
	}
	for _, a := range errors {
		if classes[a.code] == unclassified { // a code of a newer Kafka
			a.code = kerr.UnknownServerError.Code
		}
		e.counts[a.code+1].Add(1)
		if classes[a.code] == rejected {
			continue
		}
		now := e.now()
		if now-e.last.Load() > int64(forgottenAfter) {
			e.since.Store(0)
		}
		e.code.Store(int32(a.code))
		e.last.Store(now)
		if !stored {
			e.since.CompareAndSwap(0, now)
		}
		e.lines.note(failure{class: kerr.TypedErrorForCode(a.code).Message, topic: a.topic, partition: a.partition, answer: true})
	}
}

// unready is what /ready has to say; "" when brokers store something.
func (e *errorAnswers) unready() string {
	now, since, last := e.now(), e.since.Load(), e.last.Load()
	if since == 0 || now-since < int64(unreadyAfter) || now-last > int64(forgottenAfter) {
		return ""
	}
	err := kerr.TypedErrorForCode(int16(e.code.Load()))
	return fmt.Sprintf("for %s brokers have answered every produce request with an error, at last with %s (%s)",
		time.Duration(now-since).Round(time.Second), err.Message, err.Description)
}

func (e *errorAnswers) write(w io.Writer) {
	for i := range e.counts {
		if n := e.counts[i].Load(); n > 0 {
			name := kerr.TypedErrorForCode(int16(i - 1)).Message
			vm.WriteCounterUint64(w, fmt.Sprintf("gateway_kafka_error_answers_total{error=%q}", name), n)
		}
	}
}
