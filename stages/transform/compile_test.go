package transform

// What is wrong with rules is told at start, with the variable, the position and the reason.

import (
	"reflect"
	"strings"
	"testing"
	"time"

	caarlos "github.com/caarlos0/env/v11"
)

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		rule RuleConfig
		want []string // parts of each problem
	}{
		{RuleConfig{}, []string{"TRANSFORM_0: does nothing; set FILTER, one of JQ EXPR CEL TEMPLATE, SET or TOPIC"}},
		{RuleConfig{Match: "true", OnError: Pass}, []string{"TRANSFORM_0: does nothing"}},
		{RuleConfig{Filter: `type = "x"`}, []string{`TRANSFORM_0_FILTER=type = "x": unexpected token`, ", 1:6"}},
		{RuleConfig{Filter: "type ==\n  typ"}, []string{`TRANSFORM_0_FILTER="type ==\n  typ": unknown name typ, 2:3`}},
		{RuleConfig{Filter: `type`}, []string{"expected bool, but got string"}},
		{RuleConfig{Filter: `type + 1 == 2`}, []string{"invalid operation: + (mismatched types string and int), 1:6"}},
		{RuleConfig{Filter: `repeat("x") == "x"`}, []string{"not enough arguments to call repeat, 1:1"}},
		{RuleConfig{Match: "data.x == 1", Topic: "orders"}, []string{"TRANSFORM_0_MATCH=data.x == 1: looks at data"}},
		{RuleConfig{Expr: "1 +"}, []string{"TRANSFORM_0_EXPR=1 +: unexpected token EOF, 1:3"}},
		{RuleConfig{Expr: strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2096)},
			[]string{"TRANSFORM_0_EXPR=" + strings.Repeat("(", 120) + "...: has 4097 bytes; programs have at most 4096"}},
		{RuleConfig{Expr: "1", JQ: "."}, []string{"TRANSFORM_0_EXPR=1: there is TRANSFORM_0_JQ too; a rule has one of JQ EXPR CEL TEMPLATE"}},
		{RuleConfig{Topic: "order"}, []string{"TRANSFORM_0_TOPIC=order: neither a topic of KAFKA_TOPICS_ALLOWED (events, orders, errors-2) nor an expr: unknown name order, 1:1"}},
		{RuleConfig{Topic: `"order"`}, []string{`TRANSFORM_0_TOPIC="order": the topic order is not one of KAFKA_TOPICS_ALLOWED (events, orders, errors-2)`}},
		{RuleConfig{Topic: `type ==`}, []string{"TRANSFORM_0_TOPIC=type ==: unexpected token EOF"}},
		{RuleConfig{Topic: "orders", OnError: "ignore"}, []string{"TRANSFORM_0_ON_ERROR=ignore: reject, pass, drop or dead_letter"}},
		{RuleConfig{Topic: "orders", OnError: DeadLetter}, []string{"TRANSFORM_0_ON_ERROR=dead_letter: there are no dead letters; set KAFKA_DLQ_TOPIC"}},
		{RuleConfig{Set: "id=1"}, []string{"TRANSFORM_0_SET=id=1: name=expr is wanted, the name one of type, source", ", 1:1"}},
		{RuleConfig{Set: `type="a"; type=id`}, []string{"type is set twice, 1:11"}},
		{RuleConfig{Set: `type="a"; subject=`}, []string{"subject has no value, 1:18"}},
		{RuleConfig{Set: "type=\"a\"\n ; subject=idd"}, []string{"unknown name idd, 2:12"}},
		{RuleConfig{Set: `type=let x = 1; string(x)`}, []string{"unexpected token EOF, 1:14"}},
		{RuleConfig{Set: `subject=(let x = 1; x); metadata["a=;b"]="=;"`}, nil},
		{RuleConfig{Set: `metadata["ä"]=id`}, []string{`the metadata name is "ä"; only printable ASCII is allowed, 1:1`}},
		{RuleConfig{Set: `metadata[""]=id`}, []string{"the metadata name has 0 bytes; 1 to 128 are allowed"}},
		{RuleConfig{Set: `metadata=id`}, []string{"name=expr is wanted"}},
		{RuleConfig{Set: `type="`}, []string{"literal not terminated"}},
		{RuleConfig{Set: ` ;; `}, []string{"has no name=expr"}},
	} {
		_, problems := Compile(Config{Rules: []RuleConfig{c.rule}, Timeout: time.Second}, Options{Topics: someTopics, MaxEventBytes: 1000})
		if len(c.want) == 0 {
			if len(problems) > 0 {
				t.Errorf("%+v: %v", c.rule, problems)
			}
			continue
		}
		if len(problems) != 1 {
			t.Errorf("%+v: %v, want %q", c.rule, problems, c.want)
			continue
		}
		got := problems[0].Error()
		for _, part := range c.want {
			if !strings.Contains(got, part) || strings.Contains(got, "\n") || len(got) > 400 {
				t.Errorf("%+v:\n%s, want %q", c.rule, got, part)
			}
		}
	}
}

