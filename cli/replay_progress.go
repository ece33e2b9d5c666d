package cli

// The progress of a replay on stderr: a bar that is written over on a terminal, a
// line each ten seconds elsewhere, and the totals.

import (
	"fmt"
	"io"
	"strings"
	"time"
)

const (
	barPeriod  = 200 * time.Millisecond
	linePeriod = 10 * time.Second
	// barCells is the length of the bar.
	barCells = 20
)

// replayBar belongs to the replay's goroutine.
type replayBar struct {
	w io.Writer
	// live: w is a terminal, and the bar is written over. shared: the events go to a terminal, too.
	live, shared bool
	republish    bool
	from, to     time.Time
	// drawn: the bar is on the screen.
	drawn bool
	// rate is the events a second of the last second or more, which began at since with matched events.
	rate    float64
	since   time.Time
	matched int64
	// older and newer are when the replay was where, at least paceSpan apart: what is left is estimated by the pace since
	// older, which is that of the last paceSpan to two of them. An hour of the range may have far more events than another.
	older, newer mark
}

// mark is a moment of a replay.
type mark struct{ at, position time.Time }

// paceSpan is short enough to follow the range's busy times, and long against pages and their rate limit.
const paceSpan = 10 * time.Second

func newReplayBar(w io.Writer, live, shared bool, from, to time.Time, republish bool) *replayBar {
	return &replayBar{w: w, live: live, shared: shared, from: from, to: to, republish: republish, since: time.Now()}
}

func (b *replayBar) period() time.Duration {
	if b.live {
		return barPeriod
	}
	return linePeriod
}

// show prints how far the replay has come.
func (b *replayBar) show(r *replayRun) {
	now := time.Now()
	t := r.total()
	if elapsed := now.Sub(b.since); elapsed >= time.Second*9/10 {
		b.rate = float64(t.matched-b.matched) / elapsed.Seconds()
		b.since, b.matched = now, t.matched
	}
	line := b.line(t, r.position, now)
	if !b.live {
		say(b.w, "%s\n", line)
		return
	}
	share := b.share(r.position)
	full := int(share * barCells)
	line = "[" + strings.Repeat("#", full) + strings.Repeat("-", barCells-full) + "] " + line
	say(b.w, "\r\x1b[K%s", cut(line, max(columnsOf(b.w)-1, barCells), false))
	b.drawn = true
}

// share of the range that is done, 0 to 1.
func (b *replayBar) share(position time.Time) float64 {
	if !b.to.After(b.from) {
		return 0
	}
	return min(max(float64(position.Sub(b.from))/float64(b.to.Sub(b.from)), 0), 1)
}

// line says position, rate, when it will have ended, and counts.
func (b *replayBar) line(t counts, position, now time.Time) string {
	line := fmt.Sprintf("%3.0f%%  %s/s", b.share(position)*100, grouped(int64(b.rate)))
	if left := b.left(position, now); left > 0 {
		line += fmt.Sprintf("  about %v left", left.Round(time.Second))
	}
	line += fmt.Sprintf("  at %s  read %s  matched %s", position.UTC().Format("2006-01-02T15:04:05Z"), grouped(t.read), grouped(t.matched))
	if b.republish {
		line += fmt.Sprintf("  republished %s", grouped(t.republished))
	}
	return line
}

// left is how long the rest of the range takes at the present pace; 0: nobody knows.
func (b *replayBar) left(position, now time.Time) time.Duration {
	switch {
	case b.older.at.IsZero() && position.After(b.from): // until then nothing was read
		b.older = mark{now, position}
		b.newer = b.older
	case !b.older.at.IsZero() && now.Sub(b.newer.at) >= paceSpan:
		b.older, b.newer = b.newer, mark{now, position}
	}
	took, done, rest := now.Sub(b.older.at), position.Sub(b.older.position), b.to.Sub(position)
	if b.older.at.IsZero() || took <= 0 || done <= 0 || rest <= 0 {
		return 0
	}
	left := float64(took) * float64(rest) / float64(done)
	if left > float64(longestLeft) {
		return 0
	}
	return time.Duration(left)
}

// longestLeft bounds an estimate that says more than that nothing moves.
const longestLeft = 1000 * time.Hour

// beforeOutput makes room for events on the same screen.
func (b *replayBar) beforeOutput() {
	if b.shared {
		b.clear()
	}
}

// clear takes the bar off the screen: something else is written there.
func (b *replayBar) clear() {
	if b.drawn {
		say(b.w, "\r\x1b[K")
		b.drawn = false
	}
}

// totals are what the replay came to.
func (r *replayRun) totals(end string) string {
	t := r.total()
	what := "printed " + countEvents(r.printed)
	if r.command.Republish != "" {
		what = "republished " + countEvents(t.republished)
	}
	took := time.Since(r.began)
	line := fmt.Sprintf("%s: %s; matched %s of %s read; %.1f s, %s/s", end, what, grouped(t.matched), grouped(t.read), took.Seconds(),
		grouped(int64(float64(t.matched)/max(took.Seconds(), 0.001))))
	if r.breaks > 0 {
		line += fmt.Sprintf("; broken off and gone on with %d times", r.breaks)
	}
	if r.doubles > 0 {
		line += fmt.Sprintf(", %s that came again left out", countEvents(r.doubles))
	}
	return line
}
