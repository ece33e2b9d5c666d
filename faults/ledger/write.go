package ledger

// The ledger as text, for a person who looks for the cause of a violation.

import (
	"bufio"
	"fmt"
	"io"
)

// Write writes one line for each sending. Use it when nobody sends any more.
func (l *Ledger) Write(to io.Writer) error {
	out := bufio.NewWriter(to)
	fmt.Fprintf(out, "# seed %d\n# id\tmethod\tkey\tattempt\tstream\torder\toutcome\tposition\n", l.Seed)
	for _, p := range l.Producers() {
		p.mu.Lock()
		for seq := range p.events {
			e, attempt := &p.events[seq], 0
			e.each(func(s *sending) {
				fmt.Fprintf(out, "%s\t%v\t%s\t%d\t%d\t%d\t%v\t%v\n", p.ID(seq), p.Method, p.keyName(e.key), attempt, s.stream,
					s.order, s.outcome, Position{s.partition, s.offset})
				attempt++
			})
		}
		p.mu.Unlock()
	}
	return out.Flush()
}
