package kafka

// Errors of reading, as reasons for the reader. What passes by itself is
// KAFKA_UNAVAILABLE: franz-go has then tried for KAFKA_READ_TIMEOUT already.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// unreadable says whether the error of a fetch is about what was fetched: a bad checksum, a batch that cannot be
// decompressed or parsed. franz-go has no type for most of them, so they are what is left: it retries what the network
// does by itself, and hands on only what a context, a closed client or a lost group session made of a fetch.
func unreadable(err error) bool {
	if errors.Is(err, kgo.ErrMaxDecompress) {
		return true
	}
	_, network := errors.AsType[net.Error](err)
	_, session := errors.AsType[*kgo.ErrGroupSession](err)
	_, first := errors.AsType[*kgo.ErrFirstReadEOF](err)
	return !network && !session && !first && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) &&
		!errors.Is(err, kgo.ErrClientClosed) && !errors.Is(err, io.EOF) && !errors.Is(err, kgo.ErrRecordTimeout)
}

// readReason says why a reading cannot go on.
func readReason(err error) stages.Reason {
	if _, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
		return stages.EventsExpired
	}
	answer, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		// Only a fetch reads records; other requests fail with what franz-go has no type for, too.
		if failed, ok := errors.AsType[*partitionError](err); ok && failed.topic != "" && unreadable(err) {
			return stages.RecordUnreadable
		}
		return stages.KafkaUnavailable
	}
	switch answer.Code {
	case kerr.OffsetOutOfRange.Code:
		return stages.EventsExpired
	case kerr.CorruptMessage.Code:
		return stages.RecordUnreadable
	case kerr.InconsistentGroupProtocol.Code, kerr.InvalidGroupID.Code, kerr.InvalidSessionTimeout.Code,
		kerr.GroupMaxSizeReached.Code, kerr.GroupAuthorizationFailed.Code, kerr.UnsupportedAssignor.Code:
		return stages.GroupUnusable
	}
	switch classes[answer.Code] {
	case missing:
		return stages.TopicNotFound
	case recreated:
		return stages.TopicRecreated
	case unauthorized:
		return stages.KafkaUnauthorized
	}
	return stages.KafkaUnavailable
}

// isContext: the error of a poll that was not waited for any longer.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// partitionError says where a fetch failed; without a topic it was not one partition's.
type partitionError struct {
	topic     string
	partition int32
	err       error
}

func (e *partitionError) Error() string {
	if e.topic == "" {
		return e.err.Error()
	}
	return fmt.Sprintf("topic %s, partition %d: %v", e.topic, e.partition, e.err)
}

func (e *partitionError) Unwrap() error { return e.err }
