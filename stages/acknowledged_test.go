package stages

import "testing"

// A run takes in whatever indices come, in as few groups as there are words.
func TestAcknowledgedRun(t *testing.T) {
	var a AcknowledgedRun
	events := make([]Event, 5)
	for i, index := range []int{0, 31, 32, 70, 71} {
		a.Add(&events[i], index, int64(10+i), int64(100+i))
	}
	if len(a.Events) != 5 || len(a.Offsets) != 5 || a.Offsets[4] != 104 || a.Cost != 10+11+12+13+14 || len(a.Groups) != 3 {
		t.Fatalf("%d events, cost %d, %d groups", len(a.Events), a.Cost, len(a.Groups))
	}
	for i, want := range []int{2, 1, 2} {
		if n := a.Groups[i].Len(); n != want {
			t.Errorf("group %d has %d events, want %d", i, n, want)
		}
	}
	if !a.Groups[0].Has(31) || a.Groups[0].Has(32) || !a.Groups[2].Has(71) {
		t.Error("an event is in the wrong group")
	}
	a.Reset()
	if len(a.Events) != 0 || len(a.Offsets) != 0 || len(a.Groups) != 0 || a.Cost != 0 {
		t.Error("not empty after Reset")
	}
}
