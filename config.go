package main

// The configuration: every package's own Config struct, filled from the
// environment and checked together. All problems are collected, one line each,
// so that an operator sees them in one go.

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/event-gateway/event-gateway/cli"
	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/pipeline"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/schema"
	"github.com/event-gateway/event-gateway/stages/transform"
	"github.com/event-gateway/event-gateway/transport"
)

// The values of SINK.
const (
	sinkKafka   = "kafka"
	sinkLog     = "log"
	sinkDiscard = "discard"
)

// processConfig is what belongs to no package: the process, its log and its end.
type processConfig struct {
	Environment string `env:"ENVIRONMENT" envDefault:"development" doc:"name of the environment, in the log's first line and in gateway_build_info"`
	Sink        string `env:"SINK" envDefault:"kafka" doc:"where events go: kafka, log (one JSON line an event on stdout) or discard (nowhere: for benchmarks)"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info" doc:"least severe lines that are logged: debug, info, warn or error"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"json" doc:"json or text"`
	LogOutput string `env:"LOG_OUTPUT" envDefault:"stdout" doc:"stdout, stderr, or a file, which SIGHUP opens anew; with SINK=log, stdout belongs to the events and the default is stderr"`

	ShutdownGrace   time.Duration `env:"SHUTDOWN_GRACE" envDefault:"0s" doc:"how long the gateway goes on serving, not ready, after SIGTERM, so that load balancers notice"`
	ShutdownTimeout time.Duration `env:"SHUTDOWN_TIMEOUT" envDefault:"20s" doc:"most time from SIGTERM to the end, SHUTDOWN_GRACE included; then what is left is answered and the exit code is 3"`
}

// Validate lists what is wrong, one line a problem.
func (c *processConfig) Validate() (problems []error) {
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, allowed))
		}
	}
	oneOf := func(value string, allowed ...string) bool {
		for _, a := range allowed {
			if value == a {
				return true
			}
		}
		return false
	}
	check(len(c.Environment) <= 64 && !strings.ContainsAny(c.Environment, "\"\\\n\r"), "ENVIRONMENT",
		strconv.Quote(c.Environment), "at most 64 characters, no quotes, backslashes or line ends")
	check(oneOf(c.Sink, sinkKafka, sinkLog, sinkDiscard), "SINK", c.Sink, "kafka, log or discard")
	check(oneOf(c.LogLevel, "debug", "info", "warn", "error"), "LOG_LEVEL", c.LogLevel, "debug, info, warn or error")
	check(oneOf(c.LogFormat, "json", "text"), "LOG_FORMAT", c.LogFormat, "json or text")
	check(c.ShutdownTimeout > 0, "SHUTDOWN_TIMEOUT", c.ShutdownTimeout, "more than 0s")
	check(c.ShutdownGrace >= 0 && (c.ShutdownGrace < c.ShutdownTimeout || c.ShutdownTimeout <= 0), "SHUTDOWN_GRACE",
		c.ShutdownGrace, fmt.Sprintf("0s or more, and less than SHUTDOWN_TIMEOUT=%v", c.ShutdownTimeout))
	return problems
}

// config is the whole configuration.
type config struct {
	process   processConfig
	transport transport.Config
	pipeline  pipeline.Config
	stages    stages.Config
	kafka     kafka.Config
	transform transform.Config
	schema    schema.Config
	reading   kafka.ReadingConfig

	// rules are compiled from transform and what else they depend on.
	rules *transform.Rules
}

// group is one package's part: its heading in the documentation and its struct.
type group struct {
	title  string
	target validator
}

// validator is a package's Config.
type validator interface{ Validate() []error }

func (c *config) groups() []group {
	return []group{
		{"Process, log and shutdown", &c.process},
		{"gRPC and HTTP servers", &c.transport},
		{"Kafka and the embedded broker", &c.kafka},
		{"Pipeline: workers, memory, times", &c.pipeline},
		{"Stages: limits, rate limit, batches, dead letters", &c.stages},
		{"Rules: filter, transform, enrich, route", &c.transform},
		{"Schemas", &c.schema},
		{"Reading back: subscribe and replay", &c.reading},
	}
}

// environment is os.Environ as a map; of a name that is there twice, the last one wins.
func environment() map[string]string {
	environ := map[string]string{}
	for _, entry := range os.Environ() {
		if name, value, ok := strings.Cut(entry, "="); ok {
			environ[name] = value
		}
	}
	return environ
}

