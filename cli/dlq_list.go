package cli

// gateway dlq list: one line a letter, for people and for programs.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/event-gateway/event-gateway/kafka"
)

type dlqListCommand struct {
	letterFilter
	Limit int `group:"letters" placeholder:"N" help:"Only the newest N of them."`

	Summary bool `group:"gateway" help:"Print only how many there are, by reason."`
	JSON    bool `group:"gateway" name:"json" help:"Print JSON lines, also on a terminal."`
	Table   bool `group:"gateway" help:"Print the table, also in a pipe."`

	letterPlace
	Timeout time.Duration `group:"kafka" default:"10s" placeholder:"TIME" help:"Give up when Kafka does not answer for TIME (default ${default})."`
}

func (dlqListCommand) Help() string {
	return `Lists the letters that the topic holds, the newest last, and counts them by reason on stderr. On a terminal it is a table, in a pipe one JSON object a line. Characters that would disturb a terminal are shown as ?.

Exit codes: 0 listed, also when there are none; 1 Kafka or the topic cannot be read; 2 wrong usage.

Examples:
  gateway dlq list
  gateway dlq list --reason SCHEMA_VIOLATION --type 'order.*' --since 2h
  gateway dlq list --summary
  gateway dlq list --json | jq -r 'select(.client == "10.0.0.7") | .id'`
}

// Validate is called by kong after parsing.
func (c *dlqListCommand) Validate() error {
	switch {
	case c.Limit < 0:
		return fmt.Errorf("--limit=%d: more than 0", c.Limit)
	case c.JSON && c.Table:
		return fmt.Errorf("--json and --table exclude each other")
	case c.Timeout < minTimeout:
		return fmt.Errorf("--timeout=%v: %v or more", c.Timeout, minTimeout)
	}
	return nil
}

// Run lists.
func (c *dlqListCommand) Run(p *Program) error {
	ctx := context.Background()
	letters, err := c.open(ctx, p, c.Timeout)
	if err != nil {
		return err
	}
	defer letters.Close()
	spans, err := c.spans(ctx, letters)
	if err != nil {
		return err
	}
	asJSON := c.JSON || !c.Table && !isTerminal(p.Stdout)
	counts := newLetterCounts()
	out := rowPrinter(p.Stdout, asJSON)
	newest := []letterRow{} // with --limit: at most twice as many
	err = letters.Read(ctx, spans, func(l kafka.Letter, problem error) error {
		if !c.matches(&l, problem != nil) {
			return nil
		}
		counts.add(&l, problem != nil)
		switch {
		case c.Summary:
		case c.Limit > 0:
			if newest = append(newest, rowOf(&l, problem)); len(newest) >= 2*c.Limit {
				newest = append(newest[:0], newest[len(newest)-c.Limit:]...)
			}
		default:
			return out.print(rowOf(&l, problem))
		}
		return nil
	})
	for i := max(0, len(newest)-c.Limit); i < len(newest) && err == nil; i++ {
		err = out.print(newest[i])
	}
	if flushed := out.flush(); err == nil {
		err = flushed
	}
	if err != nil {
		return failed("%v", err)
	}
	if !c.Summary {
		return counts.writeText(p.Stderr)
	}
	if asJSON {
		return json.NewEncoder(p.Stdout).Encode(counts)
	}
	return counts.writeText(p.Stdout)
}

// letterRow is what a list says about a letter.
type letterRow struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Received  time.Time `json:"received"`
	Reason    string    `json:"reason,omitempty"`
	Stage     string    `json:"stage,omitempty"`
	Message   string    `json:"message,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	ID        string    `json:"id,omitempty"`
	Type      string    `json:"type,omitempty"`
	Source    string    `json:"source,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	// Key is text; KeyBytes is there instead when it is none.
	Key      string `json:"key,omitempty"`
	KeyBytes []byte `json:"key_base64,omitempty"`
	Client   string `json:"client,omitempty"`
	Topic    string `json:"topic,omitempty"`
	// Size is that of the event as it was sent, in bytes.
	Size int `json:"size"`
	// Error says why the record is no dead letter.
	Error string `json:"error,omitempty"`
}

