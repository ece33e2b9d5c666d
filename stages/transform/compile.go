package transform

// Rules from their configuration: everything that can be wrong with them is found
// here, at start, and told with its variable, position and reason.

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/event-gateway/event-gateway/stages"
)

// Options is what rules need to know of the rest of the gateway.
type Options struct {
	// Topics are the names that rules may route to: KAFKA_TOPIC and KAFKA_TOPICS_ALLOWED.
	Topics []string
	// MaxEventBytes bounds new data.
	MaxEventBytes int
	// DeadLetters: ON_ERROR=dead_letter is possible, since KAFKA_DLQ_TOPIC is set and DLQ_ON has transform.
	DeadLetters bool
	// Hostname is what rules see as gateway when GATEWAY_INSTANCE is empty.
	Hostname string
}

// Rules are the compiled rules, shared by all workers. Safe for concurrent use.
type Rules struct {
	rules   []*rule
	limits  limits
	gateway string
	topics  []string

	mu      sync.Mutex // guards the following
	workers []*Worker
}

// rule is one compiled rule.
type rule struct {
	name string // TRANSFORM_0
	// match and filter may be nil.
	match, filter *condition
	// language is the variable of data's program.
	language string
	data     program
	set      []assignment
	route    *route
	onError  OnError
	// timed: it runs programs, so its time is worth measuring every time.
	timed bool
}

// route is TOPIC: a name, or a program that gives one.
type route struct {
	name    string
	program *exprProgram
}

// Len is the number of rules.
func (r *Rules) Len() int { return len(r.rules) }

// Compile compiles the rules. The problems are all that there are, one line each.
func Compile(cfg Config, o Options) (*Rules, []error) {
	rules := &Rules{limits: limits{output: o.MaxEventBytes, timeout: cfg.Timeout}, gateway: cfg.Instance, topics: o.Topics}
	if rules.gateway == "" {
		rules.gateway = o.Hostname
	}
	var problems []error
	if cfg.Timeout <= 0 {
		problems = append(problems, fmt.Errorf("TRANSFORM_TIMEOUT=%v: more than 0s", cfg.Timeout))
	}
	for i := range cfg.Rules {
		c := compiler{rules: rules, options: o, rule: &rule{name: "TRANSFORM_" + strconv.Itoa(i)}}
		c.compile(&cfg.Rules[i])
		problems = append(problems, c.problems...)
		rules.rules = append(rules.rules, c.rule)
	}
	return rules, problems
}

// compiler compiles one rule.
type compiler struct {
	rules    *Rules
	options  Options
	rule     *rule
	problems []error
}

func (c *compiler) compile(cfg *RuleConfig) {
	r := c.rule
	c.part("MATCH", cfg.Match, func() (err error) {
		r.match, err = compileCondition(cfg.Match, c.rules.gateway)
		if err == nil && r.match.program.uses&usesData != 0 {
			err = errors.New("looks at data; that is for FILTER: MATCH is asked about every event and sees attributes only")
		}
		return err
	})
	c.part("FILTER", cfg.Filter, func() (err error) {
		r.filter, err = compileCondition(cfg.Filter, c.rules.gateway)
		return err
	})
	c.data(cfg)
	c.part("SET", cfg.Set, func() (err error) {
		r.set, err = compileSet(cfg.Set, c.rules.gateway)
		return err
	})
	c.part("TOPIC", cfg.Topic, func() (err error) {
		r.route, err = compileRoute(cfg.Topic, c.rules.gateway, c.options.Topics)
		return err
	})
	c.onError(cfg.OnError)
	if cfg.Filter == "" && r.language == "" && cfg.Set == "" && cfg.Topic == "" {
		c.problems = append(c.problems, fmt.Errorf("%s: does nothing; set FILTER, one of %s, SET or TOPIC",
			r.name, strings.Join(languages(), " ")))
	}
	r.timed = r.data != nil || len(r.programs()) > 0
}

// slow reports whether the condition runs on expr's machine.
func (c *condition) slow() bool { return c != nil && c.quick == nil }

// part compiles the value of one variable, unless it is empty.
func (c *compiler) part(variable, source string, compile func() error) {
	if source == "" {
		return
	}
	err := fmt.Errorf("has %d bytes; programs have at most %d", len(source), maxSource)
	if len(source) <= maxSource {
		err = compile()
	}
	if err != nil {
		c.problems = append(c.problems, fmt.Errorf("%s_%s=%s: %w", c.rule.name, variable, oneLine(source), err))
	}
}

