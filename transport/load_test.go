package transport

import (
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// BenchmarkStreams is the whole way of an event through transport and pipeline and back, generator included.
func BenchmarkStreams(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			g := start(b, nil)
			r := batchRequest(size)
			for _, e := range r.Events {
				e.Data, e.PartitionKey = make([]byte, 300), e.Id
			}
			frame, err := proto.Marshal(r)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			const streams = 4
			done := make(chan error, streams)
			for range streams {
				s := g.rawStream(g.t.Context(), batchStreamMethod)
				go func() { done <- pump(s, frame, &left, int64(size)) }()
			}
			for range streams {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// pump sends frames of size events on s, as fast as answers come, until left is used up.
func pump(s grpc.ClientStream, frame []byte, left *atomic.Int64, size int64) error {
	const ahead = 64
	ended := make(chan error, 1)
	room := make(chan struct{}, ahead)
	go func() {
		var answer []byte
		for {
			if err := s.RecvMsg(&answer); err != nil {
				ended <- err
				return
			}
			<-room
		}
	}()
	for left.Add(-size) > -size {
		room <- struct{}{}
		if err := s.SendMsg(&frame); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	if err := <-ended; err.Error() != "EOF" {
		return err
	}
	return nil
}
