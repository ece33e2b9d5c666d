package transport

// ReplayEvents: the request checked, and its pages sent, or published again
// (republish.go).

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

// startSlack is how much further back than REPLAY_MAX_DURATION a replay may begin: who asks for as much as there is has
// looked at the clock before, and at another one.
const startSlack = time.Minute

// Fields of gateway.v1.ReplayResponse.
const (
	replayEvents   = 1
	replayProgress = 2
)

// replay handles a call of ReplayEvents.
func (s *Server) replay(_ any, ss grpc.ServerStream) error {
	rs, end, err := s.reading(ss)
	if err != nil {
		return err
	}
	defer end()
	request := &gatewayv1.ReplayRequest{}
	if err := rs.request(request); err != nil {
		return rs.status(err)
	}
	give, err := s.filters.take(rs.client.Name, request.Filter)
	if err != nil {
		return rs.status(err)
	}
	defer give()
	ask, err := s.replayOf(request, time.Now())
	if err != nil {
		return rs.status(err)
	}
	if err := rs.begun(); err != nil {
		return goneStatus(err)
	}
	ask.Name, ask.Page = rs.client.Name, rs.page
	if request.RepublishTopic != "" {
		ask.Page = newRepublish(rs, s.Topics.Named(request.RepublishTopic), ask.From).page
	}
	return rs.status(s.Reading.Replay(rs.ctx, ask))
}

// page sends a page with its events.
func (rs *readStream) page(events []*stages.Delivery, at stages.ReplayProgress) error {
	return rs.sendPage(events, progressOf(at))
}

// progressOf is what the API says of a progress.
func progressOf(at stages.ReplayProgress) *gatewayv1.ReplayResponse_Progress {
	return &gatewayv1.ReplayResponse_Progress{
		Read: at.Read, Matched: at.Matched, Position: timestamppb.New(at.Position), Done: at.Done,
	}
}

// sendPage sends a ReplayResponse, whose events are encoded already.
func (rs *readStream) sendPage(events []*stages.Delivery, at *gatewayv1.ReplayResponse_Progress) error {
	progress, err := proto.Marshal(at)
	if err != nil {
		return err
	}
	size := 1 + protowire.SizeBytes(len(progress))
	for _, d := range events {
		size += 1 + protowire.SizeBytes(len(d.Frame))
	}
	b, err := rs.buffer(headerLength + size)
	if err != nil {
		return err
	}
	out := (*b)[:0]
	out = binary.BigEndian.AppendUint32(append(out, 0), uint32(size)) // 0: not compressed
	for _, d := range events {
		out = protowire.AppendTag(out, replayEvents, protowire.BytesType)
		out = protowire.AppendBytes(out, d.Frame)
	}
	out = protowire.AppendTag(out, replayProgress, protowire.BytesType)
	*b = protowire.AppendBytes(out, progress)
	if err := rs.write(b); err != nil {
		return err
	}
	position := at.Position.AsTime()
	rs.position.Store(&position)
	return nil
}

// replayOf is what a request asks for.
func (s *Server) replayOf(r *gatewayv1.ReplayRequest, now time.Time) (*stages.Replay, error) {
	ask := &stages.Replay{PerSecond: int(r.MaxEventsPerSecond)}
	refused := s.replayRange(ask, r, now)
	if refused == nil {
		refused = s.replayRate(ask)
	}
	if refused == nil {
		refused = s.replayTopic(r)
	}
	if refused != nil {
		return nil, refused
	}
	match, err := filter.Compile(r.EventTypes, nil, r.Filter)
	if err != nil {
		return nil, err
	}
	ask.Match = match
	return ask, nil
}

func (s *Server) replayRange(ask *stages.Replay, r *gatewayv1.ReplayRequest, now time.Time) *stages.Refusal {
	longest := s.config.ReplayMaxDuration
	switch {
	case r.Start == nil:
		return badField("start", "is missing; it is the first time of receipt to replay")
	case r.Start.CheckValid() != nil:
		return badField("start", "is not a time between the years 1 and 9999")
	case r.End != nil && r.End.CheckValid() != nil:
		return badField("end", "is not a time between the years 1 and 9999")
	}
	ask.From, ask.To = r.Start.AsTime(), now
	switch {
	case ask.From.After(now.Add(clockSkew)):
		return badField("start", fmt.Sprintf("is %s, in the future; what is received from now on is for SubscribeEvents", clock(ask.From)))
	case ask.From.Before(now.Add(-longest - startSlack)):
		return badField("start", fmt.Sprintf("is %s; a replay may begin %v ago at most (REPLAY_MAX_DURATION): at %s", clock(ask.From), longest, clock(now.Add(-longest))))
	case r.End != nil && !r.End.AsTime().After(ask.From):
		return badField("end", fmt.Sprintf("is %s; it has to be after start, %s", clock(r.End.AsTime()), clock(ask.From)))
	}
	if r.End != nil && r.End.AsTime().Before(now) {
		ask.To = r.End.AsTime()
	}
	return nil
}

// clock is a time as clients are told it.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (s *Server) replayRate(ask *stages.Replay) *stages.Refusal {
	limit := s.config.ReplayRateLimit
	if ask.PerSecond < 0 || ask.PerSecond > limit {
		return badField("max_events_per_second", fmt.Sprintf("is %d; 1 to %d are allowed (REPLAY_RATE_LIMIT), and 0 for as many", ask.PerSecond, limit))
	}
	if ask.PerSecond == 0 {
		ask.PerSecond = limit
	}
	return nil
}

func (s *Server) replayTopic(r *gatewayv1.ReplayRequest) *stages.Refusal {
	const field = "republish_topic"
	topics := s.config.ReplayTopics
	switch {
	case r.RepublishTopic == "":
		return nil
	case s.Topics == nil || !slices.Contains(topics, r.RepublishTopic) || s.Topics.Named(r.RepublishTopic) == nil:
		return &stages.Refusal{Reason: stages.TopicNotAllowed, Detail: &stages.Detail{Field: field, Message: fmt.Sprintf(
			"is %.250q; the gateway writes to %s (KAFKA_TOPIC, KAFKA_TOPICS_ALLOWED)", r.RepublishTopic, strings.Join(topics, ", "))}}
	case r.RepublishTopic == topics[0] && !r.AllowSameTopic:
		return badField(field, fmt.Sprintf("is %s, the topic that is read: its events would be there twice; allow_same_topic says that this is meant", topics[0]))
	}
	return nil
}
