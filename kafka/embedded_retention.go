package kafka

// Retention of the embedded broker, by age and size, on our own clock: the
// broker's own stops after a restart.

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// retain drops old events until ctx ends.
func (e *Embedded) retain(ctx context.Context) {
	e.applyRetention()
	ticker := time.NewTicker(retentionEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			e.applyRetention()
		}
	}
}

func (e *Embedded) applyRetention() { e.cluster.ApplyRetention() }

var _ = (*kfake.Cluster).ApplyRetention
