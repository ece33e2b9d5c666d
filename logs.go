package main

// The log: zerolog behind one writer that can be opened anew, and a limiter
// for lines that an outage would otherwise repeat thousands of times.

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
	"google.golang.org/grpc/grpclog"

	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/stages"
)

// timeFormat has milliseconds always, so that lines align and sort.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// logOutput is where lines go: a standard stream, or a file that reopen opens anew (logrotate moves it
// away first).
type logOutput struct {
	path string // "" for a standard stream

	mu   sync.Mutex // guards the following
	file *os.File
}

// openOutput opens stdout, stderr or a file for appending.
func openOutput(name string) (*logOutput, error) {
	switch name {
	case "stdout":
		return &logOutput{file: os.Stdout}, nil
	case "stderr":
		return &logOutput{file: os.Stderr}, nil
	}
	o := &logOutput{path: name}
	return o, o.reopen()
}

// reopen opens the file anew; the old one stays in use when that fails. Nothing to do for a standard stream.
func (o *logOutput) reopen() error {
	if o.path == "" {
		return nil
	}
	file, err := os.OpenFile(o.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("LOG_OUTPUT=%s: %w", o.path, err)
	}
	o.mu.Lock()
	old := o.file
	o.file = file
	o.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Write writes one line.
func (o *logOutput) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.file.Write(line)
}

// close closes a file.
func (o *logOutput) close() error {
	if o.path == "" {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.file.Close()
}

func (o *logOutput) terminal() bool { return o.path == "" && isatty.IsTerminal(o.file.Fd()) }

// logs is the gateway's log. The embedded logger writes lines of which there are few by nature (start, stop);
// everything that traffic or an outage can cause goes through limited.
type logs struct {
	zerolog.Logger
	output *logOutput

	mu      sync.Mutex // guards the following
	classes map[string]*lineClass
	closed  bool
}

// newLogs opens the log as the configuration says.
func newLogs(cfg *processConfig) (*logs, error) {
	output, err := openOutput(cfg.LogOutput)
	if err != nil {
		return nil, err
	}
	var w io.Writer = output
	if cfg.LogFormat == "text" {
		w = zerolog.ConsoleWriter{Out: output, NoColor: !output.terminal(), TimeFormat: timeFormat, TimeLocation: time.UTC}
	}
	return &logs{Logger: newLogger(w, cfg.LogLevel), output: output, classes: map[string]*lineClass{}}, nil
}

func newLogger(w io.Writer, level string) zerolog.Logger {
	least, err := zerolog.ParseLevel(level)
	if err != nil {
		least = zerolog.InfoLevel // Validate has said so already
	}
	return zerolog.New(w).Level(least).Hook(zerolog.HookFunc(func(e *zerolog.Event, _ zerolog.Level, _ string) {
		e.Str("time", time.Now().UTC().Format(timeFormat))
	}))
}

const (
	// lineEvery is how often a line of one class may appear.
	lineEvery = time.Second
	// maxClasses bounds the table of classes; further ones share a place.
	maxClasses = 256
)

// lineClass is a class of lines that repeat.
type lineClass struct {
	// quiet is running while no line of the class may appear.
	quiet *time.Timer
	// last is the last line that was swallowed, and how many were.
	last      func(repeated int)
	swallowed int
}

// limited writes a line, unless one of its class was written less than a second ago: then it is counted,
// and the last one of the second is written with the count as repeated.
func (l *logs) limited(level zerolog.Level, class, message string, keyvals ...any) {
	if level < l.GetLevel() {
		return
	}
	write := func(repeated int) {
		line := l.WithLevel(level).Fields(keyvals)
		if repeated > 0 {
			line = line.Int("repeated", repeated)
		}
		line.Msg(message)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		write(0)
		return
	}
	c := l.classes[class]
	if c == nil {
		if len(l.classes) >= maxClasses {
			class = "other"
			c = l.classes[class]
		}
		if c == nil {
			c = &lineClass{}
			l.classes[class] = c
		}
	}
	if c.quiet != nil {
		c.swallowed++
		c.last = write
		return
	}
	write(0)
	c.quiet = time.AfterFunc(lineEvery, func() { l.speak(class) })
}

// speak ends a class's quiet second.
func (l *logs) speak(class string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.classes[class]
	if c == nil || l.closed {
		return
	}
	if c.swallowed == 0 {
		delete(l.classes, class)
		return
	}
	c.last(c.swallowed)
	c.swallowed, c.last = 0, nil
	c.quiet.Reset(lineEvery)
}

// close writes what was swallowed and closes the output. Lines after it still go to a standard stream.
func (l *logs) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, c := range l.classes {
		c.quiet.Stop()
		if c.swallowed > 0 {
			c.last(c.swallowed)
		}
	}
	return l.output.close()
}

