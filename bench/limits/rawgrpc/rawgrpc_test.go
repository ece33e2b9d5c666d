package main

// gateway publish against the server: every event that it sends counts as acknowledged.

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEverythingIsAcknowledged(t *testing.T) {
	for _, tuned := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		address, ended := make(chan net.Addr, 1), make(chan error, 1)
		go func() { ended <- run(ctx, "127.0.0.1:0", 10, tuned, func(a net.Addr) { address <- a }) }()
		to := (<-address).String()
		for _, args := range []string{"", "--batch 10 --streams 2", "--unary --streams 2", "--unary --batch 10 --streams 3"} {
			var out, errs bytes.Buffer
			code := cli.Run(cli.Program{Version: "test", Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs},
				append([]string{"publish", "--json", "--address", to, "--count", "3000", "--keys", "10"}, strings.Fields(args)...))
			var totals struct{ Sent, Acknowledged int }
			if err := json.Unmarshal(out.Bytes(), &totals); err != nil || code != 0 || totals.Sent != 3000 || totals.Acknowledged != 3000 {
				t.Errorf("tuned %t, %s: exit code %d, %v: %s%s", tuned, args, code, err, out.String(), errs.String())
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		addr  string
		batch int
	}{{"127.0.0.1:0", 0}, {"nowhere:x", 1}} {
		if err := run(t.Context(), c.addr, c.batch, false, func(net.Addr) {}); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if _, err := (rawCodec{}).Marshal(1); err == nil {
		t.Error("a message of another type is sent")
	}
	if err := (rawCodec{}).Unmarshal(nil, 1); err == nil {
		t.Error("a message of another type is received")
	}
}
