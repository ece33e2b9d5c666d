package kafka

// What operators set of the Kafka side: where the cluster is, how records are
// written, and the embedded broker that stands in when there is no cluster.

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Config is the Kafka part of the environment.
type Config struct {
	Brokers           []string      `env:"KAFKA_BROKERS" doc:"host:port of Kafka brokers, comma-separated; empty = the embedded broker"`
	Topic             string        `env:"KAFKA_TOPIC" envDefault:"events" doc:"topic that events are written to"`
	TopicsAllowed     []string      `env:"KAFKA_TOPICS_ALLOWED" doc:"topics beside KAFKA_TOPIC that rules may send events to, comma-separated; they are created like it when missing"`
	DLQTopic          string        `env:"KAFKA_DLQ_TOPIC" doc:"topic for dead letters: refused events that no resend can help, as they were sent; empty = none are kept"`
	GroupID           string        `env:"KAFKA_GROUP_ID" envDefault:"event-gateway" doc:"name that the gateway gives itself to the brokers, for their logs and quotas (client.id); the consumer group of KAFKA_SOURCE_TOPICS, and how the groups of subscribers begin (KAFKA_GROUP_ID.sub.group_id)"`
	CommitInterval    time.Duration `env:"KAFKA_COMMIT_INTERVAL" envDefault:"1s" doc:"how often consumer groups commit how far they have come"`
	SessionTimeout    time.Duration `env:"KAFKA_SESSION_TIMEOUT" envDefault:"10s" doc:"how long Kafka waits for a silent member of a consumer group before it gives its partitions to others"`
	NumPartitions     int32         `env:"KAFKA_NUM_PARTITIONS" envDefault:"3" doc:"partitions of a topic that is missing at start and therefore created; existing topics are never altered"`
	ReplicationFactor int16         `env:"KAFKA_REPLICATION_FACTOR" envDefault:"1" doc:"replicas of a topic that is missing at start and therefore created"`
	ReadTimeout       time.Duration `env:"KAFKA_READ_TIMEOUT" envDefault:"10s" doc:"how long an answer may take beyond the time that the request itself allows the broker"`
	WriteTimeout      time.Duration `env:"KAFKA_WRITE_TIMEOUT" envDefault:"10s" doc:"how long a broker may wait for its replicas before it answers a produce request"`
	DialTimeout       time.Duration `env:"KAFKA_DIAL_TIMEOUT" envDefault:"10s" doc:"how long opening a connection to a broker may take"`
	RequiredAcks      Acks          `env:"KAFKA_REQUIRED_ACKS" envDefault:"all" doc:"what an acknowledgement means: all (every in-sync replica has the event), leader (one broker has it), none (it was sent); leader and none can lose acknowledged events"`
	Compression       Compression   `env:"KAFKA_COMPRESSION" envDefault:"none" doc:"compression of record batches: none, gzip, snappy, lz4 or zstd"`
	RecordFormat      Format        `env:"KAFKA_RECORD_FORMAT" envDefault:"binary" doc:"binary (CloudEvents binary mode: value = data, attributes in headers) or event (value = serialized event.v1.Event)"`

	EmbeddedPort          int           `env:"EMBEDDED_KAFKA_PORT" envDefault:"0" doc:"port on 127.0.0.1 where other Kafka clients reach the embedded broker; 0 = none"`
	EmbeddedDataDir       string        `env:"EMBEDDED_DATA_DIR" envDefault:"data" doc:"directory of the embedded broker"`
	EmbeddedRetention     time.Duration `env:"EMBEDDED_RETENTION" envDefault:"24h" doc:"how long the embedded broker keeps events"`
	EmbeddedMaxBytes      stages.Bytes  `env:"EMBEDDED_MAX_BYTES" envDefault:"1GiB" doc:"most bytes that the embedded broker keeps on disk, all topics together; the oldest go first"`
	EmbeddedSyncWrites    bool          `env:"EMBEDDED_SYNC_WRITES" envDefault:"false" doc:"fsync every batch: acknowledged events survive a crash of the host and not only of the process; far slower"`
	EmbeddedAllowDataLoss bool          `env:"EMBEDDED_ALLOW_DATA_LOSS" envDefault:"false" doc:"start even when files of the embedded broker are damaged, and lose what they held"`
}

