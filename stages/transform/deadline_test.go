package transform

// The context that languages get.

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestDeadline(t *testing.T) {
	var d deadline
	for i := range 200 { // whether the alarm rings or is stopped, the next run has one of its own
		d.start(clock() + time.Hour)
		if _, ok := d.Deadline(); !ok || d.Err() != nil || d.Value(i) != nil {
			t.Fatal("ended before it began")
		}
		if i%2 == 0 {
			done := d.Done()
			if done != d.Done() {
				t.Fatal("two channels in one run")
			}
			select {
			case <-done:
				t.Fatal("ended before its time")
			default:
			}
		}
		d.stop()

		d.start(clock() + time.Duration(i)*10*time.Microsecond)
		if i%3 == 0 {
			<-d.Done()
			if !errors.Is(d.Err(), context.DeadlineExceeded) {
				t.Fatal("it has ended and has no error")
			}
		} else {
			d.Done()
		}
		d.stop()
	}
	d.start(clock() - 1)
	if d.Err() == nil {
		t.Error("its time is over, and it has no error")
	}
	d.stop()
	if n := testing.AllocsPerRun(100, func() {
		d.start(clock() + time.Hour)
		_ = d.Err()
		d.stop()
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
