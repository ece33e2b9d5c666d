package kafka

// Requests about a group while it has no coordinator.

import (
	"context"
	"time"
)

// coordinatorWait is the pause before the coordinator of a group is asked again.
const coordinatorWait = 100 * time.Millisecond

// untilCoordinated repeats a request about a group while its error is one that passes, until ctx is over. franz-go does not always
// do so; and Kafka says for some seconds that there is no coordinator when the first group of all asks for one, or when it
// moves.
func untilCoordinated(ctx context.Context, passes func(error) bool, request func() error) error {
	for {
		err := request()
		if err == nil || !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(coordinatorWait):
		}
	}
}
