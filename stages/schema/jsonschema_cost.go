package schema

// How much work a JSON Schema is for a value of data. Validators try all
// alternatives, so ten lines of definitions that use each other twice are a
// thousand visits of one value, and recursion through two alternatives doubles
// with each level of the data. What may get expensive is checked step by step.

import (
	"math"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// costs walks a compiled schema: Tarjan's strongly connected components, which come out with what they lead to
// first.
type costs struct {
	index, low map[*jsonschema.Schema]int
	// component is set once a schema's component is complete; until then it is on the stack.
	component map[*jsonschema.Schema]int
	stack     []*jsonschema.Schema
	// cost and cyclic are by component: how often one value of data is visited at most, and whether recursion
	// is within it or behind it.
	cost   []float64
	cyclic []bool
}

// visits is how often one value of data is visited at most, through s; infinite when that depends on the data.
func visits(s *jsonschema.Schema) float64 {
	c := &costs{index: map[*jsonschema.Schema]int{}, low: map[*jsonschema.Schema]int{}, component: map[*jsonschema.Schema]int{}}
	c.visit(s)
	return c.cost[c.component[s]]
}

func (c *costs) visit(s *jsonschema.Schema) {
	c.index[s], c.low[s] = len(c.index), len(c.index)
	c.stack = append(c.stack, s)
	for _, group := range uses(s) {
		for _, other := range group {
			if _, seen := c.index[other]; !seen {
				c.visit(other)
				c.low[s] = min(c.low[s], c.low[other])
			} else if _, complete := c.component[other]; !complete {
				c.low[s] = min(c.low[s], c.index[other])
			}
		}
	}
	if c.low[s] < c.index[s] {
		return
	}
	from := len(c.stack) - 1
	for c.stack[from] != s {
		from--
	}
	members := c.stack[from:]
	c.stack = c.stack[:from:from]
	c.complete(members)
}

// complete weighs a component. Every member counts, and what its groups lead to outside. Within, a value may be
// led on to the component only once: otherwise visits double with each level of the data, and so they may when
// recursion leads to other recursion.
func (c *costs) complete(members []*jsonschema.Schema) {
	this := len(c.cost)
	for _, s := range members {
		c.component[s] = this
	}
	cost, cyclic, behind := 0.0, false, false
	for _, s := range members {
		cost++
		within := 0
		for _, group := range uses(s) {
			most, inside := 0.0, false
			for _, other := range group {
				if at := c.component[other]; at == this {
					inside = true
				} else {
					most = max(most, c.cost[at])
					behind = behind || c.cyclic[at]
				}
			}
			cost += most
			if inside {
				within++
			}
		}
		cyclic = cyclic || within > 0
		if within > 1 {
			cost = math.Inf(1)
		}
	}
	if cyclic && behind {
		cost = math.Inf(1)
	}
	c.cost = append(c.cost, cost)
	c.cyclic = append(c.cyclic, cyclic || behind)
}

// uses are the schemas that a schema holds a value or its members against, in groups of which one value meets at
// most one schema each.
func uses(s *jsonschema.Schema) (groups [][]*jsonschema.Schema) {
	add := func(group ...*jsonschema.Schema) {
		kept := group[:0]
		for _, other := range group {
			if other != nil {
				kept = append(kept, other)
			}
		}
		if len(kept) > 0 {
			groups = append(groups, kept)
		}
	}
	for _, all := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf, {s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else,
		s.PropertyNames, s.Contains, s.ContentSchema, s.UnevaluatedProperties, s.UnevaluatedItems}} {
		for _, other := range all {
			add(other)
		}
	}
	if s.DynamicRef != nil {
		add(s.DynamicRef.Ref)
	}
	for _, other := range s.DependentSchemas {
		add(other)
	}
	for _, dependency := range s.Dependencies {
		if other, ok := dependency.(*jsonschema.Schema); ok {
			add(other)
		}
	}
	for _, other := range s.PatternProperties {
		add(other)
	}
	var members []*jsonschema.Schema
	for _, other := range s.Properties {
		members = append(members, other)
	}
	add(append(members, oneSchema(s.AdditionalProperties))...)
	items, _ := s.Items.([]*jsonschema.Schema)
	add(append(append(append([]*jsonschema.Schema{oneSchema(s.Items), oneSchema(s.AdditionalItems), s.Items2020}, items...), s.PrefixItems...), nil)...)
	return groups
}

// oneSchema is v if that is a schema: the library has some keywords as any.
func oneSchema(v any) *jsonschema.Schema {
	s, _ := v.(*jsonschema.Schema)
	return s
}
