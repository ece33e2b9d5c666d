package cli

// gateway dlq: the dead letters, read from Kafka. What the three commands share:
// where the letters are, and which ones are meant.

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/event-gateway/event-gateway/kafka"
)

type dlqCommand struct {
	List    dlqListCommand    `cmd:"" help:"List dead letters: a table on a terminal, JSON lines in a pipe."`
	Show    dlqShowCommand    `cmd:"" help:"Show everything about one dead letter, or write the bytes that were sent."`
	Redrive dlqRedriveCommand `cmd:"" help:"Send dead letters to the gateway again."`
}

func (dlqCommand) Help() string {
	return `Dead letters are events that the gateway has refused and kept, as they were sent, in the topic KAFKA_DLQ_TOPIC. These commands read that topic in Kafka itself; KAFKA_BROKERS and KAFKA_DLQ_TOPIC say where it is, as they do for the gateway. A gateway with its embedded broker must run with EMBEDDED_KAFKA_PORT.

Examples:
  gateway dlq list
  gateway dlq show 0/12
  gateway dlq redrive --dry-run`
}

// letterPlace says where the letters are.
type letterPlace struct {
	Brokers []string `group:"kafka" placeholder:"HOST:PORT" help:"Kafka brokers (default: KAFKA_BROKERS, or the embedded broker at EMBEDDED_KAFKA_PORT)."`
	Topic   string   `group:"kafka" placeholder:"TOPIC" help:"The topic of the dead letters (default: KAFKA_DLQ_TOPIC)."`
}

// minTimeout is the least that the Kafka client takes.
const minTimeout = 100 * time.Millisecond

// open finds the topic. timeout bounds the wait for each of Kafka's answers.
func (c *letterPlace) open(ctx context.Context, p *Program, timeout time.Duration) (*kafka.Letters, error) {
	source := p.DeadLetters()
	if len(c.Brokers) > 0 {
		source.Brokers = c.Brokers
	}
	if c.Topic != "" {
		source.Topic = c.Topic
	}
	source.Timeout = timeout
	switch {
	case source.Topic == "":
		return nil, failed("KAFKA_DLQ_TOPIC is not set, and without it the gateway keeps no dead letters; set it as it is set for the gateway, or name the topic with --topic")
	case len(source.Brokers) == 0:
		return nil, failed("the embedded broker cannot be reached from outside its gateway (EMBEDDED_KAFKA_PORT=0): start the gateway with a port, for example EMBEDDED_KAFKA_PORT=9092, and set it here, too; or name the brokers with --brokers")
	}
	letters, err := kafka.OpenLetters(ctx, source)
	if err != nil {
		return nil, failed("%v", err)
	}
	return letters, nil
}

// letterFilter says which letters are meant: those that fit everything that is given.
type letterFilter struct {
	Reason    []string  `group:"letters" placeholder:"REASON" help:"Only letters refused for one of these reasons, for example SCHEMA_VIOLATION."`
	Stage     []string  `group:"letters" placeholder:"STAGE" help:"Only letters refused by one of these stages: decode, validate, transform."`
	Rule      []string  `group:"letters" placeholder:"RULE" help:"Only letters refused by one of these rules, for example TRANSFORM_0."`
	Type      []string  `group:"letters" placeholder:"TYPE" help:"Only events of one of these types; order.* means all that begin with order."`
	Client    []string  `group:"letters" placeholder:"CLIENT" help:"Only letters from one of these clients."`
	Since     sinceFlag `group:"letters" placeholder:"TIME" help:"Only letters refused since then: a duration (2h) or a time (2026-01-02T15:04:05Z)."`
	Partition []int32   `group:"letters" placeholder:"N" help:"Only these partitions of the topic."`
}

// sinceFlag is a time, written as such or as a duration back from now.
type sinceFlag struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *sinceFlag) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		s.Time = time.Now().Add(-ago)
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a duration such as 90m nor a time such as 2026-01-02T15:04:05Z", text)
	}
	s.Time = t
	return nil
}

