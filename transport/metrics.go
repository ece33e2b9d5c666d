package transport

// Numbers about connections, calls and receive memory. Labels are bounded:
// methods are those that are registered, codes are gRPC's.

import (
	"fmt"
	"io"

	"github.com/VictoriaMetrics/metrics"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lastCode is the highest gRPC code.
const lastCode = codes.Unauthenticated

// meters is the metrics of one server.
type meters struct {
	set         *metrics.Set
	slowClients *metrics.Counter
}

// callMeter counts the calls of one method by code.
type callMeter [lastCode + 1]*metrics.Counter

func newMeters() *meters {
	set := metrics.NewSet()
	return &meters{set: set, slowClients: set.NewCounter("gateway_grpc_slow_clients_total")}
}

// method returns the counters of a method, all there from the start so that rates are right from the first call.
func (m *meters) method(name string) *callMeter {
	var c callMeter
	for code := range c {
		c[code] = m.set.GetOrCreateCounter(fmt.Sprintf("gateway_grpc_calls_total{method=%q,code=%q}", name, codes.Code(code)))
	}
	return &c
}

// count notes one call that ended with err.
func (c *callMeter) count(err error) {
	code := status.Code(err)
	if code > lastCode {
		code = codes.Unknown
	}
	c[code].Inc()
}

// unknown answers and counts the methods that nobody registered, all under one name.
func (m *meters) unknown() grpc.StreamHandler {
	calls := m.method("unknown")
	return func(srv any, ss grpc.ServerStream) error {
		err := unknownMethod(srv, ss)
		calls.count(err)
		return err
	}
}

// gauges registers what is read when it is asked for.
func (s *Server) gauges() {
	gauge := func(name string, f func() float64) { s.metrics.set.NewGauge(name, f) }
	gauge("gateway_grpc_connections", func() float64 { return float64(s.listener.open.Load()) })
	gauge("gateway_grpc_connections_limit", func() float64 { return float64(s.listener.max) })
	gauge("gateway_grpc_ingest_streams", func() float64 { return float64(s.streams.count()) })
	gauge("gateway_grpc_clients", func() float64 { return float64(s.clients.count()) })
	gauge("gateway_receive_memory_bytes", func() float64 { return float64(s.recv.held()) })
	gauge("gateway_send_memory_bytes", func() float64 { return float64(s.send.held.Load()) })
	gauge("gateway_receive_memory_limit_bytes", func() float64 { return float64(s.config.MaxReceive) })
}

// WriteMetrics writes the transport's metrics in the Prometheus text format.
func (s *Server) WriteMetrics(w io.Writer) {
	s.metrics.set.WritePrometheus(w)
	s.recv.mu.Lock()
	refused := s.recv.refused
	s.recv.mu.Unlock()
	counters := []struct {
		name  string
		value int64
	}{
		{"gateway_grpc_connections_refused_total", s.listener.refused.Load()},
		{"gateway_send_connections_cut_total", s.send.cut.Load()},
		{"gateway_receive_paused_total", s.recv.paused.Load()},
		{"gateway_receive_connections_cut_total", s.recv.cut.Load()},
		{"gateway_receive_messages_refused_total", refused},
	}
	for _, c := range counters {
		_, _ = fmt.Fprintf(w, "%s %d\n", c.name, c.value)
	}
}
