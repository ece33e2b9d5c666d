package kafka

// The error codes that no answer to a produce, metadata or producer-id request
// has: group, share, transaction-admin, quorum and admin errors. Listed one by
// one so that a code which a new Kafka version adds is noticed and classified.

import "github.com/twmb/franz-go/pkg/kerr"

var offPathCodes = []int16{
	kerr.OffsetOutOfRange.Code, kerr.InvalidFetchSize.Code, kerr.OffsetMetadataTooLarge.Code,
	kerr.IllegalGeneration.Code, kerr.InconsistentGroupProtocol.Code, kerr.InvalidGroupID.Code,
	kerr.UnknownMemberID.Code, kerr.InvalidSessionTimeout.Code, kerr.RebalanceInProgress.Code,
	kerr.InvalidCommitOffsetSize.Code, kerr.GroupAuthorizationFailed.Code, kerr.TopicAlreadyExists.Code,
	kerr.InvalidPartitions.Code, kerr.InvalidReplicationFactor.Code, kerr.InvalidReplicaAssignment.Code,
	kerr.InvalidConfig.Code, kerr.InvalidTransactionTimeout.Code, kerr.DelegationTokenAuthDisabled.Code,
	kerr.DelegationTokenNotFound.Code, kerr.DelegationTokenOwnerMismatch.Code,
	kerr.DelegationTokenRequestNotAllowed.Code, kerr.DelegationTokenAuthorizationFailed.Code,
	kerr.DelegationTokenExpired.Code, kerr.InvalidPrincipalType.Code, kerr.NonEmptyGroup.Code,
	kerr.GroupIDNotFound.Code, kerr.FetchSessionIDNotFound.Code, kerr.InvalidFetchSessionEpoch.Code,
	kerr.TopicDeletionDisabled.Code, kerr.MemberIDRequired.Code, kerr.GroupMaxSizeReached.Code,
	kerr.FencedInstanceID.Code, kerr.GroupSubscribedToTopic.Code, kerr.ResourceNotFound.Code,
	kerr.DuplicateResource.Code, kerr.UnacceptableCredential.Code, kerr.InconsistentVoterSet.Code,
	kerr.InvalidUpdateVersion.Code, kerr.FeatureUpdateFailed.Code,
	kerr.PrincipalDeserializationFailure.Code, kerr.SnapshotNotFound.Code, kerr.PositionOutOfRange.Code,
	kerr.DuplicateBrokerRegistration.Code, kerr.TransactionalIDNotFound.Code,
	kerr.FetchSessionTopicIDError.Code, kerr.OffsetMovedToTieredStorage.Code, kerr.FencedMemberEpoch.Code,
	kerr.UnreleasedInstanceID.Code, kerr.UnsupportedAssignor.Code, kerr.StaleMemberEpoch.Code,
	kerr.MismatchedEndpointType.Code, kerr.UnsupportedEndpointType.Code, kerr.UnknownSubscriptionID.Code,
	kerr.TelemetryTooLarge.Code, kerr.InvalidRegistration.Code, kerr.InvalidRecordState.Code,
	kerr.ShareSessionNotFound.Code, kerr.InvalidShareSessionEpoch.Code, kerr.FencedStateEpoch.Code,
	kerr.InvalidVoterKey.Code, kerr.DuplicateVoter.Code, kerr.VoterNotFound.Code,
	kerr.InvalidRegularExpression.Code, kerr.StreamsInvalidTopology.Code,
	kerr.StreamsInvalidTopologyEpoch.Code, kerr.StreamsTopologyFenced.Code,
	kerr.ShareSessionLimitReached.Code, kerr.GroupDeletionFailed.Code,
	kerr.StreamsTopologyDescriptionUpdateFailed.Code, kerr.ControllerIDNotRegistered.Code,
}
