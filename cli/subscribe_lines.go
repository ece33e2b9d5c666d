package cli

// How events are printed: for programs the JSON that publish reads, for people
// a line that fits the terminal.

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
	"golang.org/x/text/width"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// eventPrinter prints events into a buffer; flush empties it.
type eventPrinter interface {
	print(event *eventv1.Event) error
	flush() error
}

// printBuffer is what one write gives to a pipe at most; Linux's pipes hold as much.
const printBuffer = 64 << 10

// newEventPrinter prints as the output and the flags say.
func newEventPrinter(w io.Writer, asJSON, asText bool) eventPrinter {
	onTerminal := isTerminal(w)
	buffer := bufio.NewWriterSize(w, printBuffer)
	if asJSON || !asText && !onTerminal {
		return newJSONEvents(buffer, onTerminal)
	}
	return &textEvents{buffer: buffer, columns: func() int { return columnsOf(w) }, now: time.Now,
		colour: onTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// jsonEvents prints JSON lines.
type jsonEvents struct {
	buffer  *bufio.Writer
	encoder *json.Encoder
}

func newJSONEvents(buffer *bufio.Writer, onTerminal bool) *jsonEvents {
	var w io.Writer = buffer
	if onTerminal {
		w = escaper{buffer}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // data is printed as it was sent
	return &jsonEvents{buffer, encoder}
}

func (j *jsonEvents) print(event *eventv1.Event) error { return j.encoder.Encode(shownEventOf(event)) }
func (j *jsonEvents) flush() error                     { return j.buffer.Flush() }

// defaultColumns is the width when the output is no terminal, or does not know.
const defaultColumns = 160

// columnsOf is the width of a terminal. It is asked for each event, so that it follows the window.
func columnsOf(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return defaultColumns
}

// textEvents prints lines for people: time, type, source, subject, id and the beginning of the data.
type textEvents struct {
	buffer  *bufio.Writer
	columns func() int
	now     func() time.Time
	colour  bool
	// widths of the columns are those of the widest value so far, within bounds: a column that becomes narrower
	// again is harder to read than one that is too wide.
	widths [4]int
}

// maxWidths are the most that type, source, subject and id take; an id of 36 is a UUID.
var maxWidths = [4]int{32, 28, 20, 36}

// minData is the least that is shown of data, even if the line is wrapped for it.
const minData = 24

// The colours, as a terminal takes them.
const (
	colourOff  = "\x1b[0m"
	colourDim  = "\x1b[2m"
	colourType = "\x1b[36m"
)

// columnColours are those of type, source, subject and id.
var columnColours = [4]string{colourType, "", "", colourDim}

func (t *textEvents) print(event *eventv1.Event) error {
	at := t.time(event)
	used := len(at)
	line := t.paint(colourDim, at)
	for i, value := range [4]string{event.Type, event.Source, event.Subject, event.Id} {
		value = cell(value, maxWidths[i])
		taken := cellsOf(value)
		t.widths[i] = max(t.widths[i], taken)
		line += "  " + t.paint(columnColours[i], value) + strings.Repeat(" ", t.widths[i]-taken)
		used += 2 + t.widths[i]
	}
	if data := shownData(event.Data, max(t.columns()-used-2, minData)); data != "" {
		line += "  " + data
	}
	_, err := t.buffer.WriteString(strings.TrimRight(line, " ") + "\n")
	return err
}

func (t *textEvents) flush() error { return t.buffer.Flush() }

func (t *textEvents) paint(colour, text string) string {
	if !t.colour || colour == "" {
		return text
	}
	return colour + text + colourOff
}

// time is when the event happened, in local time; the day only when it is not today.
func (t *textEvents) time(event *eventv1.Event) string {
	if event.Timestamp == nil {
		return "-           "
	}
	at, today := event.Timestamp.AsTime().Local(), t.now().Local()
	if at.Year() == today.Year() && at.YearDay() == today.YearDay() {
		return at.Format("15:04:05.000")
	}
	return at.Format("2006-01-02 15:04:05.000")
}

// shownData is the beginning of data as text that is at most n cells wide.
func shownData(data []byte, n int) string {
	if len(data) == 0 {
		return ""
	}
	// A character has at most 4 bytes and is at least a cell wide, but for those that combine.
	head := data[:min(len(data), 8*n)]
	for len(head) < len(data) && len(head) > 0 && data[len(head)]&0xc0 == 0x80 {
		head = head[:len(head)-1] // not in the middle of a character
	}
	if !isText(head) {
		return fmt.Sprintf("(%s bytes)", grouped(int64(len(data))))
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		return r
	}, string(head))
	return cut(printable(text), n, len(head) < len(data))
}

// cut shortens a text to n cells; more says that there is more of it.
func cut(text string, n int, more bool) string {
	if !more && cellsOf(text) <= n {
		return text
	}
	taken := 0
	for i, r := range text {
		if taken += runeCells(r); taken > n-3 {
			return text[:i] + "..."
		}
	}
	return text + "..."
}

func cellsOf(text string) int {
	n := 0
	for _, r := range text {
		n += runeCells(r)
	}
	return n
}

// runeCells is how many cells of a terminal a character takes.
func runeCells(r rune) int {
	switch {
	case r < 0x300: // what most text is
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