// Acks is what Kafka must have done before a record counts as acknowledged.
type Acks string

// The values of KAFKA_REQUIRED_ACKS.
const (
	AcksAll    Acks = "all"
	AcksLeader Acks = "leader"
	AcksNone   Acks = "none"
)

// Compression is a record batch codec.
type Compression string

// The values of KAFKA_COMPRESSION.
const (
	CompressNone   Compression = "none"
	CompressGzip   Compression = "gzip"
	CompressSnappy Compression = "snappy"
	CompressLz4    Compression = "lz4"
	CompressZstd   Compression = "zstd"
)

// Format is how an event is laid out in a record.
type Format string

// The values of KAFKA_RECORD_FORMAT.
const (
	FormatBinary Format = "binary"
	FormatEvent  Format = "event"
)

// topicName is what Kafka accepts (org.apache.kafka.common.internals.Topic); "." and ".." are refused besides.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

const topicRule = "1 to 249 of the characters A-Z a-z 0-9 . _ - and neither . nor .."

// Bounds that only catch slips of the pen: a minute too much is a choice, a year is a typing error.
const (
	maxTimeout      = 10 * time.Minute
	maxPartitions   = 10_000
	maxReplicas     = 100
	maxTopics       = 100
	minEmbeddedDisk = 16 * stages.MiB
)

// Embedded reports whether the gateway is its own broker.
func (c *Config) Embedded() bool { return len(c.Brokers) == 0 }