// All problems of all rules are told together.
func TestAllProblems(t *testing.T) {
	_, problems := Compile(Config{Rules: []RuleConfig{{Filter: "x", Set: "x", OnError: "x"}, {Topic: "x"}}}, Options{Topics: someTopics})
	if len(problems) != 5 || !strings.Contains(problems[4].Error(), "TRANSFORM_1_TOPIC") {
		t.Errorf("got %d: %v", len(problems), problems)
	}
}

func TestEnvironmentFillsRules(t *testing.T) {
	var cfg Config
	err := caarlos.ParseWithOptions(&cfg, caarlos.Options{Environment: map[string]string{
		"TRANSFORM_0_MATCH": "true", "TRANSFORM_0_JQ": ".", "TRANSFORM_1_TOPIC": "orders", "TRANSFORM_1_ON_ERROR": "drop"}})
	want := []RuleConfig{{Match: "true", JQ: ".", OnError: Reject}, {Topic: "orders", OnError: Drop}}
	if err != nil || !reflect.DeepEqual(cfg.Rules, want) || cfg.Timeout != 50*time.Millisecond {
		t.Errorf("got %+v (%v)", cfg, err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		names, want []string
	}{
		{[]string{"TRANSFORM_0_JQ", "TRANSFORM_1_FILTER", "TRANSFORM_10_SET", "TRANSFORM_2_SET", "TRANSFORM_TIMEOUT", "JQ"},
			[]string{"TRANSFORM_10_SET: there is no TRANSFORM_3; rules are numbered from 0 without a gap"}},
		{[]string{"TRANSFORM_1_JQ"}, []string{"TRANSFORM_1_JQ: there is no TRANSFORM_0; rules are numbered from 0 without a gap"}},
		{[]string{"TRANSFORM_0_JQQ"}, []string{"TRANSFORM_0_JQQ: rules have no JQQ, only MATCH FILTER JQ EXPR CEL TEMPLATE SET TOPIC ON_ERROR; did you mean JQ?"}},
		{[]string{"TRANSFORM_0_ONERROR"}, []string{"did you mean ON_ERROR?"}},
		{[]string{"TRANSFORM_0_"}, []string{"rules have no , only"}},
		{[]string{"TRANSFORM_00_JQ"}, []string{"TRANSFORM_00_JQ: rules are TRANSFORM_<number>_<name>, numbered from 0"}},
		{[]string{"TRANSFORM_-1_JQ"}, []string{"numbered from 0"}},
		{[]string{"TRANSFORM_TIMEOT"}, []string{"did you mean TIMEOUT?"}},
		{[]string{"TRANSFORM_JQ"}, []string{"numbered from 0"}},
		{[]string{"TRANSFORM_0_JQ", "TRANSFORM_1_SET"}, nil},
	} {
		environ := map[string]string{}
		for _, name := range c.names {
			environ[name] = "x"
		}
		problems := CheckNames(environ)
		if len(problems) != len(c.want) {
			t.Errorf("%v: %v, want %v", c.names, problems, c.want)
			continue
		}
		for i, part := range c.want {
			if !strings.Contains(problems[i].Error(), part) {
				t.Errorf("%v: %v, want %s", c.names, problems[i], part)
			}
		}
	}
}
