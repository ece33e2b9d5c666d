package kafka

// What this package has to say to operators, and how franz-go's own lines
// get there without flooding: in an outage it repeats the same few lines
// several times a second.

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Level is how bad a log line is.
type Level int8

// The levels.
const (
	LevelDebug Level = iota
	LevelInfo
	LevelWarn
	LevelError
)

// Logger takes log lines; safe for concurrent use and quick, because promises log too.
type Logger interface {
	// Log writes one line; keyvals are alternating names and values.
	Log(level Level, msg string, keyvals ...any)
}

type discardLog struct{}

func (discardLog) Log(Level, string, ...any) {}

const (
	// repeatEvery is how often one and the same line of franz-go may appear.
	repeatEvery = 10 * time.Second
	// repeatLines bounds the table of lines seen; most of franz-go's are constants.
	repeatLines = 256
)

// clientLog passes franz-go's warnings and errors on. Its Info lines tell of
// normal operation; they are dropped.
type clientLog struct {
	log Logger
	now func() time.Time

	mu   sync.Mutex
	seen map[string]*repeat // guarded by mu
}

type repeat struct {
	last       time.Time
	suppressed int
}

// Level implements kgo.Logger.
func (*clientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (l *clientLog) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level > kgo.LogLevelWarn {
		return
	}
	suppressed, say := l.due(msg)
	if !say {
		return
	}
	if suppressed > 0 {
		keyvals = append(keyvals, "repeated", suppressed)
	}
	as := LevelWarn
	if level == kgo.LogLevelError {
		as = LevelError
	}
	l.log.Log(as, "kafka client: "+msg, keyvals...)
}

func (l *clientLog) due(msg string) (suppressed int, say bool) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.seen[msg]
	if r == nil {
		if len(l.seen) >= repeatLines {
			clear(l.seen)
		}
		if l.seen == nil {
			l.seen = make(map[string]*repeat)
		}
		r = &repeat{}
		l.seen[msg] = r
	}
	if !r.last.IsZero() && now.Sub(r.last) < repeatEvery {
		r.suppressed++
		return 0, false
	}
	suppressed, r.suppressed = r.suppressed, 0
	r.last = now
	return suppressed, true
}
