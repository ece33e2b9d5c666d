package transport

// The services as grpc-go sees them. The ingest methods have handlers of their
// own that read raw frames; what this version does not have yet answers
// UNIMPLEMENTED with a reason, so that clients see the whole API.

import (
	"fmt"
	"strings"

	"google.golang.org/grpc"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const gatewayService = "gateway.v1.EventGateway"

// errNoWire: grpc-go no longer hands its transport stream to handlers; TestWire fails before this is released.
var errNoWire = reasonStatus(stages.InternalError, "this build's gRPC library has no raw frames").Err()

// gatewayDesc is the ServiceDesc of gateway.v1.EventGateway. Unary methods stand among the streams, with neither
// side streaming: that is what grpc-go makes of unary methods itself, and clients cannot tell.
func (s *Server) gatewayDesc() *grpc.ServiceDesc {
	ingest := func(h func(grpc.ServerStream, bool) error, batch bool) grpc.StreamHandler {
		return func(_ any, ss grpc.ServerStream) error { return h(ss, batch) }
	}
	d := &grpc.ServiceDesc{
		ServiceName: gatewayService,
		Streams: []grpc.StreamDesc{
			{StreamName: "IngestEvent", Handler: ingest(s.unary, false)},
			{StreamName: "IngestEventBatch", Handler: ingest(s.unary, true)},
			{StreamName: "IngestEventStream", Handler: ingest(s.stream, false), ServerStreams: true, ClientStreams: true},
			{StreamName: "IngestEventBatchStream", Handler: ingest(s.stream, true), ServerStreams: true, ClientStreams: true},
			{StreamName: "SubscribeEvents", Handler: s.subscribe, ServerStreams: true},
			{StreamName: "ReplayEvents", Handler: s.replay, ServerStreams: true},
			{StreamName: "GetEvent", Handler: notImplemented},
		},
		Metadata: gatewayv1.EventGateway_ServiceDesc.Metadata,
	}
	return s.metered(d)
}

// metered counts the calls of every method of d by how they ended.
func (s *Server) metered(d *grpc.ServiceDesc) *grpc.ServiceDesc {
	for i := range d.Streams {
		handler := d.Streams[i].Handler
		calls := s.metrics.method("/" + d.ServiceName + "/" + d.Streams[i].StreamName)
		d.Streams[i].Handler = func(srv any, ss grpc.ServerStream) error {
			err := handler(srv, ss)
			calls.count(err)
			return err
		}
	}
	return d
}

// notImplemented answers a method that this version does not have.
func notImplemented(_ any, ss grpc.ServerStream) error {
	return methodMissing(ss, stages.NotImplemented.Text())
}

// unknownMethod answers a method that no version has.
func unknownMethod(_ any, ss grpc.ServerStream) error {
	return methodMissing(ss, "the gateway has no such method")
}

func methodMissing(ss grpc.ServerStream, why string) error {
	name, _ := grpc.Method(ss.Context())
	return reasonStatus(stages.NotImplemented, validText(fmt.Sprintf("%s: %s", name, why))).Err()
}

// readsFrames reports whether the requests of a full method name are read as frames, and counted: the four ingest
// methods, and those of the schema service.
func readsFrames(fullMethod string) bool {
	if strings.HasPrefix(fullMethod, "/"+schemaService+"/") {
		return true
	}
	method, ok := strings.CutPrefix(fullMethod, "/"+gatewayService+"/")
	return ok && strings.HasPrefix(method, "IngestEvent")
}