// load reads the configuration: everything that is wrong with it, one line a problem, and what may be a slip.
func load(environ map[string]string) (c *config, problems []error, warnings []string) {
	c = &config{}
	for _, g := range c.groups() {
		unread := map[string]bool{}
		for _, name := range parse(g.target, environ) {
			unread[name.variable] = true
			problems = append(problems, name)
		}
		for _, problem := range g.target.Validate() {
			name, _, _ := strings.Cut(problem.Error(), "=")
			if !unread[name] { // its zero value says nothing more
				problems = append(problems, errors.New(oneLine(problem.Error())))
			}
		}
	}
	if c.process.Sink == sinkLog && environ["LOG_OUTPUT"] == "" {
		c.process.LogOutput = "stderr"
	}
	if len(problems) == 0 {
		problems = c.contradictions()
		problems = append(problems, c.compile()...)
	}
	problems = append(problems, oneLineEach(transform.CheckNames(environ))...)
	problems = append(problems, notBuilt(environ)...)
	c.transport.AdmissionTimeout = c.pipeline.AdmissionTimeout
	c.transport.DeliveryTimeout = c.pipeline.DeliveryTimeout
	c.transport.MaxBatchEvents = c.stages.MaxBatchEvents
	c.transport.ReplayMaxDuration = c.reading.ReplayMaxDuration
	c.transport.ReplayRateLimit = c.reading.ReplayRateLimit
	c.transport.ReplayTopics = c.kafka.Routable()
	return c, problems, unknownNames(environ, c.settings(environ))
}

// compile compiles the rules.
func (c *config) compile() (problems []error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	letters := stages.NewDeadLetters(c.stages, nil)
	c.rules, problems = transform.Compile(c.transform, transform.Options{
		Topics: c.kafka.Routable(), MaxEventBytes: int(c.stages.MaxEventBytes),
		DeadLetters: c.kafka.DLQTopic != "" && letters.On[stages.AtTransform], Hostname: host,
	})
	return oneLineEach(problems)
}

func oneLineEach(problems []error) (lines []error) {
	for _, problem := range problems {
		lines = append(lines, errors.New(oneLine(problem.Error())))
	}
	return lines
}

// badValue is a value that cannot be read.
type badValue struct{ variable, value, allowed string }

func (b badValue) Error() string { return fmt.Sprintf("%s=%s: %s", b.variable, b.value, b.allowed) }

// parse fills target and returns the values that could not be read.
func parse(target validator, environ map[string]string) (bad []badValue) {
	err := env.ParseWithOptions(target, env.Options{Environment: environ})
	if err == nil {
		return nil
	}
	fields := map[string]reflect.StructField{}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(target).Elem()) {
		fields[field.Name] = field
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		all.Errors = []error{err}
	}
	for _, err := range all.Errors {
		var unreadable env.ParseError
		if !errors.As(err, &unreadable) {
			bad = append(bad, badValue{"environment", "", err.Error()})
			continue
		}
		field := fields[unreadable.Name]
		b := badValue{field.Tag.Get("env"), "", allowedOf(field.Type, unreadable.Err)}
		if isWhole(field.Type) {
			b.allowed += rangeOf(target, field, b.variable)
		}
		if b.value = environ[b.variable]; field.Tag.Get("secret") == "true" {
			b.value = "***"
		}
		b.value = oneLine(b.value)
		bad = append(bad, b)
	}
	return bad
}

// allowedOf says what a type's values look like.
func allowedOf(t reflect.Type, err error) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 250ms, 10s or 1h30m"
	case reflect.TypeFor[stages.Bytes]():
		return "a whole number of bytes, or one with KiB, MiB or GiB"
	}
	if isWhole(t) {
		return "a whole number"
	}
	switch t.Kind() {
	case reflect.Float64:
		return "a number"
	case reflect.Bool:
		return "true or false"
	}
	return oneLine(err.Error())
}

// isWhole: plain integers, not the times and sizes that are written with units.
func isWhole(t reflect.Type) bool {
	return t.PkgPath() == "" && t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64
}

// rangeOf is what Validate says about a number that is out of every range, as the end of a sentence.
func rangeOf(target validator, field reflect.StructField, variable string) string {
	value := reflect.ValueOf(target).Elem().FieldByIndex(field.Index)
	was := value.Int()
	value.SetInt(-1)
	defer value.SetInt(was)
	for _, problem := range target.Validate() {
		if allowed, ok := strings.CutPrefix(problem.Error(), variable+"=-1: "); ok {
			return "; " + allowed
		}
	}
	return ""
}