// Panic implements pipeline.Logger.
func (l *logs) Panic(stage stages.StageID, worker int, value any, stack []byte, event string) {
	l.limited(zerolog.ErrorLevel, "panic "+stage.String(), "a worker panicked; the event was answered INTERNAL",
		"stage", stage.String(), "worker", worker, "panic", fmt.Sprint(value), "event", event, "stack", string(stack))
}

// Stuck implements pipeline.Logger.
func (l *logs) Stuck(stage stages.StageID, worker int, still time.Duration) {
	l.Error().Str("stage", stage.String()).Int("worker", worker).Str("for", still.Round(time.Second).String()).
		Msg("a worker is stuck at one burst; its events end at DELIVERY_TIMEOUT. With PPROF_ENABLED, /debug/pprof/goroutine?debug=2 says where")
}

// Unstuck implements pipeline.Logger.
func (l *logs) Unstuck(stage stages.StageID, worker int) {
	l.Info().Str("stage", stage.String()).Int("worker", worker).Msg("the worker goes on")
}

// Log implements kafka.Logger.
func (l *logs) Log(level kafka.Level, message string, keyvals ...any) {
	levels := [...]zerolog.Level{zerolog.DebugLevel, zerolog.InfoLevel, zerolog.WarnLevel, zerolog.ErrorLevel}
	// Of one message, each class of error has a second of its own.
	class := message
	if i := slices.Index(keyvals, any("class")); i >= 0 && i+1 < len(keyvals) {
		class += " " + fmt.Sprint(keyvals[i+1])
	}
	for i, value := range keyvals {
		if d, ok := value.(time.Duration); ok {
			keyvals[i] = d.String() // zerolog writes a bare number of milliseconds
		}
	}
	l.limited(levels[min(max(int(level), 0), len(levels)-1)], class, message, keyvals...)
}

// grpcLogs passes grpc's own warnings and errors on; its information lines tell of normal operation.
type grpcLogs struct{ *logs }

var _ grpclog.LoggerV2 = grpcLogs{}

func (grpcLogs) Info(...any)           {}
func (grpcLogs) Infoln(...any)         {}
func (grpcLogs) Infof(string, ...any)  {}
func (g grpcLogs) Warning(args ...any) { g.line(zerolog.DebugLevel, fmt.Sprint(args...)) }
func (g grpcLogs) Warningln(args ...any) {
	g.line(zerolog.DebugLevel, fmt.Sprint(args...))
}
func (g grpcLogs) Warningf(format string, args ...any) {
	g.line(zerolog.DebugLevel, fmt.Sprintf(format, args...))
}
func (g grpcLogs) Error(args ...any)   { g.line(zerolog.WarnLevel, fmt.Sprint(args...)) }
func (g grpcLogs) Errorln(args ...any) { g.line(zerolog.WarnLevel, fmt.Sprint(args...)) }
func (g grpcLogs) Errorf(format string, args ...any) {
	g.line(zerolog.WarnLevel, fmt.Sprintf(format, args...))
}
func (g grpcLogs) Fatal(args ...any)   { g.line(zerolog.ErrorLevel, fmt.Sprint(args...)) }
func (g grpcLogs) Fatalln(args ...any) { g.line(zerolog.ErrorLevel, fmt.Sprint(args...)) }
func (g grpcLogs) Fatalf(format string, args ...any) {
	g.line(zerolog.ErrorLevel, fmt.Sprintf(format, args...))
}
func (grpcLogs) V(level int) bool { return level <= 0 }

// line writes one of grpc's lines; any client can cause them, so they share one class.
func (g grpcLogs) line(level zerolog.Level, text string) {
	g.limited(level, "grpc", "grpc: "+oneLine(text))
}
