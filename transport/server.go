// Package transport is the gateway's two servers: gRPC for producers and HTTP
// for operators. It turns calls into messages of the pipeline and outcomes
// into answers; what happens to an event in between is none of its business.
package transport

// The gRPC server: its options with a reason each, and its life.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// otherMessageBytes bounds the requests of methods that take no events; those are small.
	otherMessageBytes = 64 << 10
	// streamWindow is what a client may send ahead on one stream before the gateway has read it, connWindow the
	// same for a connection. Fixed: grpc-go's own estimate lets a fast client's windows grow to 16 MiB a stream.
	// A window bounds a stream to streamWindow per round trip; large messages get one of their own size.
	streamWindow = 384 << 10
	connWindow   = 1536 << 10

	// streamWorkers are goroutines of grpc-go that handle one call after the other, with a stack that has grown once;
	// calls beyond them get a goroutine of their own, which grows its stack from 2 KiB in several copies (6 us a unary
	// call). With 16 unary callers, 10 interleaved rounds: 0.80 (0.62 to 0.90) of the CPU, 1.12 of the rate. Long streams
	// keep theirs, so there are more than processors, and few enough for their stacks (16 KiB each) to be no matter.
	streamWorkers = 32

	// Silent connections are closed after connectionTimeout (grpc-go: 2 minutes).
	connectionTimeout = 10 * time.Second
	// A dead peer is noticed after keepaliveTime + keepaliveTimeout.
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
	// Clients may ping as often as this, also without a call; grpc-go's default of 5 minutes cuts normal clients.
	keepaliveMinTime = 15 * time.Second
	connectionIdle   = 5 * time.Minute
	// ageGrace is what a connection gets beyond the age of a stream that began as late as possible.
	ageGrace = time.Minute
	// ageJitter spreads the ends of streams that began together.
	ageJitter = 0.1
)

// Server is the gRPC server.
type Server struct {
	config   Config
	pipeline Pipeline
	Services
	clients  *clientTable
	recv     *recvLimit
	send     *sendLimit
	filters  filterLimit
	listener *limitListener
	grpc     *grpc.Server
	health   *health.Server
	metrics  *meters
	streams  streamSet
	open     openCalls
	drain    atomic.Bool
}

// Services are what answers the calls that are not events on their way in. Each may be nil.
type Services struct {
	// Schemas answers schema.v1.SchemaService; nil: its methods are not implemented.
	Schemas Schemas
	// Reading answers SubscribeEvents and ReplayEvents; nil: READING_DISABLED.
	Reading stages.Reading
	// Topics are those of the pipeline, where replays find Config.ReplayTopics.
	Topics *stages.Topics
	// Lookup answers GetEvent; nil: STORE_DISABLED.
	Lookup Lookup
}

// New listens on the gRPC port and builds the server; nothing is accepted before Serve. creds is nil for plain text.
func New(cfg Config, p Pipeline, services Services, creds credentials.TransportCredentials) (*Server, error) {
	if errs := cfg.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if cfg.DeliveryTimeout <= 0 || cfg.MaxBatchEvents <= 0 {
		return nil, fmt.Errorf("transport: DeliveryTimeout=%v and MaxBatchEvents=%d must be copied from the pipeline's configuration",
			cfg.DeliveryTimeout, cfg.MaxBatchEvents)
	}
	address := net.JoinHostPort(cfg.GRPCBind, strconv.Itoa(cfg.GRPCPort))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("gRPC server on %s: %w", address, err)
	}
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	s := &Server{
		config:   cfg,
		pipeline: p,
		Services: services,
		clients:  newClientTable(maxClients, p.NewClient),
		recv:     newRecvLimit(cfg.MaxReceive),
		send:     &sendLimit{room: sendRoom, timeout: cfg.SendTimeout},
		listener: newLimitListener(l, cfg.MaxConnections, cfg.MaxConnectionsEach),
		health:   health.NewServer(),
		metrics:  newMeters(),
	}
	s.grpc = grpc.NewServer(s.options(creds)...)
	s.grpc.RegisterService(s.gatewayDesc(), nil)
	s.grpc.RegisterService(s.schemaDesc(), nil)
	s.grpc.RegisterService(s.open.watched(healthpb.Health_ServiceDesc), s.health)
	reflection.RegisterV1(s.grpc)
	s.gauges()
	s.SetServing(false)
	return s, nil
}

// BufferOptions are the server's flow-control windows and buffers, for programs that measure grpc-go with the same.
func BufferOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		experimental.BufferPool(&buffers),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
	}
}

func (s *Server) options(creds credentials.TransportCredentials) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.Creds(recvCredentials{creds, s.recv, s.send}),
		grpc.InTapHandle(tapFrames),
		grpc.ReadBufferSize(0), // see conn.go
		grpc.MaxRecvMsgSize(otherMessageBytes),
		grpc.MaxConcurrentStreams(uint32(s.config.MaxConcurrentStreams)),
		grpc.MaxHeaderListSize(uint32(s.config.MaxHeaderBytes)),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.StreamInterceptor(s.open.intercept),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.UnknownServiceHandler(s.metrics.unknown()),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinTime, PermitWithoutStream: true}),
	}
	alive := keepalive.ServerParameters{
		Time: keepaliveTime, Timeout: keepaliveTimeout, MaxConnectionIdle: connectionIdle,
	}
	if age := s.config.MaxConnectionAge; age > 0 {
		// GOAWAY at the age; the streams end themselves at theirs, so nothing is left when the grace is over.
		alive.MaxConnectionAge = age
		alive.MaxConnectionAgeGrace = age + time.Duration(float64(age)*2*ageJitter) + s.config.DeliveryTimeout + ageGrace
	}
	return append(append(options, BufferOptions()...), grpc.KeepaliveParams(alive))
}

// Serve accepts connections until Drain or Stop; nil after those.
func (s *Server) Serve() error {
	if err := s.grpc.Serve(s.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gRPC server on %s: %w", s.Addr(), err)
	}
	return nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// SetServing sets what grpc.health.v1 says, for the server as a whole and for the event service. Calls are taken
// in either case.
func (s *Server) SetServing(serving bool) {
	state := healthpb.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthpb.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
	s.health.SetServingStatus(gatewayService, state)
}

// clientOf is the account of a call's client, in use: the caller unholds it.
func (s *Server) clientOf(ctx context.Context) *stages.Client {
	host := otherClient
	if p, ok := peer.FromContext(ctx); ok {
		if a, ok := p.Addr.(*connAddr); ok {
			host = a.host
		}
	}
	return s.clients.hold(host)
}

// streamAge is how long a stream that begins now may live; 0 = for ever.
func (s *Server) streamAge() time.Duration {
	age := float64(s.config.MaxConnectionAge)
	return time.Duration(age * (1 + ageJitter*(2*rand.Float64()-1)))
}
