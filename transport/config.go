package transport

// What operators set of the two servers (gRPC and HTTP), and what is allowed.

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Config is the transport's part of the environment.
type Config struct {
	GRPCPort             int           `env:"GRPC_PORT" envDefault:"50051" doc:"port of the gRPC server; 0 = any free one"`
	GRPCBind             string        `env:"GRPC_BIND" doc:"IP address that the gRPC server listens on; empty = all"`
	MaxMessageBytes      stages.Bytes  `env:"GRPC_MAX_MESSAGE_BYTES" envDefault:"20MiB" doc:"largest gRPC message, decompressed; larger ones are answered MESSAGE_TOO_LARGE"`
	MaxConcurrentStreams int           `env:"GRPC_MAX_CONCURRENT_STREAMS" envDefault:"256" doc:"most calls and streams at once on one connection"`
	MaxConnections       int           `env:"GRPC_MAX_CONNECTIONS" envDefault:"4096" doc:"most gRPC connections at once; more are closed when they connect"`
	MaxConnectionsEach   int           `env:"GRPC_MAX_CONNECTIONS_PER_ADDRESS" envDefault:"1024" doc:"most gRPC connections at once from one IP address; raise it to GRPC_MAX_CONNECTIONS where all clients come through one proxy"`
	MaxHeaderBytes       stages.Bytes  `env:"GRPC_MAX_HEADER_BYTES" envDefault:"16KiB" doc:"largest header list of a gRPC call"`
	MaxConnectionAge     time.Duration `env:"GRPC_MAX_CONNECTION_AGE" envDefault:"30m" doc:"how long a stream may live, give or take a tenth; then every message is answered and it ends with STREAM_AGE, so that load balancers can spread clients anew; 0 = for ever"`
	MaxReceive           stages.Bytes  `env:"MAX_RECV_BYTES" envDefault:"128MiB" doc:"memory for what was received of messages before they are admitted, all connections together"`
	StreamWindow         int           `env:"STREAM_WINDOW" envDefault:"256" doc:"most messages of one stream that are in flight; then the stream is not read until the oldest is answered"`
	SendTimeout          time.Duration `env:"SEND_TIMEOUT" envDefault:"10s" doc:"how long a client may leave its answers unread before its stream ends with SLOW_CLIENT"`

	HTTPPort       int    `env:"HTTP_PORT" envDefault:"8080" doc:"port of the HTTP server for health, readiness and metrics; 0 = any free one"`
	HTTPBind       string `env:"HTTP_BIND" doc:"IP address that the HTTP server listens on; empty = all"`
	MetricsEnabled bool   `env:"METRICS_ENABLED" envDefault:"true" doc:"serve metrics in the Prometheus text format"`
	MetricsPath    string `env:"METRICS_PATH" envDefault:"/metrics" doc:"path of the metrics on the HTTP server"`
	PprofEnabled   bool   `env:"PPROF_ENABLED" envDefault:"false" doc:"serve Go profiles under /debug/pprof/ on the HTTP server; they show memory contents: only where the port is private"`

	// Times and sizes that belong to other packages' variables; main copies them in.

	// AdmissionTimeout is how long a unary call waits for memory (ADMISSION_TIMEOUT).
	AdmissionTimeout time.Duration
	// DeliveryTimeout is how long after its admission a message has its answer at the latest (DELIVERY_TIMEOUT).
	DeliveryTimeout time.Duration
	// MaxBatchEvents is the most events in one batch message (MAX_BATCH_EVENTS).
	MaxBatchEvents int
	// ReplayMaxDuration is how far back a replay may begin (REPLAY_MAX_DURATION).
	ReplayMaxDuration time.Duration
	// ReplayRateLimit is the most events a second of one replay (REPLAY_RATE_LIMIT).
	ReplayRateLimit int
	// ReplayTopics are where replays may publish: the one that is read, KAFKA_TOPIC, and KAFKA_TOPICS_ALLOWED.
	ReplayTopics []string
}

