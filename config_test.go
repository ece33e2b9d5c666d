package main

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"bytes"

	"github.com/event-gateway/event-gateway/cli"
)

// lines are the problems' texts.
func lines(problems []error) []string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.Error())
	}
	return texts
}

func TestDefaultsAreValid(t *testing.T) {
	c, problems, warnings := load(map[string]string{})
	if len(problems)+len(warnings) > 0 {
		t.Fatalf("%v %v", problems, warnings)
	}
	if c.transport.DeliveryTimeout != c.pipeline.DeliveryTimeout || c.transport.AdmissionTimeout == 0 ||
		c.transport.MaxBatchEvents != 10000 {
		t.Fatalf("values of other packages are not copied: %+v", c.transport)
	}
}

func TestEveryRejectedValueIsOneLine(t *testing.T) {
	for _, tc := range []struct{ environ, want string }{
		{"GRPC_PORT=abc", "GRPC_PORT=abc: a whole number; a port from 0 to 65535"},
		{"HTTP_PORT=8080.0", "HTTP_PORT=8080.0: a whole number; a port from 0 to 65535"},
		{"RING_CAPACITY=many", "RING_CAPACITY=many: a whole number; 1 to "},
		{"EMBEDDED_KAFKA_PORT=99999999999999999999", "EMBEDDED_KAFKA_PORT=99999999999999999999: a whole number; 0 (no listener) to 65535"},
		{"GRPC_PORT=65536", "GRPC_PORT=65536: "},
		{"HTTP_PORT=50051", "HTTP_PORT=50051: "},
		{"GRPC_MAX_CONNECTION_AGE=often", "GRPC_MAX_CONNECTION_AGE=often: a duration"},
		{"RATE_LIMIT_ENABLED=maybe", "RATE_LIMIT_ENABLED=maybe: true or false"},
		{"RATE_LIMIT_RPS=many", "RATE_LIMIT_RPS=many: a number"},
		{"RATE_LIMIT_RPS=NaN", "RATE_LIMIT_RPS=NaN: more than 0"},
		{"RATE_LIMIT_BURST=0", "RATE_LIMIT_BURST=0: 1 or more"},
		{"MAX_EVENT_BYTES=1MB", "MAX_EVENT_BYTES=1MB: a whole number of bytes"},
		{"MAX_EVENT_BYTES=21MiB", "MAX_EVENT_BYTES=21MiB: at most GRPC_MAX_MESSAGE_BYTES=20MiB"},
		{"MAX_BATCH_EVENTS=0", "MAX_BATCH_EVENTS=0: "},
		{"BATCH_MAX_EVENTS=0", "BATCH_MAX_EVENTS=0: "},
		{"BATCH_MAX_BYTES=1", "BATCH_MAX_BYTES=1: "},
		{"BATCH_LINGER=-1s", "BATCH_LINGER=-1s: "},
		{"BATCH_LINGER=5s DELIVERY_TIMEOUT=5s BREAKER_OPEN_AFTER=1s", "BATCH_LINGER=5s: less than DELIVERY_TIMEOUT=5s"},
		{"DELIVERY_TIMEOUT=4s", "BREAKER_OPEN_AFTER=5s: less than DELIVERY_TIMEOUT=4s"},
		{"BREAKER_OPEN_AFTER=0s", "BREAKER_OPEN_AFTER=0s: "},
		{"SHUTDOWN_GRACE=20s", "SHUTDOWN_GRACE=20s: 0s or more, and less than SHUTDOWN_TIMEOUT=20s"},
		{"SHUTDOWN_TIMEOUT=0s", "SHUTDOWN_TIMEOUT=0s: more than 0s"},
		{"SINK=s3", "SINK=s3: kafka, log or discard"},
		{"LOG_LEVEL=loud", "LOG_LEVEL=loud: debug, info, warn or error"},
		{"LOG_FORMAT=xml", "LOG_FORMAT=xml: json or text"},
		{"ENVIRONMENT=a\"b", `ENVIRONMENT="a\"b": `},
		{"KAFKA_BROKERS=nohost", "KAFKA_BROKERS=nohost: "},
		{"KAFKA_NUM_PARTITIONS=3000000000", "KAFKA_NUM_PARTITIONS=3000000000: a whole number; 1 to 10000"},
		{"EMBEDDED_KAFKA_PORT=8080", "EMBEDDED_KAFKA_PORT=8080: another port"},
		{"STAGE_DECODE_WORKERS=-1", "STAGE_DECODE_WORKERS=-1: "},
		{"AUTH_ENABLED=true", "AUTH_ENABLED: not in this version"},
		{"AUTH_ENABLED=banana", "AUTH_ENABLED: not in this version"},
		{"JWT_SECRET=hush", "JWT_SECRET: not in this version"},
		{"KAFKA_TOPICS_ALLOWED=orders,a/b", `KAFKA_TOPICS_ALLOWED=orders,a/b: "a/b": a topic's name is `},
		{"KAFKA_DLQ_TOPIC=events", "KAFKA_DLQ_TOPIC=events: another topic than KAFKA_TOPIC"},
		{"KAFKA_TOPICS_ALLOWED=dead KAFKA_DLQ_TOPIC=dead", "KAFKA_DLQ_TOPIC=dead: another topic than KAFKA_TOPIC"},
		{"KAFKA_DLQ_TOPIC=..", "KAFKA_DLQ_TOPIC=..: a topic's name is "},
		{"SINK=log KAFKA_DLQ_TOPIC=dead", "KAFKA_DLQ_TOPIC=dead: empty, because with SINK=log"},
		{"DLQ_ON=decode,produce", "DLQ_ON=decode,produce: decode, validate and transform"},
		{"KAFKA_SOURCE_TOPICS=a/b KAFKA_SOURCE_ON_REFUSED=skip", `KAFKA_SOURCE_TOPICS=a/b: "a/b": a topic's name is `},
		{"KAFKA_SOURCE_TOPICS=in KAFKA_SOURCE_ON_REFUSED=retry", "KAFKA_SOURCE_ON_REFUSED=retry: dead_letter, skip or stop"},
		{"KAFKA_SOURCE_TOPICS=in", "KAFKA_SOURCE_ON_REFUSED=dead_letter: refused records need a topic to be kept in: set KAFKA_DLQ_TOPIC, or choose skip or stop"},
		{"KAFKA_SOURCE_TOPICS=in,events KAFKA_SOURCE_ON_REFUSED=skip", "KAFKA_SOURCE_TOPICS=in,events: events is a topic that the gateway writes to"},
		{"KAFKA_SOURCE_TOPICS=b KAFKA_TOPICS_ALLOWED=a,b KAFKA_SOURCE_ON_REFUSED=skip", "KAFKA_SOURCE_TOPICS=b: b is a topic that the gateway writes to"},
		{"KAFKA_SOURCE_TOPICS=dead KAFKA_DLQ_TOPIC=dead", "KAFKA_SOURCE_TOPICS=dead: dead is a topic that the gateway writes to"},
		{"SINK=discard KAFKA_SOURCE_TOPICS=in KAFKA_SOURCE_ON_REFUSED=skip", "KAFKA_SOURCE_TOPICS=in: empty, because with SINK=discard"},
		{"KAFKA_TLS_CERT=x", "KAFKA_TLS_CERT: not in this version"},
		{"KAFKA_SESSION_TIMEOUT=30ms", "KAFKA_SESSION_TIMEOUT=30ms: 1s to 10m0s"},
		{"SUBSCRIBE_MAX_READERS=0", "SUBSCRIBE_MAX_READERS=0: 1 to 10000"},
		{"REPLAY_BATCH_SIZE=many", "REPLAY_BATCH_SIZE=many: a whole number; 1 to 100000"},
		{"SINK=log LOG_OUTPUT=stdout", "LOG_OUTPUT=stdout: stderr or a file"},
		{"KAFKA_SASL_MECHANISM=PLAIN", "KAFKA_SASL_MECHANISM: not in this version"},
		{"TRANSFORM_RULES=x", "TRANSFORM_RULES: rules are TRANSFORM_<number>_<name>, numbered from 0"},
		{"GRPC_TLS_CERT=x", "GRPC_TLS_CERT: not in this version"},
	} {
		t.Run(tc.environ, func(t *testing.T) {
			environ := map[string]string{}
			for _, entry := range strings.Fields(tc.environ) {
				name, value, _ := strings.Cut(entry, "=")
				environ[name] = value
			}
			_, problems, _ := load(environ)
			if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), tc.want) {
				t.Errorf("got %q, want one line that begins %q", lines(problems), tc.want)
			}
		})
	}
}

