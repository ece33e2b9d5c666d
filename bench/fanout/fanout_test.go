package main

// That readers get what is written, and that a reader that does not is noticed.

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryReaderGetsEverything(t *testing.T) {
	for _, consumers := range []bool{false, true} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f, err := measure(ctx, config{readers: 3, consumers: consumers, span: time.Millisecond})
		if err != nil {
			t.Fatalf("consumers %t: %v", consumers, err)
		}
		if f.Written < chunk || f.Delivered != 3*f.Written || f.Rate <= 0 || f.CPUNanos <= 0 {
			t.Errorf("consumers %t: %+v", consumers, f)
		}
	}
}

func TestAReaderThatMissesSomething(t *testing.T) {
	r := newRound(2)
	r.missing[0].Store(2)
	r.written.Store(chunk)
	r.readers[0].took(chunk - 1)
	r.readers[0].took(1)
	r.readers[1].took(chunk - 1)
	if len(r.done) != 0 {
		t.Error("the chunk counts as delivered to all")
	}
	if err := r.exact(); err == nil {
		t.Error("a reader that lacks an event is no error")
	}
	r.readers[1].took(1)
	if err := r.exact(); err != nil || len(r.done) != 1 {
		t.Errorf("%v, %d tokens, with all delivered", err, len(r.done))
	}
	r.readers[1].took(1)
	if err := r.exact(); err == nil {
		t.Error("a reader that has an event twice is no error")
	}
}

func TestWhatCannotBeMeasured(t *testing.T) {
	for _, c := range []config{{readers: 0, span: 1}, {readers: 1}} {
		if _, err := measure(t.Context(), c); err == nil {
			t.Errorf("%+v is measured", c)
		}
	}
}