// data compiles the one program that makes new data.
func (c *compiler) data(cfg *RuleConfig) {
	sources := map[string]string{"JQ": cfg.JQ, "EXPR": cfg.Expr, "CEL": cfg.CEL, "TEMPLATE": cfg.Template}
	for _, language := range languages() {
		if sources[language] == "" {
			continue
		}
		if c.rule.language != "" {
			c.problems = append(c.problems, fmt.Errorf("%s_%s=%s: there is %s_%s too; a rule has one of %s",
				c.rule.name, language, oneLine(sources[language]), c.rule.name, c.rule.language, strings.Join(languages(), " ")))
			continue
		}
		c.rule.language = language
		c.part(language, sources[language], func() (err error) {
			engine, ok := engines[language]
			if !ok {
				return errors.New("not in this version")
			}
			c.rule.data, err = engine.compile(sources[language], c.rules.limits)
			return err
		})
	}
}

func languages() []string { return []string{"JQ", "EXPR", "CEL", "TEMPLATE"} }

func (c *compiler) onError(on OnError) {
	switch on {
	case "":
		on = Reject
	case Reject, Pass, Drop:
	case DeadLetter:
		if !c.options.DeadLetters {
			c.problems = append(c.problems, fmt.Errorf("%s_ON_ERROR=%s: there are no dead letters; set KAFKA_DLQ_TOPIC, and transform in DLQ_ON",
				c.rule.name, on))
		}
	default:
		c.problems = append(c.problems, fmt.Errorf("%s_ON_ERROR=%s: reject, pass, drop or dead_letter", c.rule.name, oneLine(string(on))))
	}
	c.rule.onError = on
}

// topicCharacters are those of Kafka's topic names; what has others is an expr.
const topicCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// compileRoute: the name of an allowed topic is meant as such, also when it would be a program too.
func compileRoute(source, gateway string, topics []string) (*route, error) {
	if slices.Contains(topics, source) {
		return &route{name: source}, nil
	}
	p, err := compileText(source, gateway)
	if err != nil && strings.Trim(source, topicCharacters) == "" {
		return nil, fmt.Errorf("neither a topic of KAFKA_TOPICS_ALLOWED (%s) nor an expr: %w", strings.Join(topics, ", "), err)
	}
	if err != nil {
		return nil, err
	}
	if name, ok := constantText(p); ok && !slices.Contains(topics, name) {
		return nil, fmt.Errorf("the topic %s is not one of KAFKA_TOPICS_ALLOWED (%s)", oneLine(name), strings.Join(topics, ", "))
	}
	return &route{program: p}, nil
}

// oneLine is a value for one line of an error: short, and without what would end the line.
func oneLine(value string) string {
	const longest = 120
	if len(value) > longest {
		cut := longest
		for cut > 0 && value[cut]&0xc0 == 0x80 { // not within a character
			cut--
		}
		value = value[:cut] + "..."
	}
	if quoted := strconv.Quote(value); len(quoted) != len(value)+2+strings.Count(value, `"`)+strings.Count(value, `\`) {
		return quoted
	}
	return value
}

// want is what the rules' programs look at of data.
func (r *Rules) want() *wanted {
	all := nothing()
	for _, rule := range r.rules {
		if rule.data != nil {
			selective, ok := rule.data.(interface{ want() *wanted })
			if !ok {
				return nil
			}
			all = all.both(selective.want())
		}
		for _, p := range rule.programs() {
			all = all.both(p.wants)
		}
	}
	return all
}

// programs are those that run on expr's machine, beside the one for data.
func (r *rule) programs() (all []*exprProgram) {
	for _, c := range []*condition{r.match, r.filter} {
		if c.slow() {
			all = append(all, c.program)
		}
	}
	for i := range r.set {
		if p := r.set[i].program; p != nil && p.quick == nil {
			all = append(all, p)
		}
	}
	if r.route != nil && r.route.program != nil && r.route.program.quick == nil {
		all = append(all, r.route.program)
	}
	return all
}

// NewWorker returns what one worker of the transform stage runs the rules with. topics has all of Options.Topics.
func (r *Rules) NewWorker(topics *stages.Topics, memory stages.Memory) *Worker {
	w := r.NewTrial(topics, memory)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers = append(r.workers, w)
	return w
}

// NewTrial is NewWorker for a dry run, which the metrics do not count.
func (r *Rules) NewTrial(topics *stages.Topics, memory stages.Memory) *Worker {
	w := &Worker{memory: memory, limits: r.limits, topics: make(map[string]*stages.Topic, len(r.topics))}
	for _, name := range r.topics {
		if w.topics[name] = topics.Named(name); w.topics[name] == nil {
			panic("BUG: the topic " + name + " is allowed to rules and not in the table")
		}
	}
	w.env.gateway = r.gateway
	w.env.want = r.want()
	w.env.timeout = r.limits.timeout
	w.evaluator.timeout = r.limits.timeout
	for _, rule := range r.rules {
		bound := workerRule{rule: rule, counts: &counts{}}
		if rule.data != nil {
			bound.run = rule.data.newRun()
		}
		if rule.route != nil && rule.route.program == nil {
			bound.to = w.topics[rule.route.name]
		}
		bound.values = make([]string, len(rule.set))
		w.rules = append(w.rules, bound)
	}
	return w
}
