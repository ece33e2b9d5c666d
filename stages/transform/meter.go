package transform

// What one program may take for one event. Programs run on the worker itself, and
// nothing can stop a goroutine from outside: so they are made to ask, at every
// step that could be one of very many and before every value that could be very
// large (docs/adr/0010).

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

const (
	// maxMemory is the most bytes that one program may make for one event, all values together, those that it has
	// dropped too. A program that makes them in the 50 ms that it has by default keeps the machine's memory busy.
	maxMemory = 64 << 20
	// stepsPerLook is how many steps, of some 10 to 100 ns, go by between two looks at the clock, of 40 to 90 ns
	// on a virtual machine.
	stepsPerLook = 64
	// firstLook is the step before which none is known to take long, which stepsPerLook are then: longer than
	// longSteps altogether. Without, 64 slices of a long text took 300 ms.
	firstLook = 16
	longSteps = time.Millisecond
)

// epoch is when clock began.
var epoch = time.Now()

// clock is the time since the start of the process.
func clock() time.Duration { return time.Since(epoch) }

// meter measures one program at work. Used by one goroutine at a time.
type meter struct {
	timeout, until time.Duration
	steps          uint
	// looked is when step looked at the clock; slow: the steps before that took long, so it looks at each.
	looked time.Duration
	slow   bool
	bytes  int
	// spent is why the program has to end. It stays: programs may catch errors. late: because its time is up.
	spent error
	late  bool
	// unnamed: no variable sets the timeout.
	unnamed bool
	// most is how many steps there may be, up to the next stepsPerLook: the same wherever and whenever it runs. 0: as many
	// as there is time for.
	most uint
}

// start begins with the event that e shows; its time began with the rule.
func (m *meter) start(timeout time.Duration, e *env) {
	started := e.started
	if started == 0 {
		started = clock()
	}
	m.startAt(timeout, started)
}

// startAt begins with what began at started, by clock.
func (m *meter) startAt(timeout, started time.Duration) {
	m.timeout, m.until = timeout, started+timeout
	m.steps, m.bytes, m.spent, m.late = 0, 0, nil, false
	m.looked, m.slow = started, false
}

// again lets a program begin once more, in what is left of its time: so it ends as if it had not begun before.
func (m *meter) again() { m.steps, m.bytes = 0, 0 }

// step counts one step.
func (m *meter) step() error {
	m.steps++
	if m.steps%stepsPerLook == 0 || m.steps == firstLook || m.slow || m.spent != nil {
		return m.pace()
	}
	return nil
}

// pace looks at the clock, and decides whether the next step has to as well.
func (m *meter) pace() error {
	now := clock()
	m.slow, m.looked = now-m.looked > longSteps, now
	return m.check(now)
}

// work counts what takes as long as n steps of 10 ns. Asked before it is done: when it alone would take all the time
// that there is, it is not begun.
func (m *meter) work(n int) error { return m.workOn("one call", n) }

// workOn is work, of which an error says what it is.
func (m *meter) workOn(what string, n int) error {
	if time.Duration(n) > m.timeout/10 {
		m.spent = fmt.Errorf("%w: %s would take more than the time for an event, %v", errLimit, what, m.timeout)
	}
	before := m.steps
	m.steps += uint(max(n, 0))
	if m.steps/stepsPerLook != before/stepsPerLook || m.spent != nil {
		return m.look()
	}
	return nil
}

// take counts n bytes that are about to be made.
func (m *meter) take(n int) error {
	if n < 0 || n > maxMemory-m.bytes {
		m.spent = fmt.Errorf("%w: the program makes values of more than %d MiB for one event", errLimit, maxMemory>>20)
		return m.spent
	}
	m.bytes += n
	return m.work(n >> 6) // memory is written at some GB a second
}

// look at the clock.
func (m *meter) look() error { return m.check(clock()) }

func (m *meter) check(now time.Duration) error {
	if m.spent == nil && m.most > 0 && m.steps/stepsPerLook > m.most/stepsPerLook {
		m.spent = fmt.Errorf("%w: the program takes more than %d steps of 10 ns for one event", errLimit, m.most)
	}
	if m.spent == nil && now > m.until {
		setting := " (TRANSFORM_TIMEOUT)"
		if m.unnamed {
			setting = ""
		}
		m.late = true
		m.spent = fmt.Errorf("%w: the program takes more than %v for one event%s", errLimit, m.timeout, setting)
	}
	return m.spent
}

// weigh counts the bytes and the steps of walking through all of v, of which a program can make very many out of few:
// [., .] of [., .] and so on. per is what is made for each value; texts count in full.
func (m *meter) weigh(v any, per int) error { return m.weighAt(v, per, 0) }

// numberSteps is what comparing a number takes that programs get as its text, since gojq parses it each time: 0.9 us for
// 20 digits, 2.2 for 100, 27 for 1,000.
func numberSteps(n json.Number) int { return 60 + 3*len(n) }

func (m *meter) weighAt(v any, per, depth int) error {
	if depth > maxDepth {
		m.spent = fmt.Errorf("%w: values nest deeper than %d levels", errLimit, maxDepth)
		return m.spent
	}
	if err := m.take(per); err != nil {
		return err
	}
	if err := m.work(1); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil, bool, int, float64:
		return nil
	case string:
		return m.take(len(v))
	case json.Number:
		return m.work(numberSteps(v))
	case []any:
		for _, element := range v {
			if err := m.weighAt(element, per, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for name, value := range v {
			if err := m.take(len(name)); err != nil {
				return err
			}
			if err := m.weighAt(value, per, depth+1); err != nil {
				return err
			}
		}
	default:
		return m.weighOther(reflect.ValueOf(v), per, depth)
	}
	return nil
}

// weighOther is for the types that expr's functions make: a []string, a [][2]any, a map[any][]any.
func (m *meter) weighOther(v reflect.Value, per, depth int) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := m.weighAt(v.Index(i).Interface(), per, depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for all := v.MapRange(); all.Next(); {
			if err := firstError(m.weighAt(all.Key().Interface(), per, depth+1), m.weighAt(all.Value().Interface(), per, depth+1)); err != nil {
				return err
			}
		}
	}
	return nil
}