// rowOf keeps nothing of the letter's bytes.
func rowOf(l *kafka.Letter, problem error) letterRow {
	row := letterRow{Partition: l.Partition, Offset: l.Offset, Time: l.Time.UTC(), Received: l.Received.UTC(), Reason: l.Reason,
		Stage: l.Stage, Message: l.Message, Rule: l.Rule, ID: l.ID, Client: l.Client, Topic: l.Topic, Size: len(l.Raw),
		Type: l.Event.GetType(), Source: l.Event.GetSource(), Subject: l.Event.GetSubject()}
	if utf8.Valid(l.Key) {
		row.Key = string(l.Key)
	} else {
		row.KeyBytes = slices.Clone(l.Key)
	}
	if problem != nil {
		row.Error = problem.Error()
	}
	return row
}

// rows prints letters.
type rows interface {
	print(row letterRow) error
	flush() error
}

func rowPrinter(w io.Writer, asJSON bool) rows {
	if asJSON {
		return jsonRows{jsonEncoder(w)}
	}
	return &tableRows{tab: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

type jsonRows struct{ encoder *json.Encoder }

func (j jsonRows) print(row letterRow) error { return j.encoder.Encode(row) }
func (jsonRows) flush() error                { return nil }

// tableRows is a table whose columns are as wide as a block of rows needs.
type tableRows struct {
	tab  *tabwriter.Writer
	rows int
}

// tableBlock is how many rows share the widths of their columns: what waits for that is bounded.
const tableBlock = 500

func (t *tableRows) print(row letterRow) error {
	if t.rows%tableBlock == 0 {
		if err := t.tab.Flush(); err != nil {
			return err
		}
	}
	if t.rows == 0 {
		say(t.tab, "LETTER\tTIME\tREASON\tSTAGE\tRULE\tTYPE\tID\tKEY\tCLIENT\tMESSAGE\n")
	}
	t.rows++
	key, message := row.Key, row.Message
	if row.KeyBytes != nil {
		key = fmt.Sprintf("%x", row.KeyBytes)
	}
	if row.Error != "" {
		message = "no dead letter"
	}
	_, err := fmt.Fprintf(t.tab, "%d/%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Partition, row.Offset,
		row.Time.Format("2006-01-02T15:04:05.000Z"), cell(row.Reason, 40), cell(row.Stage, 12), cell(row.Rule, 24), cell(row.Type, 40),
		cell(row.ID, 36), cell(key, 36), cell(row.Client, 40), cell(message, 120))
	return err
}

func (t *tableRows) flush() error { return t.tab.Flush() }

// cell is a text from outside as it may stand in a table: on one line, at most n characters, and harmless to a
// terminal.
func cell(s string, n int) string {
	if s == "" {
		return "-"
	}
	s = printable(s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-3]) + "..."
}

// printable replaces what is not printed but obeyed, such as escape sequences and changes of direction.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// jsonEncoder writes JSON that is harmless to a terminal when w is one.
func jsonEncoder(w io.Writer) *json.Encoder {
	if isTerminal(w) {
		w = escaper{w}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}

// escaper writes JSON with what a terminal would obey as \u escapes: outside of strings there is none of it. Each
// Write must be a whole value.
type escaper struct{ io.Writer }

func (e escaper) Write(value []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(value) {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", high, low)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	if _, err := io.WriteString(e.Writer, b.String()); err != nil {
		return 0, err
	}
	return len(value), nil
}

// letterCounts counts letters by reason.
type letterCounts struct {
	Letters int64            `json:"letters"`
	Reasons map[string]int64 `json:"reasons"`
	// Others are records that are no dead letters.
	Others int64 `json:"others"`
}

func newLetterCounts() *letterCounts { return &letterCounts{Reasons: map[string]int64{}} }

// maxReasons bounds what others can make us count: the gateway itself has far fewer reasons.
const maxReasons = 100

func (c *letterCounts) add(l *kafka.Letter, foreign bool) {
	if foreign {
		c.Others++
		return
	}
	c.Letters++
	reason := cell(l.Reason, 40)
	if _, known := c.Reasons[reason]; !known && len(c.Reasons) >= maxReasons {
		reason = "(other)"
	}
	c.Reasons[reason]++
}

func (c *letterCounts) writeText(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say(tab, "dead letters\t%15s\n", grouped(c.Letters))
	for _, reason := range slices.Sorted(maps.Keys(c.Reasons)) {
		say(tab, "  %s\t%15s\n", reason, grouped(c.Reasons[reason]))
	}
	if c.Others > 0 {
		say(tab, "other records\t%15s\n", grouped(c.Others))
	}
	return tab.Flush()
}
