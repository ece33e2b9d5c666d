package transform

// del of quick jq programs: an update whose values go.

import "github.com/itchyny/gojq"

// delete is del(path), or del(path, path) of names.
func (c *jqCompiler) delete(q *gojq.Query) jqStep {
	leaf := func(*jqRun, any) (any, bool, error) { return gone{}, true, nil }
	if q.Term != nil || q.Op != gojq.OpComma {
		hops := c.path(q)
		if len(hops) == 0 {
			return c.unknown().one
		}
		return changeJQ(chainJQ(hops, leaf, true))
	}
	var paths []jqStep
	var deletions []jqStep
	for _, path := range commas(q, nil) {
		hops := c.path(path)
		if len(hops) == 0 {
			return c.unknown().one
		}
		look := jqStep(identityJQ)
		for _, hop := range hops {
			if hop.kind != hopMember { // the elements that are left move
				return c.unknown().one
			}
			look = afterJQ(look, memberJQ(hop.name))
		}
		paths, deletions = append(paths, look), append(deletions, changeJQ(chainJQ(hops, leaf, true)))
	}
	return func(r *jqRun, in any) (v any, err error) {
		for _, look := range paths { // all of them are paths of the input
			if _, err = look(r, in); err != nil {
				return nil, err
			}
		}
		v = in
		for _, d := range deletions {
			if v, err = d(r, v); err != nil {
				return nil, err
			}
		}
		return v, nil
	}
}

// commas are the queries between commas.
func commas(q *gojq.Query, before []*gojq.Query) []*gojq.Query {
	if q.Term == nil && q.Op == gojq.OpComma && len(q.FuncDefs) == 0 {
		return commas(q.Right, commas(q.Left, before))
	}
	return append(before, q)
}
