//go:build kafka

package main

// A topic of Apache Kafka that is deleted, or created anew, under those who read it: each of them hears of it.

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestKafkaTopicGoneUnderSubscribers(t *testing.T) {
	for name, anew := range map[string]bool{"deleted": false, "recreated": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topicGone(t, anew)
		})
	}
}

func topicGone(t *testing.T, anew bool) {
	const events = 300 // of each partition
	c := kafkatest.Shared(t)
	topic := c.Topic(3)
	writeReplayed(t, c, topic, events, time.Now().Add(-time.Hour))
	p := gatewayOn(t, c, topic)
	client := gatewayv1.NewEventGatewayClient(dialGateway(t, p))
	earliest := gatewayv1.SubscribeRequest_START_EARLIEST
	own, shared, endings := &atomic.Int64{}, &atomic.Int64{}, make(chan error, 4)
	begin(t, p, client, &gatewayv1.SubscribeRequest{}, &atomic.Int64{}, endings)
	begin(t, p, client, &gatewayv1.SubscribeRequest{Start: earliest}, own, endings)
	for range cap(endings) - 2 {
		begin(t, p, client, &gatewayv1.SubscribeRequest{GroupId: "g", Start: earliest}, shared, endings)
	}
	p.eventually("all events have come", func() bool { return own.Load() >= 3*events && shared.Load() >= 3*events })
	adm := kadm.NewClient(c.Client())
	if _, err := adm.DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if anew {
		p.eventually("the topic is there again", func() bool {
			_, err := adm.CreateTopic(t.Context(), 3, 1, nil, topic)
			return err == nil
		})
	}
	for range cap(endings) {
		select {
		case err := <-endings:
			if got := reasonOf(err); got != "FailedPrecondition TOPIC_NOT_FOUND" && got != "FailedPrecondition TOPIC_RECREATED" {
				t.Errorf("a stream ends with %s", got)
			}
		case <-time.After(3 * patience):
			t.Fatal("a stream does not end")
		}
	}
}

// begin subscribes, and counts what comes until the stream ends.
func begin(t *testing.T, p *process, client gatewayv1.EventGatewayClient, r *gatewayv1.SubscribeRequest, came *atomic.Int64, endings chan<- error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var stream gatewayv1.EventGateway_SubscribeEventsClient
	p.eventually("the stream has begun", func() bool { // the first group of a cluster waits for its coordinator
		var err error
		if stream, err = client.SubscribeEvents(ctx, r); err != nil {
			t.Fatal(err)
		}
		header, _ := stream.Header()
		return header != nil
	})
	go func() {
		for {
			if _, err := stream.Recv(); err != nil {
				endings <- err
				return
			}
			came.Add(1)
		}
	}()
}