// byContent reports whether letters are chosen by what they are, and not only by where and when.
func (f *letterFilter) byContent() bool {
	return len(f.Reason)+len(f.Stage)+len(f.Rule)+len(f.Type)+len(f.Client) > 0
}

func (f *letterFilter) empty() bool {
	return !f.byContent() && f.Since.IsZero() && len(f.Partition) == 0
}

// spans are where matching letters can be.
func (f *letterFilter) spans(ctx context.Context, letters *kafka.Letters) ([]kafka.Span, error) {
	spans := letters.Spans()
	if !f.Since.IsZero() {
		var err error
		if spans, err = letters.Since(ctx, f.Since.Time); err != nil {
			return nil, failed("%v", err)
		}
	}
	if len(f.Partition) == 0 {
		return spans, nil
	}
	for _, partition := range f.Partition {
		if !slices.ContainsFunc(spans, func(s kafka.Span) bool { return s.Partition == partition }) {
			return nil, failed("--partition=%d: the topic has the partitions 0 to %d", partition, len(spans)-1)
		}
	}
	return slices.DeleteFunc(slices.Clone(spans), func(s kafka.Span) bool { return !slices.Contains(f.Partition, s.Partition) }), nil
}

// matches reports whether a record of the topic is meant; foreign says that it is no dead letter.
func (f *letterFilter) matches(l *kafka.Letter, foreign bool) bool {
	if l.Time.Before(f.Since.Time) {
		return false
	}
	if foreign {
		return !f.byContent()
	}
	// Reasons and stages are the gateway's own words, which may be typed in any case.
	return allows(f.Reason, l.Reason, strings.EqualFold) && allows(f.Stage, l.Stage, strings.EqualFold) &&
		allows(f.Rule, l.Rule, same) && allows(f.Client, l.Client, same) && allows(f.Type, l.Event.GetType(), isType)
}

// allows reports whether value fits one of the list; everything fits an empty one.
func allows(list []string, value string, fits func(given, value string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(given string) bool { return fits(given, value) })
}

func same(given, value string) bool { return given == value }

// isType holds a type against an exact one, or a prefix with a trailing *.
func isType(pattern, eventType string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(eventType, prefix)
	}
	return pattern == eventType
}

// letterAt names one record of the topic: PARTITION/OFFSET.
type letterAt struct {
	partition int32
	offset    int64
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *letterAt) UnmarshalText(text []byte) error {
	partition, offset, ok := strings.Cut(string(text), "/")
	p, err := strconv.ParseInt(partition, 10, 32)
	o, offsetErr := strconv.ParseInt(offset, 10, 64)
	if !ok || err != nil || offsetErr != nil || p < 0 || o < 0 {
		return fmt.Errorf("%q is not PARTITION/OFFSET, for example 0/12, as gateway dlq list shows it", text)
	}
	a.partition, a.offset = int32(p), o
	return nil
}

func (a letterAt) String() string { return fmt.Sprintf("%d/%d", a.partition, a.offset) }

// checkAt reports whether the topic can have the record, and says why not.
func checkAt(letters *kafka.Letters, at letterAt) error {
	spans := letters.Spans()
	i := slices.IndexFunc(spans, func(s kafka.Span) bool { return s.Partition == at.partition })
	switch {
	case i < 0:
		return failed("%v: the topic has the partitions 0 to %d", at, len(spans)-1)
	case spans[i].Start == spans[i].End:
		return failed("%v: the partition is empty", at)
	case at.offset < spans[i].Start || at.offset >= spans[i].End:
		return failed("%v: the partition has the offsets %d to %d", at, spans[i].Start, spans[i].End-1)
	}
	return nil
}

// readAt reads one record.
func readAt(ctx context.Context, letters *kafka.Letters, at letterAt, each func(kafka.Letter, error) error) error {
	found := false
	err := letters.Read(ctx, []kafka.Span{{Partition: at.partition, Start: at.offset, End: at.offset + 1}}, func(l kafka.Letter, err error) error {
		found = true
		return each(l, err)
	})
	if err == nil && !found {
		return failed("%v: there is no record at this offset", at)
	}
	return err
}
