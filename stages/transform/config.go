package transform

// What operators set of the rules.

import (
	"fmt"
	"time"
)

// Config is the rules' part of the environment.
type Config struct {
	Rules    []RuleConfig  `envPrefix:"TRANSFORM"`
	Timeout  time.Duration `env:"TRANSFORM_TIMEOUT" envDefault:"50ms" doc:"how long one rule may work on one event"`
	Instance string        `env:"GATEWAY_INSTANCE" doc:"name of this gateway, which rules see as gateway; empty = the host's name"`
}

// Validate lists what is wrong beside the rules themselves, which Compile checks.
func (c *Config) Validate() (problems []error) {
	if c.Timeout <= 0 || c.Timeout > maxTimeout {
		problems = append(problems, fmt.Errorf("TRANSFORM_TIMEOUT=%v: more than 0s, and at most %v", c.Timeout, maxTimeout))
	}
	if len(c.Instance) > 255 {
		problems = append(problems, fmt.Errorf("GATEWAY_INSTANCE=%s: at most 255 bytes", oneLine(c.Instance)))
	}
	return problems
}

// maxTimeout: an event has its outcome in DELIVERY_TIMEOUT, which is 25 s by default.
const maxTimeout = 10 * time.Second

// RuleConfig is one rule: TRANSFORM_<n>_<name>.
type RuleConfig struct {
	Match    string  `env:"MATCH" doc:"expr over the attributes: which events the rule is for; empty = all"`
	Filter   string  `env:"FILTER" doc:"expr: events for which it is false are dropped and answered success, filtered"`
	JQ       string  `env:"JQ" doc:"jq program that makes the new data"`
	Expr     string  `env:"EXPR" doc:"expr program that makes the new data"`
	CEL      string  `env:"CEL" doc:"CEL program that makes the new data"`
	Template string  `env:"TEMPLATE" doc:"Go text/template that makes the new data"`
	Set      string  `env:"SET" doc:"name=expr; name=expr: sets type, subject, partition_key, data_content_type, metadata.x"`
	Topic    string  `env:"TOPIC" doc:"topic for the event: a name of KAFKA_TOPICS_ALLOWED, or an expr that gives one"`
	OnError  OnError `env:"ON_ERROR" envDefault:"reject" doc:"what becomes of an event that the rule cannot be applied to: reject, pass (the rule is skipped), drop (filtered) or dead_letter"`
}

// OnError is what becomes of an event that a rule cannot be applied to.
type OnError string

// The values of TRANSFORM_<n>_ON_ERROR.
const (
	Reject     OnError = "reject"
	Pass       OnError = "pass"
	Drop       OnError = "drop"
	DeadLetter OnError = "dead_letter"
)
