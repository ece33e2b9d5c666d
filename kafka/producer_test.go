package kafka

import (
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

func TestProduceAcknowledges(t *testing.T) {
	r := newRig(t, nil).ready()
	r.produce(r.partition(0), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
}
