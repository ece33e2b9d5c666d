package main

// What is missing or broken: collected, so that one bad file does not keep the others from being drawn.

import (
	"fmt"
	"slices"
)

// problems are sentences for a person. Each begins with the file and ends with what to do.
type problems struct{ list []string }

// addf notes a problem once.
func (p *problems) addf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(p.list, text) {
		p.list = append(p.list, text)
	}
}
