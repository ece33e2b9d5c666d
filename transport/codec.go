package transport

// The codec of the whole gRPC server: our answers leave as the bytes that
// they already are; every other message goes through the registered proto
// codec. Requests of the ingest methods never reach a codec: their frames
// are read as they are (frame.go).

import (
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // requests may be compressed with gzip
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// answer is an encoded response message on its way into SendMsg. It is used again for the next one.
type answer struct {
	// bytes comes from the buffer pool; grpc-go gives it back when it was written to the connection.
	bytes *[]byte
	// pool takes bytes back: the connection's account, or nil for the buffer pool itself.
	pool mem.BufferPool
}

// home is where the answer's buffer goes.
func (a *answer) home() mem.BufferPool {
	if a.pool == nil {
		return &buffers
	}
	return a.pool
}

// codec is an encoding.CodecV2 with the name "proto".
type codec struct {
	proto encoding.CodecV2
}

func newCodec() codec { return codec{proto: encoding.GetCodecV2(proto.Name)} }

// Name is that of the codec it stands in for.
func (codec) Name() string { return proto.Name }

// Marshal hands an answer's buffer over without a copy.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*answer); ok {
		b := mem.NewBuffer(a.bytes, a.home())
		a.bytes = nil
		return mem.BufferSlice{b}, nil
	}
	return c.proto.Marshal(v)
}

// Unmarshal is the registered codec's.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error { return c.proto.Unmarshal(data, v) }