func TestAllProblemsAreCollected(t *testing.T) {
	_, problems, _ := load(map[string]string{"GRPC_PORT": "x", "HTTP_PORT": "y", "KAFKA_TOPIC": "a b",
		"RING_CAPACITY": "0", "BATCH_LINGER": "1", "LOG_LEVEL": "x\ny", "JWT_SECRET": "hush"})
	if len(problems) != 7 {
		t.Errorf("%d problems: %q", len(problems), lines(problems))
	}
	for _, line := range lines(problems) {
		if strings.Contains(line, "hush") {
			t.Errorf("a secret is shown: %s", line)
		}
	}
}

func TestNamesOfLaterFeaturesAtTheirDefaultsAreAccepted(t *testing.T) {
	environ := map[string]string{}
	for name, harmless := range laterNames {
		environ[name] = harmless
	}
	environ["AUTH_ENABLED"] = "0"
	if _, problems, warnings := load(environ); len(problems)+len(warnings) > 0 {
		t.Errorf("%q %q", lines(problems), warnings)
	}
}

// TestEveryNumberSaysItsRange: "a whole number" alone helps nobody.
func TestEveryNumberSaysItsRange(t *testing.T) {
	c, _, _ := load(nil)
	for _, g := range c.groups() {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(g.target).Elem()) {
			if !isWhole(field.Type) || field.Tag.Get("env") == "" {
				continue
			}
			name := field.Tag.Get("env")
			if _, problems, _ := load(map[string]string{name: "x"}); len(problems) != 1 ||
				!strings.HasPrefix(problems[0].Error(), name+"=x: a whole number; ") {
				t.Errorf("%q", lines(problems))
			}
		}
	}
}

