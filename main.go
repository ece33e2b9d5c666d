// Command gateway takes events over gRPC and answers each one after Kafka has stored it.
package main

// Life of the process. It stops in the reverse order.
//
//	 1 settings    from the environment; every problem is named, then exit 2     config.go
//	 2 log                                                                       logs.go
//	 3 topics, breaker: what pipeline and Kafka side share
//	 4 pipeline    built, not running
//	 5 embedded broker, when KAFKA_BROKERS is empty
//	 6 producer    the Kafka client (or the sink that stands in for it)
//	 7 pipeline    runs: its produce workers hand over to 6, which reports back
//	 8 gRPC server listens and answers; KAFKA_UNAVAILABLE until Kafka has answered
//	 9 HTTP server health, readiness, metrics
//	10 ready       when Kafka has answered: /ready 200, grpc.health SERVING
//
// SIGTERM and SIGINT begin the drain (drain.go), a second one ends the process at
// once, SIGHUP opens the log file anew.

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/cli"
	"github.com/event-gateway/event-gateway/kafka"
)

// version is set by the linker (see Makefile); otherwise it is taken from the build information.
var version = ""

// The exit codes of serving.
const (
	exitStopped      = 0
	exitFailed       = 1
	exitBadSettings  = 2
	exitDrainTimeout = 3
	exitSecondSignal = 130
)

func main() { os.Exit(cli.Run(program(), os.Args[1:])) }

func program() cli.Program {
	return cli.Program{
		Version: buildVersion(), Serve: serve, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Settings: func() ([]cli.Setting, []error) {
			environ := environment()
			c, problems, _ := load(environ)
			return c.settings(environ), problems
		},
		AdminAddress: func() (string, error) {
			c, _, _ := load(environment())
			if c.transport.HTTPPort == 0 {
				return "", fmt.Errorf("HTTP_PORT=%s does not tell where the admin server is; name it with --address", os.Getenv("HTTP_PORT"))
			}
			return c.adminAddress(), nil
		},
		DeadLetters: deadLetters,
		DryRun:      dryRun,
	}
}

// dryRun is what gateway transform runs.
func dryRun() (*cli.DryRun, []error) {
	c, problems, _ := load(environment())
	return &cli.DryRun{Config: c.stages, Rules: c.rules, Topics: c.kafka.Routable(), DeadLetter: c.kafka.DLQTopic,
		RecordSize: c.kafka.RecordFormat.EncodedSize}, problems
}

// deadLetters is where this gateway's dead letters are.
func deadLetters() kafka.LetterSource {
	environ := environment()
	c, _, _ := load(environ)
	source := kafka.LetterSource{Brokers: c.kafka.Brokers, Topic: environ["KAFKA_DLQ_TOPIC"], Group: c.kafka.GroupID + ".dlq"}
	if c.kafka.Embedded() && c.kafka.EmbeddedPort > 0 {
		source.Brokers = []string{fmt.Sprintf("127.0.0.1:%d", c.kafka.EmbeddedPort)}
	}
	return source
}

// buildVersion is the linker's version, or what the Go tool has recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// serve runs the gateway until a signal, and returns the exit code.
func serve() int {
	environ := environment()
	cfg, problems, warnings := load(environ)
	if len(problems) > 0 {
		for _, problem := range problems {
			fmt.Fprintln(os.Stderr, problem)
		}
		for _, warning := range warnings { // a slip in a name may be the cause
			fmt.Fprintln(os.Stderr, "warning: "+warning)
		}
		return exitBadSettings
	}
	log, err := newLogs(&cfg.process)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitBadSettings
	}
	defer func() { _ = log.close() }()
	for _, warning := range warnings {
		log.Warn().Msg(warning)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	defer reopenOnHangup(log)()
	return newGateway(cfg, log).live(environ, signals)
}

// live starts the gateway, waits for a signal or a failure, and drains. Start and drain run beside it, so
// that a second signal is heard at any time.
func (g *gateway) live(environ map[string]string, signals <-chan os.Signal) int {
	began := time.Now()
	started := make(chan error, 1)
	go func() { started <- g.start() }()
	asked := false
	for running := false; !running; {
		select {
		case err := <-started:
			if err != nil {
				g.log.Error().Err(err).Msg("the gateway cannot start")
				g.halt()
				return exitFailed
			}
			running = true
		case s := <-signals:
			if asked {
				return g.giveUp(s, 0)
			}
			asked = true
			g.log.Info().Stringer("signal", s).Msg("stopping as soon as the start is over")
		}
	}
	g.logStart(environ, time.Since(began))
	if environ["GOGC"] == "" { // only now: the embedded broker's start has a GOGC of its own
		defer startCollector(heapRoom, uint64(g.pipeline.Preallocated()))()
	}
	code := exitStopped
	if !asked {
		select {
		case s := <-signals:
			g.log.Info().Stringer("signal", s).Msg("stopping")
		case err := <-g.failed:
			g.log.Error().Err(err).Msg("a server failed; stopping")
			code = exitFailed
		}
	}
	// The timer only guards against a step of the drain that does not keep to its time.
	late := time.NewTimer(g.cfg.process.ShutdownTimeout + time.Second)
	defer late.Stop()
	drained := make(chan int, 1)
	go func() { drained <- g.drain() }()
	select {
	case drain := <-drained:
		return max(code, drain)
	case s := <-signals:
		return g.giveUp(s, g.pipeline.InFlight())
	case <-late.C:
		g.log.Error().Int64("in_flight", g.pipeline.InFlight()).Msg("the stop did not end within SHUTDOWN_TIMEOUT; exiting")
		return exitDrainTimeout
	}
}

func (g *gateway) giveUp(s os.Signal, inFlight int64) int {
	g.log.Warn().Stringer("signal", s).Int64("in_flight", inFlight).
		Msg("second signal: exiting at once, events in flight get no answer")
	return exitSecondSignal
}

// reopenOnHangup opens the log anew at every SIGHUP until the returned function is called.
func reopenOnHangup(log *logs) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups:
				if err := log.output.reopen(); err != nil {
					log.Error().Err(err).Msg("the log cannot be opened anew; the old file stays in use")
					continue
				}
				log.Info().Msg("log opened anew")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
		<-ended
	}
}
