package main

// What the gateway itself counts, from /metrics, before and after a run: how large the batches are that Kafka
// gets. Batches shrink with the rate, and a batch has a price of its own, so they explain much of what an
// event costs.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// batchCount is the gateway's histogram of records in a batch of one partition.
type batchCount struct{ records, batches float64 }

// since is the mean batch between two readings; 0 where there was none.
func (c batchCount) since(before batchCount) float64 {
	if c.batches <= before.batches {
		return 0
	}
	return (c.records - before.records) / (c.batches - before.batches)
}

// batches adds up what all gateways have counted so far; servers of other kinds count nothing.
func (st *stage) batches(ctx context.Context) (sum batchCount, err error) {
	for _, v := range st.servers {
		if v.http == "" {
			continue
		}
		text, err := get(ctx, "http://"+v.http+"/metrics")
		if err != nil {
			return sum, err
		}
		one, err := readBatches(string(text))
		if err != nil {
			return sum, fmt.Errorf("metrics of %s: %w", v.http, err)
		}
		sum.records, sum.batches = sum.records+one.records, sum.batches+one.batches
	}
	return sum, nil
}

// readBatches finds the two lines. A gateway without them, as an older revision may be, has counted nothing.
func readBatches(text string) (c batchCount, err error) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var into *float64
		switch name {
		case "gateway_kafka_batch_records_sum":
			into = &c.records
		case "gateway_kafka_batch_records_count":
			into = &c.batches
		default:
			continue
		}
		if *into, err = strconv.ParseFloat(value, 64); err != nil {
			return c, fmt.Errorf("line %q: %w", line, err)
		}
	}
	return c, nil
}

// get is what an address serves; any status but 200 is an error.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, r.Status, raw)
	}
	return raw, err
}
