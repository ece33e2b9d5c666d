package kafka

// Kafka's answers and franz-go's errors as outcomes: one function. The rule:
// only what proves that the event is not in Kafka is a refusal; everything
// else is unknown. The table was measured against a broker with injected
// faults (errors_test.go repeats it).

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// class is what a Kafka error code says about a record.
type class uint8

const (
	// unclassified does not occur: every code of kerr is in the table (a test holds that).
	unclassified class = iota
	// doubtful: the record may be stored. Codes that franz-go retries end up here only when the delivery
	// timeout has passed, and an earlier attempt may have landed.
	doubtful
	// offPath: a code that no answer to a produce, metadata or producer-id request has. Nothing is known then.
	offPath
	// rejected: the broker looked at the batch and did not append it because of what is in it.
	rejected
	// missing: the cluster does not have the topic.
	missing
	// recreated: the topic was deleted and made anew; franz-go holds on to the old one.
	recreated
	// unauthorized: the gateway's own credentials do not suffice.
	unauthorized
	// misused: the broker refuses how the gateway asks, whatever the record: our bug or the operator's setting.
	misused
)

// classes has every error code of the protocol.
var classes = classTable(map[class][]*kerr.Error{
	rejected: {
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp,
		kerr.CorruptMessage, kerr.PolicyViolation,
	},
	missing:   {kerr.UnknownTopicOrPartition, kerr.InvalidTopicException},
	recreated: {kerr.UnknownTopicID},
	unauthorized: {
		kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.SecurityDisabled,
	},
	misused: {
		kerr.InvalidRequiredAcks, kerr.UnsupportedVersion, kerr.UnsupportedForMessageFormat,
		kerr.UnsupportedCompressionType, kerr.InvalidRequest,
	},
	doubtful: {
		kerr.UnknownServerError, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.NotEnoughReplicas,
		kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.BrokerNotAvailable, kerr.ReplicaNotAvailable,
		kerr.NetworkException, kerr.KafkaStorageError, kerr.ThrottlingQuotaExceeded, kerr.NotController,
		kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.StaleControllerEpoch,
		kerr.OutOfOrderSequenceNumber, kerr.DuplicateSequenceNumber, kerr.UnknownProducerID,
		kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.ProducerFenced, kerr.InvalidTxnState,
		kerr.ConcurrentTransactions, kerr.TransactionAbortable, kerr.OperationNotAttempted,
		kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.PreferredLeaderNotAvailable, kerr.EligibleLeadersNotAvailable,
		kerr.StaleBrokerEpoch, kerr.OffsetNotAvailable, kerr.ListenerNotFound, kerr.RebootstrapRequired,
		kerr.InconsistentTopicID, kerr.InconsistentClusterID, kerr.UnstableOffsetCommit, kerr.LogDirNotFound,
		kerr.TransactionCoordinatorFenced, kerr.UnknownControllerID, kerr.BrokerIDNotRegistered,
		kerr.IneligibleReplica, kerr.NewLeaderElected, kerr.NoReassignmentInProgress, kerr.ReassignmentInProgress,
		kerr.ElectionNotNeeded,
	},
})

func classTable(groups map[class][]*kerr.Error) map[int16]class {
	table := make(map[int16]class)
	for c, errs := range groups {
		for _, err := range errs {
			table[err.Code] = c
		}
	}
	for _, code := range offPathCodes {
		table[code] = offPath
	}
	return table
}

// Classify says what became of a record whose promise ran with err.
// batchRecords is the number of records in its batch: 1 only when that is
// certain, 0 when it is not known. Kafka and franz-go judge batches, so the
// neighbours of a bad record learn nothing about themselves.
func Classify(err error, batchRecords int) stages.Verdict {
	verdict := func(o stages.Outcome, r stages.Reason) stages.Verdict {
		return stages.Verdict{Outcome: o, Reason: r, Stage: stages.AtProduce}
	}
	unknown := verdict(stages.Unknown, stages.OutcomeUnknown)
	switch {
	case err == nil:
		return verdict(stages.Acknowledged, stages.NoReason)
	case errors.Is(err, kgo.ErrMaxBuffered):
		return verdict(stages.Refused, stages.BufferFull)
	case errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries):
		// They wrap the last answer, which says nothing about the attempts before it.
		return unknown
	}
	answer, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return unknown
	}
	switch classes[answer.Code] {
	case rejected:
		if batchRecords == 1 {
			v := verdict(stages.Refused, stages.RecordRejected)
			v.Detail = &stages.Detail{Message: "Kafka rejected the record: " + answer.Message + ": " + answer.Description}
			return v
		}
		return verdict(stages.Refused, stages.BatchRejected)
	case missing:
		return verdict(stages.Refused, stages.TopicNotFound)
	case recreated:
		return verdict(stages.Refused, stages.TopicRecreated)
	case unauthorized:
		return verdict(stages.Refused, stages.KafkaUnauthorized)
	case misused:
		return verdict(stages.Refused, stages.InternalError)
	}
	return unknown
}
