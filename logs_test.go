package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/event-gateway/event-gateway/kafka"
)

// records are the JSON lines of a log.
func records(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		all = append(all, record)
	}
	return all
}

func testLogs(out io.Writer, level string) *logs {
	return &logs{Logger: newLogger(out, level), output: &logOutput{file: os.Stdout}, classes: map[string]*lineClass{}}
}

func TestRepeatedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &lockedBuffer{}
		l := testLogs(out, "info")
		for range 1000 {
			l.Log(kafka.LevelWarn, "produce failed", "class", "NOT_LEADER")
		}
		l.Log(kafka.LevelWarn, "produce failed", "class", "OTHER")
		l.Log(kafka.LevelDebug, "not shown")
		if n := len(records(t, out.String())); n != 2 {
			t.Fatalf("%d lines at first: %s", n, out.String())
		}
		time.Sleep(1100 * time.Millisecond)
		got := records(t, out.String())
		if len(got) != 3 || got[2]["repeated"] != 999.0 || got[2]["class"] != "NOT_LEADER" || got[2]["level"] != "warn" {
			t.Fatalf("%s", out.String())
		}
		time.Sleep(5 * time.Second)
		l.Log(kafka.LevelWarn, "produce failed", "class", "NOT_LEADER")
		l.Log(kafka.LevelWarn, "produce failed", "class", "NOT_LEADER")
		if got = records(t, out.String()); len(got) != 4 || got[3]["repeated"] != nil {
			t.Fatalf("%s", out.String())
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if got = records(t, out.String()); len(got) != 5 || got[4]["repeated"] != 1.0 {
			t.Fatalf("close must write what was swallowed: %s", out.String())
		}
	})
}

func TestClassesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &lockedBuffer{}
		l := testLogs(out, "info")
		for i := range 10 * maxClasses {
			l.limited(zerolog.InfoLevel, strings.Repeat("x", i), "line")
		}
		if len(l.classes) > maxClasses+1 {
			t.Errorf("%d classes", len(l.classes))
		}
		_ = l.close()
	})
}

func TestLogFileIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := newLogs(&processConfig{LogLevel: "info", LogFormat: "json", LogOutput: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("two")
	if err := l.output.reopen(); err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("three")
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path + ".1")
	now, _ := os.ReadFile(path)
	if len(records(t, string(old))) != 2 || len(records(t, string(now))) != 1 {
		t.Errorf("%q %q", old, now)
	}
}

func TestLogThatCannotBeOpened(t *testing.T) {
	_, err := newLogs(&processConfig{LogOutput: filepath.Join(t.TempDir(), "no", "log")})
	if err == nil || !strings.HasPrefix(err.Error(), "LOG_OUTPUT=") {
		t.Error(err)
	}
}

func TestTextWithoutColourOffTheTerminal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := newLogs(&processConfig{LogLevel: "warn", LogFormat: "text", LogOutput: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Info().Msg("hidden")
	l.Warn().Str("key", "value").Msg("shown")
	_ = l.close()
	text, _ := os.ReadFile(path)
	if s := string(text); strings.Contains(s, "\x1b") || strings.Contains(s, "hidden") || !strings.Contains(s, "WRN shown key=value") {
		t.Errorf("%q", s)
	}
}
