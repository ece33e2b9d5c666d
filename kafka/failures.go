package kafka

// One log line for each class of Kafka error, however many records fail: in an
// outage tens of thousands do, a second. Promises only count (one goroutine runs
// them all, and the log may be a full pipe); a goroutine of its own writes.

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// failure is one record that failed, or one answer that may make it fail.
type failure struct {
	class     string
	topic     string
	partition int32
	outcome   stages.Outcome
	reason    stages.Reason
	err       error // text is made of it only when it is written
	// answer: a broker's answer, after which franz-go may send the batch again, and no record's end.
	answer bool
	// repeated is how many more of the class there were since its last line.
	repeated int
}

// failureClass is one class of them.
type failureClass struct {
	last  failure
	count int // since the last line
	said  time.Time
}

// failures counts the records that failed, by class. The zero value is not usable.
type failures struct {
	// kick tells the writer of the first failure of a class; capacity 1.
	kick chan struct{}

	mu      sync.Mutex // guards the following; never held while something is written
	classes map[string]*failureClass
}

func newFailures() *failures {
	return &failures{kick: make(chan struct{}, 1), classes: make(map[string]*failureClass)}
}

// note counts one. Called by promises and by readers of connections: it waits for nobody but a writer that copies a few lines.
func (f *failures) note(one failure) {
	f.mu.Lock()
	class := one.class
	if one.answer {
		class += " answered" // its own line: most of these never fail a record
	}
	c := f.classes[class]
	if c == nil { // at most two a Kafka error code, and the few of classOf
		c = &failureClass{}
		f.classes[class] = c
	}
	c.last = one
	c.count++
	first := c.count == 1
	f.mu.Unlock()
	if first {
		select {
		case f.kick <- struct{}{}:
		default: // the writer is about to look
		}
	}
}

// due takes what may be written at now, at most one line of a class in
// repeatEvery, and says how long the next one has to wait; 0: there is none.
func (f *failures) due(now time.Time, all bool) (lines []failure, wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.classes {
		if c.count == 0 {
			continue
		}
		if left := repeatEvery - now.Sub(c.said); left > 0 && !c.said.IsZero() && !all {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		c.last.repeated = c.count - 1
		lines = append(lines, c.last)
		c.count, c.said, c.last = 0, now, failure{}
	}
	return lines, wait
}

// write is the writer's goroutine.
func (f *failures) write(ctx context.Context, log Logger) {
	timer := time.NewTimer(repeatEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return // what comes after it, Close writes
		case <-f.kick:
		case <-timer.C:
		}
		lines, wait := f.due(time.Now(), false)
		say(log, lines)
		if wait > 0 {
			timer.Reset(wait)
		}
	}
}

// flush writes all that is left.
func (f *failures) flush(log Logger) {
	lines, _ := f.due(time.Now(), true)
	say(log, lines)
}

func say(log Logger, lines []failure) {
	for _, one := range lines {
		if one.answer {
			one.sayAnswer(log)
			continue
		}
		keyvals := []any{"class", one.class, "topic", one.topic, "partition", one.partition,
			"outcome", one.outcome.String(), "reason", one.reason.String(), "error", one.err.Error()}
		if one.repeated > 0 {
			keyvals = append(keyvals, "repeated", one.repeated)
		}
		log.Log(LevelWarn, "produce failed", keyvals...)
	}
}

// sayAnswer writes the line of a broker's answer. Kafka names topics by ids from version 13 of the request on.
func (one *failure) sayAnswer(log Logger) {
	keyvals := []any{"class", one.class, "partition", one.partition}
	if one.topic != "" {
		keyvals = append(keyvals, "topic", one.topic)
	}
	if one.repeated > 0 {
		keyvals = append(keyvals, "repeated", one.repeated)
	}
	log.Log(LevelWarn, "a broker answered a batch with an error", keyvals...)
}

// classOf names a promise's error: Kafka's own name, also when franz-go has
// wrapped it in a timeout, else one of a few.
func classOf(err error) string {
	if answer, ok := errors.AsType[*kerr.Error](err); ok {
		return answer.Message
	}
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, kgo.ErrRecordTimeout):
		return "RECORD_TIMEOUT"
	case errors.Is(err, kgo.ErrRecordRetries):
		return "RECORD_RETRIES"
	case errors.Is(err, kgo.ErrMaxBuffered):
		return "BUFFER_FULL"
	case errors.Is(err, kgo.ErrClientClosed), errors.Is(err, kgo.ErrAborting):
		return "CLIENT_CLOSED"
	case network, errors.Is(err, io.EOF):
		return "CONNECTION"
	}
	return "OTHER"
}
