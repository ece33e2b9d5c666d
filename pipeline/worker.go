package pipeline

// The worker of a middle stage (validate, ratelimit, transform), and what all
// workers share: their counters, turning verdicts into answers, and surviving a
// panic.

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

// burstSize is how many events a worker takes at most before it passes them on.
// Measured on two cores: rings gain nothing above 64 values a publication.
const burstSize = 64

// worker is what the workers of all stages have in common.
type worker struct {
	p      *Pipeline
	id     stages.StageID
	index  int
	waiter *ring.Waiter
	// counts and outcomes are written by this worker only, or by who has borrowed it (lend.go).
	counts   workerCounts
	outcomes *outcomeCounts
	// declines is how many more turns are to be done by the worker's own goroutine; see lend.go.
	declines int
}

func (p *Pipeline) newWorker(id stages.StageID, index int) worker {
	return worker{p: p, id: id, index: index, waiter: ring.NewWaiter(), outcomes: p.newOutcomeCounts()}
}

// await waits until ready, counting the time as idle.
func (w *worker) await(ready func() bool) {
	start := w.idle()
	w.waiter.Wait(ready)
	w.resume(start)
}

// lend waits like await and lets who has work for the worker do it in its place.
func (w *worker) lend(ready func() bool, turn func(at int64) (handBack bool)) {
	start := w.idle()
	w.waiter.WaitLending(ready, turn)
	w.resume(start)
}

// idle and resume bracket a wait for input.
func (w *worker) idle() (start int64) {
	start = w.p.now()
	w.counts.idleSince.Store(start)
	return start
}

func (w *worker) resume(start int64) {
	w.counts.idleSince.Store(0)
	bump(&w.counts.idleNanos, uint64(w.p.now()-start))
}

// full and goOn bracket a wait for room, or for events to come back.
func (w *worker) full() (start int64) {
	start = w.p.now()
	bump(&w.counts.fullWaits, 1)
	w.counts.fullSince.Store(start)
	return start
}

func (w *worker) goOn(start int64) {
	w.counts.fullSince.Store(0)
	bump(&w.counts.fullNanos, uint64(w.p.now()-start))
}

// answer turns the verdicts of a burst into answers. Events whose answer
// somebody else has given keep riding; produce will not hand them over.
func (w *worker) answer(burst []*stages.Event) {
	for _, ev := range burst {
		w.answerOne(ev)
	}
}

func (w *worker) answerOne(ev *stages.Event) {
	if ev.Live() || ev.Answered {
		return
	}
	ev.Answered = true
	if ev.Msg.WinQueued(ev.Index) {
		ev.Msg.SetVerdict(ev.Index, ev.Verdict)
		if ev.Verdict.Outcome == stages.Duplicate {
			ev.Msg.SetPosition(ev.Index, ev.Topic, ev.Ack.Partition, ev.Ack.Offset)
		}
		w.outcomes.add(ev.Msg.Origin, &ev.Verdict, 1)
		ev.Msg.Settle(1)
	}
}

// count notes a burst that leaves the stage at now.
func (w *worker) count(burst []*stages.Event, now int64) {
	bump(&w.counts.events, uint64(len(burst)))
	bump(&w.counts.bursts, 1)
	w.counts.age.observe(time.Duration(now-int64(burst[0].Msg.Received.Sub(w.p.epoch))), 1)
}

// rescue is deferred around stage code with what recover gave. After a panic it
// refuses the event at fault, the first of the burst that the stage has not
// finished with, reports it with its coordinates, and sets done to where to go on.
func (w *worker) rescue(value any, burst []*stages.Event, done *int) (fault *stages.Event) {
	if value == nil {
		return nil
	}
	bump(&w.counts.panics, 1)
	*done = len(burst)
	where := "no event"
	for i, ev := range burst {
		if ev.At != w.id {
			ev.Verdict = stages.Verdict{Outcome: stages.Refused, Reason: stages.InternalError, Stage: w.id}
			ev.At = w.id
			where = coordinates(ev)
			*done, fault = i+1, ev
			break
		}
	}
	w.p.log.Panic(w.id, w.index, value, debug.Stack(), where)
	return fault
}

// coordinates identify an event in a log line, without its contents.
func coordinates(ev *stages.Event) string {
	const most = 64
	return fmt.Sprintf("client %q, event %d of %d, id %q, type %q, %d bytes", ev.Msg.Client.Name, ev.Index, ev.Msg.Events(),
		ev.ID.Value[:min(len(ev.ID.Value), most)], ev.Type.Value[:min(len(ev.Type.Value), most)], ev.Size)
}

// stageWorker runs one of the middle stages.
type stageWorker struct {
	worker
	stage stages.Stage
	in    fanIn[*stages.Event]
	out   fanOut[*stages.Event]
	// holder is the stage if it may keep events (hold.go), else nil, and kept how many it keeps, for the metrics.
	holder stages.Holder
	kept   atomic.Int64
	// dedupe is there in validate workers, if ids are looked at at all.
	dedupe *dedupe
	// route is the hash that picks the worker of the next stage.
	route func(*stages.Event) uint32
	burst [burstSize]*stages.Event
}

func byShard(ev *stages.Event) uint32     { return ev.Shard }
func byPartition(ev *stages.Event) uint32 { return ev.Route() }

// stageLoop is the goroutine of a middle stage.
func (w *stageWorker) stageLoop() {
	defer w.out.close()
	turn := w.turn // once: a method value that is kept is allocated
	for {
		n := w.in.take(w.burst[:])
		if n == 0 {
			if w.in.drained() {
				return
			}
			w.lend(w.in.ready, turn)
			w.out.flush(&w.worker, w.p.now()) // what a turn could not push
			continue
		}
		w.out.flush(&w.worker, w.work(w.burst[:n]))
	}
}

// turn is one burst on somebody else's goroutine, from time at.
func (w *stageWorker) turn(at int64) (handBack bool) {
	if w.declined() {
		return true
	}
	n := w.in.take(w.burst[:])
	if n == 0 {
		return w.in.drained()
	}
	now := w.work(w.burst[:n])
	w.took(at, now)
	all, _ := w.out.push(now)
	return !all || w.in.ready()
}

// work runs the stage over a burst, stages it for the next one, and says when it was done.
func (w *stageWorker) work(burst []*stages.Event) (now int64) {
	for done := 0; done < len(burst); {
		done += w.process(burst[done:])
	}
	now = w.p.now()
	w.count(burst, now)
	w.passOn(burst, now)
	return now
}

// passOn answers those of the burst that have ended and stages it for the next worker.
func (w *stageWorker) passOn(burst []*stages.Event, now int64) {
	if w.dedupe != nil {
		burst = w.dedupe.sift(burst, now)
	}
	w.answer(burst)
	w.out.stageAll(burst, w.route)
}

// process runs the stage over the burst and says how many events it is done with.
func (w *stageWorker) process(burst []*stages.Event) (done int) {
	defer func() { w.rescue(recover(), burst, &done) }()
	w.stage.Process(burst)
	return len(burst)
}
