package stages

import "testing"

func TestShares(t *testing.T) {
	const budget = 12_000
	for partitions, want := range map[int]int64{1: 12_000, 2: 9000, 3: 8000, 4: 6000, 6: 4000, 8: 3000, 100: 240} {
		topics := NewTopics("t")
		topics.Default.SetPartitions(partitions)
		if got := (shares{topics, budget}).each(); got != want {
			t.Errorf("%d partitions: %d of %d, want %d", partitions, got, budget, want)
		}
		if all := int64(partitions) * max(want, budget/4); all < budget {
			t.Errorf("%d partitions hold %d together, admission lets in %d", partitions, all, budget)
		}
	}
	topics := NewTopics("a", "b")
	topics.All[0].SetPartitions(1)
	topics.All[1].SetPartitions(1)
	if got := (shares{topics, budget}).each(); got != 9000 {
		t.Errorf("a topic of one partition beside another: %d", got)
	}
	if got := (shares{}).each(); got != 0 {
		t.Errorf("given by the operator: %d", got)
	}
}

// The share counts where it is more than the fixed bound, and only there.
func TestBatcherHoldsTheShare(t *testing.T) {
	const cost = 100 + EventOverhead
	topics := NewTopics("t")
	topics.Default.SetPartitions(3)
	p := topics.Default.Partitions()[0]
	for name, c := range map[string]struct{ budget, want int64 }{
		"no share": {0, 3}, "a smaller share": {3 * cost, 3}, "a larger share": {9 * cost, 6},
	} {
		b := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: MiB}, 3*cost, 0)
		if c.budget > 0 {
			b.ShareAmong(topics, c.budget)
		}
		held := int64(0)
		for _, ev := range inPartition(p, 10) {
			b.Add(ev, 1)
			if ev.Live() {
				held++
			} else if ev.Verdict.Reason != PartitionStalled {
				t.Fatalf("%s: %v", name, ev.Verdict)
			}
		}
		for batch := b.Flush(); batch != nil; batch = b.Flush() {
			if batch.Partition != nil {
				p.AddInflight(-batch.cost)
			}
		}
		if held != c.want {
			t.Errorf("%s: %d events held, want %d", name, held, c.want)
		}
	}
}
