package schema

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

func TestConfigValidate(t *testing.T) {
	valid := config()
	for _, c := range []struct {
		change func(*Config)
		want   string // the beginning of the problem; empty: none
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.URL = "https://registry.example.org/apis/ccompat/v7" }, ""},
		{func(c *Config) { c.URL = "ftp://registry" }, "SCHEMA_REGISTRY_URL=ftp://registry: a URL that begins with"},
		{func(c *Config) { c.URL = "registry:8081" }, "SCHEMA_REGISTRY_URL=registry:8081: a URL that begins with"},
		{func(c *Config) { c.URL = "http://" }, "SCHEMA_REGISTRY_URL=http:: a URL with a host"},
		{func(c *Config) { c.URL = "http://a b" }, "SCHEMA_REGISTRY_URL=(unreadable): is not a URL"},
		{func(c *Config) { c.URL = "http://user:secret@registry" }, "SCHEMA_REGISTRY_URL=http://user:xxxxx@registry: no user"},
		{func(c *Config) { c.URL = "http://registry?x=1" }, "SCHEMA_REGISTRY_URL=http://registry?x=1: a URL without"},
		{func(c *Config) { c.Password = "secret" }, "SCHEMA_REGISTRY_PASSWORD=***: needs"},
		{func(c *Config) { c.Username, c.Password = "a:b", "secret" }, "SCHEMA_REGISTRY_USERNAME=a:b: no colon"},
		{func(c *Config) { c.Username, c.Password = "a", "secret" }, ""},
		{func(c *Config) { c.Timeout = 9 * time.Millisecond }, "SCHEMA_TIMEOUT=9ms: 10ms to 3s"},
		{func(c *Config) { c.Timeout = 4 * time.Second }, "SCHEMA_TIMEOUT=4s: 10ms to 3s"},
		{func(c *Config) { c.CacheTTL = 0 }, "SCHEMA_CACHE_TTL=0s: 1s to 720h0m0s"},
		{func(c *Config) { c.Subject = "" }, "SCHEMA_SUBJECT=: is empty"},
		{func(c *Config) { c.Subject = "{nothing}" }, "SCHEMA_SUBJECT={nothing}: has {nothing} at byte 0"},
		{func(c *Config) { c.OnUnavailable = "ignore" }, "SCHEMA_ON_UNAVAILABLE=ignore: stale, reject or pass"},
		{func(c *Config) { c.WireFormat = "avro" }, "SCHEMA_WIRE_FORMAT=avro: none or confluent"},
		{func(c *Config) { c.WireFormat, c.OnUnavailable = Confluent, Pass }, "SCHEMA_ON_UNAVAILABLE=pass: stale or reject with"},
	} {
		cfg := valid
		c.change(&cfg)
		problems := cfg.Validate()
		switch {
		case c.want == "" && len(problems) > 0:
			t.Errorf("%+v is refused: %v", cfg, problems)
		case c.want != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), c.want)):
			t.Errorf("%v, want one problem %s", problems, c.want)
		case strings.Contains(stringsOf(problems), "secret"):
			t.Errorf("%v shows the password", problems)
		}
	}
}

func stringsOf(problems []error) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.Error())
	}
	return b.String()
}