func TestLogMakesRoomForEventsOnStdout(t *testing.T) {
	for _, tc := range []struct {
		environ map[string]string
		want    string
	}{
		{nil, "stdout"},
		{map[string]string{"SINK": "discard"}, "stdout"},
		{map[string]string{"SINK": "log"}, "stderr"},
		{map[string]string{"SINK": "log", "LOG_OUTPUT": ""}, "stderr"},
		{map[string]string{"SINK": "log", "LOG_OUTPUT": "x.log"}, "x.log"},
	} {
		c, problems, _ := load(tc.environ)
		if c.process.LogOutput != tc.want || len(problems) > 0 {
			t.Errorf("%v: LOG_OUTPUT is %s, want %s; %q", tc.environ, c.process.LogOutput, tc.want, lines(problems))
		}
		for _, s := range c.settings(tc.environ) {
			if s.Name == "LOG_OUTPUT" && s.Value != tc.want {
				t.Errorf("%v: shown as %+v", tc.environ, s)
			}
		}
	}
}

func TestUnknownNamesAreWarnedAbout(t *testing.T) {
	_, problems, warnings := load(map[string]string{"KAFKA_BROKER": "a:1", "GRPC_PROT": "1", "MAX_WHATEVER_COLOUR": "1",
		"HTTP_PROXY": "x", "KAFKA_SERVICE_HOST": "x", "KAFKA_PORT": "tcp://10.0.0.1:9092", "GRPC_GO_LOG_SEVERITY_LEVEL": "info",
		"PATH": "/bin", "STAGE_DECODE_WORKER": "2"})
	want := []string{
		"GRPC_PROT is set, but the gateway has no such setting; did you mean GRPC_PORT?",
		"KAFKA_BROKER is set, but the gateway has no such setting; did you mean KAFKA_BROKERS?",
		"MAX_WHATEVER_COLOUR is set, but the gateway has no such setting",
		"STAGE_DECODE_WORKER is set, but the gateway has no such setting; did you mean STAGE_DECODE_WORKERS?",
	}
	if len(problems) > 0 || !slices.Equal(warnings, want) {
		t.Errorf("%q %q", lines(problems), warnings)
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	c, _, _ := load(nil)
	seen := map[string]bool{}
	for _, s := range c.settings(nil) {
		if s.Doc == "" || seen[s.Name] || strings.ReplaceAll(s.Name, "<n>", "0") != strings.ToUpper(strings.ReplaceAll(s.Name, "<n>", "0")) {
			t.Errorf("%+v", s)
		}
		seen[s.Name] = true
		if isLater(s.Name) {
			t.Errorf("%s is a name of a later version", s.Name)
		}
	}
}

// TestConfigurationPageIsCurrent: go run . config --markdown > docs/configuration.md
func TestConfigurationPageIsCurrent(t *testing.T) {
	page, err := os.ReadFile("docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code := cli.Run(cli.Program{Settings: func() ([]cli.Setting, []error) {
		c, problems, _ := load(nil)
		return c.settings(nil), problems
	}, Stdout: &out, Stderr: &errs}, []string{"config", "--markdown"})
	if code != 0 || !bytes.Equal(page, out.Bytes()) {
		t.Errorf("docs/configuration.md is not current (%d %s): go run . config --markdown > docs/configuration.md", code, errs.String())
	}
}

