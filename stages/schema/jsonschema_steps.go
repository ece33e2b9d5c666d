package schema

// Checking step by step: a copy of the schema that counts visits and stops. The
// library has no way to stop it, but it asks each schema's format first. The
// count is the copy's, so one event at a time uses it; only events that may take
// more than maxVisits ever do.

import (
	"errors"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// maxVisits bounds how many schemas an event's values are held against, all together: a microsecond each, and up
// to five where the data is nested deeply and wrong.
const maxVisits = 200_000

// errTooManyVisits stops the library.
var errTooManyVisits = fmt.Errorf("takes more than %d steps to hold against the schema", maxVisits)

// counting is the copy, made when it is first needed.
type counting struct {
	compile func(*patterns) (*jsonschema.Schema, error)

	mu     sync.Mutex
	schema *jsonschema.Schema
	left   int
}

// validate is Schema.Validate, which may end with errTooManyVisits.
func (c *counting) validate(v any) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = maxVisits
	if c.schema == nil {
		p := newPatterns()
		p.spend = c.spend
		if c.schema, err = c.compile(p); err != nil {
			return err // never seen: it was compiled before
		}
		c.count(c.schema, map[*jsonschema.Schema]bool{})
	}
	defer func() {
		if p := recover(); p != nil {
			if thrown, ok := p.(error); !ok || !errors.Is(thrown, errTooManyVisits) {
				panic(p)
			}
			err = errTooManyVisits
		}
	}()
	return c.schema.Validate(v)
}

func (c *counting) spend(visits int) {
	if c.left -= visits; c.left < 0 {
		panic(errTooManyVisits)
	}
}

// count has all schemas that s leads to count their visits.
func (c *counting) count(s *jsonschema.Schema, seen map[*jsonschema.Schema]bool) {
	if seen[s] {
		return
	}
	seen[s] = true
	format := jsonschema.Format{Name: "any", Validate: func(any) error { return nil }}
	if s.Format != nil {
		format = *s.Format
	}
	check := format.Validate
	format.Validate = func(v any) error {
		c.spend(1)
		return check(v)
	}
	s.Format = &format
	for _, group := range uses(s) {
		for _, other := range group {
			c.count(other, seen)
		}
	}
}
