package cli

// The progress of a run: one line that is written over on a terminal, a line
// each second elsewhere.

import (
	"fmt"
	"io"
	"time"
)

// progress prints until done is closed.
func progress(w io.Writer, live bool, total int64, streams []*stream, done <-chan struct{}) {
	period := time.Second
	if live {
		period = 200 * time.Millisecond
	}
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var before int64
	last := time.Now()
	rate := 0.0
	for {
		select {
		case <-done:
			if live {
				fmt.Fprint(w, "\r\x1b[K") // the totals follow
			}
			return
		case now := <-ticker.C:
			t := sum(streams)
			if elapsed := now.Sub(last); elapsed >= time.Second*9/10 {
				rate = float64(t.Acknowledged-before) / elapsed.Seconds()
				before, last = t.Acknowledged, now
			}
			line := progressLine(t, total, rate)
			if live {
				fmt.Fprintf(w, "\r\x1b[K%s", line)
			} else {
				fmt.Fprintln(w, line)
			}
		}
	}
}

func progressLine(t totals, total int64, rate float64) string {
	sent := grouped(t.Sent)
	if total > 0 {
		sent = fmt.Sprintf("%s of %s (%d%%)", sent, grouped(total), 100*t.Sent/total)
	}
	line := fmt.Sprintf("sent %s  acknowledged %s  refused %s  %s/s",
		sent, grouped(t.Acknowledged), grouped(t.Refused), grouped(int64(rate)))
	if n := t.Unknown + t.NoAnswer; n > 0 {
		line += fmt.Sprintf("  unknown %s", grouped(n))
	}
	return line
}