// FuzzEnvironment sets every variable to whatever comes: no panic, and one short line a problem.
func FuzzEnvironment(f *testing.F) {
	c, _, _ := load(nil)
	settings := c.settings(nil)
	for i, seed := range []string{"", "1", "-1", "1e309", "NaN", "10s", "9223372036854775807", "99999999999GiB", "a,b,,c", "true", "x\ny", "\xff", "localhost:9092", "/", " "} {
		f.Add(uint16(i*7), seed)
	}
	f.Fuzz(func(t *testing.T, which uint16, value string) {
		name := settings[int(which)%len(settings)].Name
		_, problems, _ := load(map[string]string{name: value})
		for _, problem := range problems {
			line := problem.Error()
			if strings.ContainsAny(line, "\n\r") {
				t.Errorf("%q is more than one line", line)
			}
			if utf8.ValidString(value) && !strings.Contains(line, "_") && !strings.Contains(line, name) {
				t.Errorf("%q names no variable", line)
			}
		}
	})
}

// FuzzEnvironmentBlock sets many variables at once: no panic, one short line a problem and a warning, and the same
// ones every time.
func FuzzEnvironmentBlock(f *testing.F) {
	for _, seed := range []string{
		"", "GRPC_PORT=0\nHTTP_PORT=0", "SINK=log\nLOG_OUTPUT=stdout", "KAFKA_BROKERS=a:1,b\nKAFKA_REQUIRED_ACKS=none",
		"MAX_EVENT_BYTES=1GiB\nGRPC_MAX_MESSAGE_BYTES=1KiB\nMAX_RECV_BYTES=1", "AUTH_ENABLED=true\nJWT_SECRET=hush",
		"BATCH_LINGER=1h\nDELIVERY_TIMEOUT=1s\nBREAKER_OPEN_AFTER=2s\nSHUTDOWN_GRACE=1h", "GRPC_PROT=1\nSTAGE_DECODE_WORKER=\nLOG_=\nMAX_=",
		"METRICS_PATH=/{\nMETRICS_ENABLED=maybe\nHTTP_BIND=::1%eth0", "RATE_LIMIT_RPS=NaN\nRATE_LIMIT_BURST=-9223372036854775808",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, block string) {
		environ := map[string]string{}
		for line := range strings.Lines(block) {
			if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && name != "" {
				environ[name] = value
			}
		}
		c, problems, warnings := load(environ)
		said := append(lines(problems), warnings...)
		for _, line := range said {
			if strings.ContainsAny(line, "\n\r") || len(line) > 3*maxShown {
				t.Errorf("%q is more than one short line", line)
			}
			if secret := environ["JWT_SECRET"]; len(secret) > 8 && strings.Contains(line, secret) {
				t.Errorf("%q has a secret", line)
			}
		}
		_ = c.settings(environ)
		_, again, warned := load(environ)
		if !slices.Equal(said, append(lines(again), warned...)) {
			t.Errorf("%q, then %q", said, lines(again))
		}
	})
}