// Validate returns one error for each variable that is out of bounds.
func (c Config) Validate() []error {
	var errs []error
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s=%v: %s", name, value, allowed))
		}
	}
	port := func(p int) bool { return p >= 0 && p <= 65535 }
	bind := func(a string) bool { return a == "" || net.ParseIP(a) != nil }

	check(port(c.GRPCPort), "GRPC_PORT", c.GRPCPort, "a port from 0 to 65535")
	check(port(c.HTTPPort), "HTTP_PORT", c.HTTPPort, "a port from 0 to 65535")
	check(c.GRPCPort == 0 || c.GRPCPort != c.HTTPPort, "HTTP_PORT", c.HTTPPort, "another port than GRPC_PORT")
	check(bind(c.GRPCBind), "GRPC_BIND", c.GRPCBind, "an IP address, or empty for all")
	check(bind(c.HTTPBind), "HTTP_BIND", c.HTTPBind, "an IP address, or empty for all")
	check(c.MaxMessageBytes >= stages.KiB && c.MaxMessageBytes <= stages.GiB, "GRPC_MAX_MESSAGE_BYTES",
		c.MaxMessageBytes, "1KiB to 1GiB")
	check(c.MaxConcurrentStreams >= 1 && c.MaxConcurrentStreams <= 1<<20, "GRPC_MAX_CONCURRENT_STREAMS",
		c.MaxConcurrentStreams, "1 to 1048576")
	check(c.MaxConnections >= 1 && c.MaxConnections <= 1<<20, "GRPC_MAX_CONNECTIONS", c.MaxConnections, "1 to 1048576")
	check(c.MaxConnectionsEach >= 1 && c.MaxConnectionsEach <= 1<<20, "GRPC_MAX_CONNECTIONS_PER_ADDRESS",
		c.MaxConnectionsEach, "1 to 1048576")
	check(c.MaxHeaderBytes >= stages.KiB && c.MaxHeaderBytes <= 16*stages.MiB, "GRPC_MAX_HEADER_BYTES",
		c.MaxHeaderBytes, "1KiB to 16MiB")
	check(c.MaxConnectionAge == 0 || c.MaxConnectionAge >= time.Second, "GRPC_MAX_CONNECTION_AGE",
		c.MaxConnectionAge, "0 (for ever), or 1s and more")
	check(c.MaxReceive >= recvParts*c.MaxMessageBytes, "MAX_RECV_BYTES", c.MaxReceive,
		fmt.Sprintf("at least %d times GRPC_MAX_MESSAGE_BYTES, %v", recvParts, recvParts*c.MaxMessageBytes))
	check(c.StreamWindow >= 1 && c.StreamWindow <= 1<<20, "STREAM_WINDOW", c.StreamWindow, "1 to 1048576")
	check(c.SendTimeout >= 100*time.Millisecond, "SEND_TIMEOUT", c.SendTimeout, "100ms and more")
	check(plainPath(c.MetricsPath), "METRICS_PATH", c.MetricsPath,
		"a path that begins with /, such as /metrics, without //, ., .. and characters that URLs escape")
	check(c.MetricsPath != healthPath && c.MetricsPath != readyPath && !strings.HasPrefix(c.MetricsPath+"/", pprofPath),
		"METRICS_PATH", c.MetricsPath, "a path other than "+healthPath+" and "+readyPath+" and not below "+pprofPath+
			", which the HTTP server has for itself; /metrics is usual")
	return errs
}

// plainPath reports whether the HTTP server can serve p as it is: http.ServeMux panics on patterns that it cannot
// read, gives braces a meaning, and never matches a path that is not clean.
func plainPath(p string) bool {
	return len(p) > 1 && p[0] == '/' && path.Clean(p) == strings.TrimSuffix(p, "/") && !strings.ContainsAny(p, "{}") &&
		(&url.URL{Path: p}).EscapedPath() == p
}
