package main

import (
	"math"
	"testing"
)

const tracesOfPprof = `File: gateway
Type: cpu
-----------+-------------------------------------------------------
      stage: decode
     worker: 0
      30ms   runtime.memmove
             github.com/twmb/franz-go/pkg/kbin.AppendVarintBytes (inline)
             github.com/event-gateway/event-gateway/kafka.(*Producer).Produce
-----------+-------------------------------------------------------
      10ms   github.com/event-gateway/event-gateway/stages.(*Event).Reset
             github.com/event-gateway/event-gateway/pipeline.(*decodeWorker).prepare
-----------+-------------------------------------------------------
     1.20s   internal/runtime/syscall/linux.Syscall6
             net.(*conn).Read
             github.com/event-gateway/event-gateway/transport.(*recvConn).Read
             golang.org/x/net/http2.(*Framer).ReadFrameHeader
             google.golang.org/grpc/internal/transport.(*http2Server).HandleStreams
-----------+-------------------------------------------------------
      60ms   runtime.futex
             runtime.mcall
`

func TestOwnersOf(t *testing.T) {
	shares := ownersOf(tracesOfPprof)
	const total = 30 + 10 + 1200 + 60
	for name, ms := range map[string]float64{"franz-go": 30, "gateway": 10, "grpc-go": 1200, ownerless: 60} {
		if got, want := shares[name], ms/total; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if shares := ownersOf("no traces"); len(shares) != 0 {
		t.Errorf("%v of nothing", shares)
	}
}