// maxShown bounds what a line repeats of a value.
const maxShown = 400

// oneLine keeps a value from breaking the line-per-problem promise.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return s
}

// contradictions are values that are fine alone but not together.
func (c *config) contradictions() (problems []error) {
	check := func(ok bool, name string, value any, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, fmt.Sprintf(format, args...)))
		}
	}
	// An oversize event is answered, so it must be received: tag, length and the request's own fields come
	// on top.
	check(c.stages.MaxEventBytes+stages.KiB <= c.transport.MaxMessageBytes, "MAX_EVENT_BYTES", c.stages.MaxEventBytes,
		"at most GRPC_MAX_MESSAGE_BYTES=%v less 1KiB, so that a larger event can be received and answered", c.transport.MaxMessageBytes)
	check(c.stages.BatchLinger < c.pipeline.DeliveryTimeout, "BATCH_LINGER", c.stages.BatchLinger,
		"less than DELIVERY_TIMEOUT=%v", c.pipeline.DeliveryTimeout)
	check(c.stages.BreakerOpenAfter < c.pipeline.DeliveryTimeout, "BREAKER_OPEN_AFTER", c.stages.BreakerOpenAfter,
		"less than DELIVERY_TIMEOUT=%v, or it never opens in time", c.pipeline.DeliveryTimeout)
	check(c.process.Sink != sinkLog || c.process.LogOutput != "stdout", "LOG_OUTPUT", c.process.LogOutput,
		"stderr or a file, because with SINK=log stdout has the events")
	check(c.process.Sink != sinkLog || c.kafka.DLQTopic == "", "KAFKA_DLQ_TOPIC", c.kafka.DLQTopic,
		"empty, because with SINK=log there are no topics")
	port := c.kafka.EmbeddedPort
	check(port == 0 || port != c.transport.GRPCPort && port != c.transport.HTTPPort, "EMBEDDED_KAFKA_PORT", port,
		"another port than GRPC_PORT=%d and HTTP_PORT=%d", c.transport.GRPCPort, c.transport.HTTPPort)
	return problems
}

// settings lists every variable, for gateway config, the documentation and the search for unknown names.
func (c *config) settings(environ map[string]string) (settings []cli.Setting) {
	for _, g := range c.groups() {
		target := reflect.ValueOf(g.target).Elem()
		for _, field := range reflect.VisibleFields(target.Type()) {
			if prefix := field.Tag.Get("envPrefix"); prefix != "" {
				settings = append(settings, numbered(g.title, prefix, target.FieldByIndex(field.Index), environ)...)
				continue
			}
			if field.Tag.Get("env") == "" {
				continue
			}
			s := settingOf(g.title, "", field, environ)
			if s.Name == "LOG_OUTPUT" && !s.FromEnvironment {
				s.Value = c.process.LogOutput // its default depends on SINK
			}
			settings = append(settings, s)
		}
	}
	return settings
}

// settingOf is the variable of a field, with a prefix before its name.
func settingOf(group, prefix string, field reflect.StructField, environ map[string]string) cli.Setting {
	s := cli.Setting{Group: group, Name: prefix + field.Tag.Get("env"), Default: field.Tag.Get("envDefault"),
		Secret: field.Tag.Get("secret") == "true", Doc: field.Tag.Get("doc")}
	s.Value = s.Default
	if value := environ[s.Name]; value != "" {
		s.Value, s.FromEnvironment = value, true
	}
	return s
}

// numbered are the variables of a list of structs: of those that are set, or of one with <n> for its number.
func numbered(group, prefix string, list reflect.Value, environ map[string]string) (settings []cli.Setting) {
	names := []string{prefix + "_<n>_"}
	if n := list.Len(); n > 0 {
		names = nil
		for i := range n {
			names = append(names, fmt.Sprintf("%s_%d_", prefix, i))
		}
	}
	for _, name := range names {
		for _, field := range reflect.VisibleFields(list.Type().Elem()) {
			settings = append(settings, settingOf(group, name, field, environ))
		}
	}
	return settings
}

// adminAddress is where this machine's own admin server is reached.
func (c *config) adminAddress() string {
	host := c.transport.HTTPBind
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.transport.HTTPPort))
}
