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