// Routable are the names of the topics that events may be sent to, KAFKA_TOPIC first.
func (c *Config) Routable() []string {
	names := []string{c.Topic}
	for _, name := range c.TopicsAllowed {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Topics are the names of all topics that are written to: the Routable ones, and the last one for dead letters.
func (c *Config) Topics() []string {
	names := c.Routable()
	if c.DLQTopic != "" {
		names = append(names, c.DLQTopic)
	}
	return names
}

// problems collects one line per bad value.
type problems []error

func (p *problems) add(name string, value any, allowed string) {
	*p = append(*p, fmt.Errorf("%s=%v: %s", name, value, allowed))
}

// Validate returns one error per problem: variable, value, what is allowed.
func (c *Config) Validate() []error {
	var p problems
	for _, broker := range c.Brokers {
		if !isHostPort(broker) {
			p.add("KAFKA_BROKERS", strings.Join(c.Brokers, ","), fmt.Sprintf("%q is not host:port with a port from 1 to 65535", broker))
		}
	}
	c.validateTopics(&p)
	c.validateTimes(&p)
	c.validateChoices(&p)
	c.validateEmbedded(&p)
	return p
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, numErr := strconv.Atoi(port)
	return err == nil && numErr == nil && host != "" && n >= 1 && n <= 65535
}

func validTopic(name string) bool {
	return topicName.MatchString(name) && name != "." && name != ".."
}

func (c *Config) validateTopics(p *problems) {
	if !validTopic(c.Topic) {
		p.add("KAFKA_TOPIC", c.Topic, "a topic's name is "+topicRule)
	}
	for _, name := range c.TopicsAllowed {
		if !validTopic(name) {
			p.add("KAFKA_TOPICS_ALLOWED", strings.Join(c.TopicsAllowed, ","), fmt.Sprintf("%q: a topic's name is ", name)+topicRule)
		}
	}
	if len(c.TopicsAllowed) > maxTopics {
		p.add("KAFKA_TOPICS_ALLOWED", fmt.Sprintf("%d topics", len(c.TopicsAllowed)), fmt.Sprintf("at most %d", maxTopics))
	}
	switch {
	case c.DLQTopic == "":
	case !validTopic(c.DLQTopic):
		p.add("KAFKA_DLQ_TOPIC", c.DLQTopic, "a topic's name is "+topicRule)
	case slices.Contains(c.Routable(), c.DLQTopic):
		p.add("KAFKA_DLQ_TOPIC", c.DLQTopic, "another topic than KAFKA_TOPIC and those of KAFKA_TOPICS_ALLOWED")
	}
	if c.GroupID == "" || len(c.GroupID) > 249 {
		p.add("KAFKA_GROUP_ID", c.GroupID, "1 to 249 characters")
	}
	if c.NumPartitions < 1 || c.NumPartitions > maxPartitions {
		p.add("KAFKA_NUM_PARTITIONS", c.NumPartitions, fmt.Sprintf("1 to %d", maxPartitions))
	}
	switch {
	case c.ReplicationFactor < 1 || c.ReplicationFactor > maxReplicas:
		p.add("KAFKA_REPLICATION_FACTOR", c.ReplicationFactor, fmt.Sprintf("1 to %d", maxReplicas))
	case c.Embedded() && c.ReplicationFactor != 1:
		p.add("KAFKA_REPLICATION_FACTOR", c.ReplicationFactor, "the embedded broker is one copy on one machine: 1, or set KAFKA_BROKERS")
	}
}

func (c *Config) validateTimes(p *problems) {
	for _, t := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"KAFKA_READ_TIMEOUT", c.ReadTimeout, 100 * time.Millisecond},
		{"KAFKA_WRITE_TIMEOUT", c.WriteTimeout, 100 * time.Millisecond},
		{"KAFKA_DIAL_TIMEOUT", c.DialTimeout, 100 * time.Millisecond},
		{"KAFKA_COMMIT_INTERVAL", c.CommitInterval, 100 * time.Millisecond},
		{"KAFKA_SESSION_TIMEOUT", c.SessionTimeout, time.Second},
	} {
		if t.value < t.least || t.value > maxTimeout {
			p.add(t.name, t.value, fmt.Sprintf("%v to %v", t.least, maxTimeout))
		}
	}
}

func (c *Config) validateChoices(p *problems) {
	if !slices.Contains([]Acks{AcksAll, AcksLeader, AcksNone}, c.RequiredAcks) {
		p.add("KAFKA_REQUIRED_ACKS", c.RequiredAcks, "all, leader or none")
	}
	if _, ok := codecs[c.Compression]; !ok {
		p.add("KAFKA_COMPRESSION", c.Compression, "none, gzip, snappy, lz4 or zstd")
	}
	if c.RecordFormat != FormatBinary && c.RecordFormat != FormatEvent {
		p.add("KAFKA_RECORD_FORMAT", c.RecordFormat, "binary or event")
	}
}

func (c *Config) validateEmbedded(p *problems) {
	if c.EmbeddedPort < 0 || c.EmbeddedPort > 65535 {
		p.add("EMBEDDED_KAFKA_PORT", c.EmbeddedPort, "0 (no listener) to 65535")
	}
	if !c.Embedded() {
		if c.EmbeddedPort != 0 {
			p.add("EMBEDDED_KAFKA_PORT", c.EmbeddedPort, "there is no embedded broker when KAFKA_BROKERS is set: unset one of them")
		}
		return
	}
	if c.EmbeddedDataDir == "" {
		p.add("EMBEDDED_DATA_DIR", c.EmbeddedDataDir, "a directory that the gateway may write to")
	}
	if c.EmbeddedRetention < time.Minute {
		p.add("EMBEDDED_RETENTION", c.EmbeddedRetention, "1m or more")
	}
	if c.EmbeddedMaxBytes < minEmbeddedDisk {
		p.add("EMBEDDED_MAX_BYTES", c.EmbeddedMaxBytes, fmt.Sprintf("%v or more", minEmbeddedDisk))
	}
}
