package schema

// What operators set of schemas.

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Config is the schemas' part of the environment.
type Config struct {
	Enabled       bool          `env:"SCHEMA_VALIDATION_ENABLED" envDefault:"false" doc:"hold the data of events against schemas of a registry"`
	URL           string        `env:"SCHEMA_REGISTRY_URL" envDefault:"http://localhost:8081" doc:"http or https URL of a registry with Confluent's API; its path, if any, is kept"`
	Username      string        `env:"SCHEMA_REGISTRY_USERNAME" doc:"user name for the registry (HTTP basic authentication); empty = none"`
	Password      string        `env:"SCHEMA_REGISTRY_PASSWORD" secret:"true" doc:"password for the registry"`
	Timeout       time.Duration `env:"SCHEMA_TIMEOUT" envDefault:"1s" doc:"how long fetching a schema may take with all its references, 10ms to 3s"`
	CacheTTL      time.Duration `env:"SCHEMA_CACHE_TTL" envDefault:"1h" doc:"how long a fetched schema is used before the registry is asked again, 1s to 720h"`
	Subject       string        `env:"SCHEMA_SUBJECT" envDefault:"{topic}-value" doc:"subject of events that name no data_schema: text with {topic} (KAFKA_TOPIC), {type}, {source}, {subject}, {data_content_type} and {metadata.name}; what an event does not have is empty"`
	Required      bool          `env:"SCHEMA_REQUIRED" envDefault:"false" doc:"refuse events whose subject the registry does not have; false = they pass unchecked, unless they name a data_schema; SCHEMA_WIRE_FORMAT=confluent implies true"`
	OnUnavailable Unavailable   `env:"SCHEMA_ON_UNAVAILABLE" envDefault:"stale" doc:"while the registry is away: stale (schemas known are used at any age, events with others are refused), reject (schemas are used until SCHEMA_CACHE_TTL is over) or pass (like stale, but events with others pass unchecked)"`
	WireFormat    WireFormat    `env:"SCHEMA_WIRE_FORMAT" envDefault:"none" doc:"none (data is written as it came) or confluent (a zero byte and the schema's id go before the data)"`
	Registration  bool          `env:"SCHEMA_REGISTRATION_ENABLED" envDefault:"false" doc:"let clients register schemas with SchemaService.RegisterSchema"`
}

// Unavailable is what becomes of events while the registry is away.
type Unavailable string

// The values of SCHEMA_ON_UNAVAILABLE.
const (
	Stale  Unavailable = "stale"
	Reject Unavailable = "reject"
	Pass   Unavailable = "pass"
)

// WireFormat is what goes before the data.
type WireFormat string

// The values of SCHEMA_WIRE_FORMAT.
const (
	Plain     WireFormat = "none"
	Confluent WireFormat = "confluent"
)

// Bounds of the settings. The registry's client has a timeout of its own of MaxTimeout.
const (
	minTimeout  = 10 * time.Millisecond
	MaxTimeout  = 3 * time.Second
	minCacheTTL = time.Second
	maxCacheTTL = 30 * 24 * time.Hour
)

// Validate lists what is wrong, one line a problem: variable, value, what is allowed.
func (c *Config) Validate() (problems []error) {
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, allowed))
		}
	}
	if problem := badURL(c.URL); problem != "" {
		check(false, "SCHEMA_REGISTRY_URL", shownURL(c.URL), problem)
	}
	check(c.Password == "" || c.Username != "", "SCHEMA_REGISTRY_PASSWORD", "***", "needs SCHEMA_REGISTRY_USERNAME")
	check(!strings.Contains(c.Username, ":"), "SCHEMA_REGISTRY_USERNAME", c.Username,
		"no colon: basic authentication separates the password by it")
	check(c.Timeout >= minTimeout && c.Timeout <= MaxTimeout, "SCHEMA_TIMEOUT", c.Timeout,
		fmt.Sprintf("%v to %v", minTimeout, MaxTimeout))
	check(c.CacheTTL >= minCacheTTL && c.CacheTTL <= maxCacheTTL, "SCHEMA_CACHE_TTL", c.CacheTTL,
		fmt.Sprintf("%v to %v", minCacheTTL, maxCacheTTL))
	if _, err := parseTemplate(c.Subject, ""); err != nil {
		check(false, "SCHEMA_SUBJECT", c.Subject, err.Error())
	}
	check(c.OnUnavailable == Stale || c.OnUnavailable == Reject || c.OnUnavailable == Pass,
		"SCHEMA_ON_UNAVAILABLE", c.OnUnavailable, "stale, reject or pass")
	check(c.WireFormat == Plain || c.WireFormat == Confluent, "SCHEMA_WIRE_FORMAT", c.WireFormat, "none or confluent")
	check(c.OnUnavailable != Pass || c.WireFormat != Confluent, "SCHEMA_ON_UNAVAILABLE", c.OnUnavailable,
		"stale or reject with SCHEMA_WIRE_FORMAT=confluent: consumers could not read what passed without a schema")
	return problems
}

// required reports whether an event without a schema is refused.
func (c *Config) required() bool { return c.Required || c.WireFormat == Confluent }

func badURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "http" && u.Scheme != "https":
		return "a URL that begins with http:// or https://"
	case u.Hostname() == "":
		return "a URL with a host"
	case u.User != nil:
		return "no user and password here: set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
	case u.RawQuery != "" || u.Fragment != "":
		return "a URL without ? and #"
	}
	return ""
}

// shownURL is the URL without the password that should not have been in it.
func shownURL(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Redacted()
	}
	return "(unreadable)"
}
