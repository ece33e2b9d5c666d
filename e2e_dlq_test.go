package main

// What operators do with dead letters: look, mend the cause, send them again.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// redriveAfterMending keeps events back by a rule that does not fit them, starts a gateway without it, and sends them
// again. start starts a gateway with settings, after the one before has ended; env is the commands' environment. read
// is the whole topic of the events.
func redriveAfterMending(t *testing.T, start func(settings ...string) *process, env []string, read func() []*kgo.Record) {
	t.Helper()
	const events, keys = 60, 7
	var lines strings.Builder
	for i := range events {
		fmt.Fprintf(&lines, `{"source":"/shop","type":"order.paid","partitionKey":"key-%d","data_json":%d}`+"\n", i%keys, i)
	}
	p := start("TRANSFORM_0_JQ=.total.net", "TRANSFORM_0_ON_ERROR=dead_letter")
	code, stdout, stderr := command(t, lines.String(), env, "publish", "--address", p.grpc, "--json")
	var sent published
	if err := json.Unmarshal([]byte(stdout), &sent); err != nil || code != 1 || sent.Reasons["TRANSFORM_FAILED"] != events {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	code, stdout, stderr = command(t, "", env, "dlq", "list", "--rule", "TRANSFORM_0", "--type", "order.*", "--since", "1h")
	if code != 0 || strings.Count(stdout, `"reason":"TRANSFORM_FAILED"`) != events || strings.Count(stdout, `"client":"127.0.0.1"`) != events {
		t.Fatalf("list: %d: %s%s", code, stdout, stderr)
	}
	var first struct {
		Partition, Offset int
	}
	line, _, _ := strings.Cut(stdout, "\n")
	if err := json.Unmarshal([]byte(line), &first); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ = command(t, "", env, "dlq", "show", fmt.Sprintf("%d/%d", first.Partition, first.Offset), "--event")
	if code != 0 || !strings.HasPrefix(stdout, `{"source":"/shop","type":"order.paid","partitionKey":"key-`) {
		t.Fatalf("show: %d: %s", code, stdout)
	}
	redrive := func(want int, p *process, sent, acknowledged, buried int) {
		t.Helper()
		code, stdout, stderr := command(t, "", env, "dlq", "redrive", "--address", p.grpc, "--json")
		var totals struct {
			Sent, Acknowledged int
			Buried             int `json:"dead_lettered"`
		}
		if err := json.Unmarshal([]byte(stdout), &totals); err != nil || code != want || totals.Sent != sent ||
			totals.Acknowledged != acknowledged || totals.Buried != buried {
			t.Fatalf("redrive: %v: exit code %d: %s%s", err, code, stdout, stderr)
		}
	}
	redrive(1, p, events, 0, events)
	p.signal(syscall.SIGTERM)
	p.exit()
	p = start()
	redrive(0, p, events, events, 0)
	redrive(0, p, 0, 0, 0)
	last := map[string]int{}
	var all []int
	for _, r := range read() {
		var n int
		if _, err := fmt.Sscan(string(r.Value), &n); err != nil {
			t.Fatalf("%q: %v", r.Value, err)
		}
		key := string(r.Key)
		if before, some := last[key]; some && before >= n || key != fmt.Sprintf("key-%d", n%keys) {
			t.Errorf("%d of %s is behind %d", n, key, before)
		}
		last[key] = n
		all = append(all, n)
	}
	slices.Sort(all)
	if len(all) != events || len(slices.Compact(all)) != events {
		t.Errorf("%d records: %v", len(all), all)
	}
}

func TestRedriveAfterMending(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	settings := []string{"EMBEDDED_DATA_DIR=" + dir, "EMBEDDED_KAFKA_PORT=" + port, "KAFKA_DLQ_TOPIC=refused"}
	redriveAfterMending(t, func(more ...string) *process {
		return startGateway(t, append(more, settings...)...).ready()
	}, environ(settings...), func() []*kgo.Record { return readBack(t, port) })
}
