package transport

// The memory of filters: it is bounded for one client and for all, and given back.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func TestFiltersAreBounded(t *testing.T) {
	const size = 4096 // 1,008 KiB count
	var l filterLimit
	var gives []func()
	take := func(client string) (reason stages.Reason) {
		give, err := l.take(client, strings.Repeat("x", size))
		if refused, ok := errors.AsType[*stages.Refusal](err); ok {
			return refused.Reason
		}
		gives = append(gives, give)
		return stages.NoReason
	}
	for c := range 4 {
		for i := range 16 {
			if reason := take(fmt.Sprint(c)); reason != stages.NoReason {
				t.Fatalf("filter %d of client %d: %v", i, c, reason)
			}
		}
		if reason := take(fmt.Sprint(c)); reason != stages.ClientOverloaded {
			t.Errorf("one more of client %d: %v", c, reason)
		}
	}
	if reason := take("another"); reason != stages.NoReason { // 64 of 1,008 KiB leave room for one
		t.Errorf("another: %v", reason)
	}
	if reason := take("another"); reason != stages.Overloaded {
		t.Errorf("one more than all may have: %v", reason)
	}
	if give, err := l.take("another", strings.Repeat("x", filterFree)); err != nil {
		t.Errorf("a short one: %v", err)
	} else {
		give()
	}
	for _, give := range gives {
		give()
	}
	if l.used != 0 || len(l.clients) != 0 {
		t.Errorf("%d bytes of %v are left", l.used, l.clients)
	}
}

// lasting reads back nothing until its caller goes.
type lasting struct{}

func (lasting) Subscribe(ctx context.Context, s *stages.Subscription) error {
	if err := s.Begun(); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (lasting) Replay(ctx context.Context, _ *stages.Replay) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Live subscriptions with long filters are refused when they would take more than one client may have, and when they
// end, others take their place.
func TestSubscribersFiltersAreBounded(t *testing.T) {
	g := start(t, func(s *setup) { s.services.Reading = lasting{} })
	long := "id == '" + strings.Repeat("x", 3600) + "'"
	ctx, cancel := context.WithCancel(g.context())
	open := 0
	var err error
	for ; err == nil && open < 100; open++ {
		stream, callErr := g.client().SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{Filter: long})
		if callErr != nil {
			t.Fatal(callErr)
		}
		if header, _ := stream.Header(); header == nil {
			_, err = stream.Recv()
		}
	}
	wantStatus(t, err, codes.ResourceExhausted, "CLIENT_OVERLOADED")
	if open < 10 || open > 20 {
		t.Errorf("the filter of call %d was refused", open)
	}
	cancel()
	g.eventually("the filters are given back", func() bool {
		g.server.filters.mu.Lock()
		defer g.server.filters.mu.Unlock()
		return g.server.filters.used == 0
	})
}
