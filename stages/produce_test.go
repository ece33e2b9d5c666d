package stages

// The produce stage: what is handed over, what stays, and who wins a race.

import (
	"testing"
	"time"
)

// recordingProducer keeps what it was handed.
type recordingProducer struct {
	partition *Partition
	events    []*Event
	calls     int
	panics    bool
}

func (p *recordingProducer) Produce(partition *Partition, events []*Event) {
	p.calls++
	if p.panics {
		panic("the producer is broken")
	}
	p.partition = partition
	p.events = append(p.events, events...)
}

func produceAt(producer Producer, breaker *Breaker, now time.Duration) *Produce {
	return NewProduce(producer, breaker, func() int64 { return int64(now) })
}

func TestProduceHandsOverInOrder(t *testing.T) {
	p := partitions(1)[0]
	events := inPartition(p, 4)
	producer := &recordingProducer{}
	left := produceAt(producer, nil, 0).Process(&RecordBatch{Partition: p, Events: events})
	if len(left) != 0 || !sameEvents(producer.events, events) || producer.partition != p || producer.calls != 1 {
		t.Fatalf("%d events left, %d handed over in %d calls", len(left), len(producer.events), producer.calls)
	}
	for i, ev := range events {
		if !ev.Handed || ev.At != AtProduce || ev.Msg.WinQueued(i) {
			t.Fatalf("event %d: handed %v at %v", i, ev.Handed, ev.At)
		}
	}
}

func TestProduceSkipsAnsweredEvents(t *testing.T) {
	p := partitions(1)[0]
	events := inPartition(p, 5)
	for _, i := range []int{1, 4} {
		events[i].Msg.WinQueued(i) // a deadline was faster
	}
	events[2].Refuse(AtBatch, PartitionStalled, nil)
	producer := &recordingProducer{}
	stage := produceAt(producer, nil, 0)
	left := stage.Process(&RecordBatch{Partition: p, Events: events})
	if !sameEvents(producer.events, []*Event{events[0], events[3]}) || !sameEvents(left, []*Event{events[1], events[2], events[4]}) {
		t.Fatalf("%d events were handed over, %d left", len(producer.events), len(left))
	}
	for _, ev := range left {
		if ev.Handed {
			t.Fatal("an event that is left is marked as handed")
		}
	}
	again := inPartition(p, 1)
	if left := stage.Process(&RecordBatch{Partition: p, Events: again}); len(left) != 0 || len(stage.Left()) != 0 {
		t.Fatal("the last batch's rest is still there")
	}
}

func TestProduceLeavesEndedBatches(t *testing.T) {
	events := liveEvents(3)
	for _, ev := range events {
		ev.Refuse(AtValidate, InvalidEvent, nil)
	}
	producer := &recordingProducer{}
	breaker := NewBreaker(time.Second, nil)
	left := produceAt(producer, breaker, 0).Process(&RecordBatch{Events: events})
	if producer.calls != 0 || !sameEvents(left, events) {
		t.Fatalf("the producer was called %d times, %d events left", producer.calls, len(left))
	}
	mustRefuse(t, events[0], AtValidate, InvalidEvent, nil)
}

func TestProduceAsksTheBreaker(t *testing.T) {
	p := partitions(1)[0]
	breaker := NewBreaker(5*time.Second, nil)
	producer := &recordingProducer{}
	stage := produceAt(producer, breaker, 10*time.Second)
	process := func(n int) []*Event {
		events := inPartition(p, n)
		stage.Process(&RecordBatch{Partition: p, Events: events})
		return events
	}
	process(1)
	breaker.Tick(int64(10*time.Second), true)
	for _, ev := range process(3) {
		mustRefuse(t, ev, AtProduce, BreakerOpen, nil)
	}
	if producer.calls != 1 {
		t.Fatal("an open breaker let a batch through")
	}
	breaker.Probed(int64(10 * time.Second))
	// A batch that nobody waits for any more does not use up the trial.
	late := inPartition(p, 2)
	late[0].Msg.WinQueued(0)
	late[1].Msg.WinQueued(1)
	if left := stage.Process(&RecordBatch{Partition: p, Events: late}); len(left) != 2 || producer.calls != 1 {
		t.Fatal("answered events were handed over")
	}
	for _, ev := range process(2) { // the trial is a whole batch
		mustLive(t, ev)
	}
	for _, ev := range process(2) {
		mustRefuse(t, ev, AtProduce, BreakerOpen, nil)
	}
	breaker.Acknowledged()
	mustLive(t, process(1)[0])
}

func TestProduceSurvivesItsProducer(t *testing.T) {
	p := partitions(1)[0]
	events := inPartition(p, 2)
	events[0].Msg.WinQueued(0)
	stage := produceAt(&recordingProducer{panics: true}, nil, 0)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed: only the worker reports it")
			}
		}()
		stage.Process(&RecordBatch{Partition: p, Events: events})
	}()
	if !sameEvents(stage.Left(), events[:1]) || !events[1].Handed {
		t.Fatalf("%d events are left, the other one is handed: %v", len(stage.Left()), events[1].Handed)
	}
}

// A deadline and produce race for the same events: each is either refused or handed over, never both.
func TestProduceRacesDeadlines(t *testing.T) {
	p := partitions(1)[0]
	const n = 2000
	events := inPartition(p, n)
	m := events[0].Msg
	refused := make([]bool, n)
	producer := &recordingProducer{}
	stage := produceAt(producer, nil, 0)
	var left []*Event
	together(
		func() {
			for i := range n {
				refused[i] = m.WinQueued(i)
			}
		},
		func() { left = stage.Process(&RecordBatch{Partition: p, Events: events}) },
	)
	if len(producer.events)+len(left) != n {
		t.Fatalf("%d events were handed over and %d left, of %d", len(producer.events), len(left), n)
	}
	for _, ev := range producer.events {
		if refused[ev.Index] {
			t.Fatalf("event %d was refused and handed to Kafka", ev.Index)
		}
	}
	for _, ev := range left {
		if !refused[ev.Index] {
			t.Fatalf("event %d was neither refused nor handed over", ev.Index)
		}
	}
}
