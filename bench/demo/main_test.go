package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCompare(t *testing.T) {
	ids := func(n int) map[string]struct{} {
		m := map[string]struct{}{}
		for i := range n {
			m[strings.Repeat("x", i)] = struct{}{}
		}
		return m
	}
	for name, tc := range map[string]struct {
		sent  totals
		found readings
		want  string
	}{
		"all there":        {totals{Sent: 3, Acknowledged: 3}, readings{records: 3, ids: ids(3)}, ""},
		"nothing":          {totals{}, readings{}, "nothing"},
		"lost":             {totals{Sent: 3, Acknowledged: 3}, readings{records: 2, ids: ids(2)}, "3 events were acknowledged, but Kafka has 2"},
		"too many":         {totals{Sent: 3, Acknowledged: 3}, readings{records: 4, ids: ids(4)}, "Kafka has 4"},
		"unknown is there": {totals{Sent: 4, Acknowledged: 3, Unknown: 1}, readings{records: 4, ids: ids(4)}, "1 of 4 events were not acknowledged"},
		"twice":            {totals{Sent: 3, Acknowledged: 3}, readings{records: 4, ids: ids(3)}, "more than once"},
		"disorder":         {totals{Sent: 3, Acknowledged: 3}, readings{records: 3, ids: ids(3), disorder: 1}, "out of order"},
	} {
		err := compare(tc.sent, tc.found)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