func TestTemplate(t *testing.T) {
	ev := event("")
	ev.Metadata = []stages.Pair{{Name: []byte("tenant"), Value: []byte("old")}, {Name: []byte("tenant"), Value: []byte("acme")}}
	ev.More, ev.Subject.Value, ev.DataContentType.Value = true, []byte("order/1"), []byte("application/json")
	for text, want := range map[string]string{
		"{topic}-value":              "events-value",
		"{type}":                     "order.created",
		"a{topic}b{type}c":           "aeventsborder.createdc",
		"{source}{subject}":          "/shoporder/1",
		"{data_content_type}":        "application/json",
		"{metadata.tenant}.{topic}":  "acme.events",
		"x{metadata.nothing}{topic}": "xevents",
		"plain":                      "plain",
	} {
		parsed, err := parseTemplate(text, "events")
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(parsed.append(nil, ev)); got != want {
			t.Errorf("%s makes %q, want %q", text, got, want)
		}
		constant, ok := parsed.constant()
		if ok != !strings.Contains(strings.ReplaceAll(text, "{topic}", ""), "{") || ok && constant != want {
			t.Errorf("%s: constant %q %t", text, constant, ok)
		}
	}
	for text, want := range map[string]string{
		"{topic":      "a { without a } at byte 0",
		"ab{topic}c{": "a { without a } at byte 10",
		"a}b":         "a } without a { at byte 1",
		"a{{topic}}":  "{{topic} at byte 1",
		"{Topic}":     "{Topic} at byte 0",
		"{metadata.}": "{metadata.} at byte 0",
		"{metadata}":  "{metadata} at byte 0",
		"{id}":        "{id} at byte 0",
		"":            "is empty",
	} {
		if _, err := parseTemplate(text, "events"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestParseName(t *testing.T) {
	own := []byte("events-value")
	for text, want := range map[string]string{
		"7":                             "schema id 7",
		"007":                           "schema id 7",
		"2147483647":                    "schema id 2147483647",
		"2147483648":                    "",
		"0":                             "",
		"orders/1":                      `version 1 of subject "orders"`,
		"a/b/2":                         `version 2 of subject "a/b"`,
		"orders/latest":                 `subject "orders"`,
		"orders/0":                      "",
		"orders/2147483648":             "",
		"../1":                          "",
		":.ctx:orders/1":                `version 1 of subject ":.ctx:orders"`,
		"https://example.org/1":         `$id "https://example.org/1" in subject "events-value"`,
		"urn:schema:order/3":            `$id "urn:schema:order/3" in subject "events-value"`,
		"order.json":                    `$id "order.json" in subject "events-value"`,
		"order.json#":                   `$id "order.json" in subject "events-value"`,
		"/1":                            `$id "/1" in subject "events-value"`,
		"orders/x":                      `$id "orders/x" in subject "events-value"`,
		"-1":                            `$id "-1" in subject "events-value"`,
		strings.Repeat("x", 300) + "/1": "",
	} {
		n, ok := parseName([]byte(text), own)
		got := ""
		if ok {
			got = n.String()
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("{topic}-value", "order.created")
	f.Add("{type}{metadata.tenant}", "\xff{")
	f.Add("a{", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := parseTemplate(text, "events")
		if err != nil {
			return
		}
		ev := event("")
		ev.Type.Value = []byte(value)
		ev.Metadata = []stages.Pair{{Name: []byte("tenant"), Value: []byte(value)}}
		got := string(parsed.append(nil, ev))
		if constant, ok := parsed.constant(); ok && constant != got {
			t.Fatalf("%q is constant %q and makes %q", text, constant, got)
		}
		if !strings.ContainsAny(text, "{}") && got != text {
			t.Fatalf("%q makes %q", text, got)
		}
	})
}

// FuzzName: what data_schema says is understood in one way, and names that differ have different keys.
func FuzzName(f *testing.F) {
	for _, s := range []string{"7", "007", "orders/1", "orders/latest", "https://example.org/order#", "a\x00b/1", "2147483648", "/", ""} {
		f.Add([]byte(s), []byte("orders/1"))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		first, ok := parseName(a, []byte("own"))
		if !ok {
			return
		}
		if first.form == byID && (first.number < 1 || first.number > 1<<31-1) || !usableSubject([]byte("own")) ||
			(first.form == byVersion || first.form == byLatest) && !usableSubject(first.subject) {
			t.Fatalf("%q is %+v", a, first)
		}
		if len(first.String()) > 4*maxShown+100 {
			t.Fatalf("%q is shown as %q", a, first.String())
		}
		second, ok := parseName(b, []byte("own"))
		if ok && bytes.Equal(first.appendKey(nil), second.appendKey(nil)) != reflect.DeepEqual(canonical(first), canonical(second)) {
			t.Fatalf("%q and %q: %+v, %+v with keys %q and %q", a, b, first, second, first.appendKey(nil), second.appendKey(nil))
		}
	})
}

// canonical is a name that can be compared.
func canonical(n name) [4]any {
	return [4]any{n.form, string(n.subject), n.number, string(n.uri)}
}
