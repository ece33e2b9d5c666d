// Package cli holds the commands of the gateway binary beside serving itself:
// publish, subscribe, replay, get, dlq, transform, config, healthcheck and version. It never ends the process; every
// command returns its exit code to main.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/event-gateway/event-gateway/kafka"
)

// The exit codes that commands share; serving has its own beside them (see main.go).
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Program is what the commands need of the program around them.
type Program struct {
	// Version is the gateway's own version.
	Version string
	// Serve runs the gateway until it is told to stop and returns the exit code.
	Serve func() int
	// Settings lists every environment variable, and what is wrong with them.
	Settings func() ([]Setting, []error)
	// DeadLetters says where the gateway's dead letters are, as the environment says. Brokers and Topic may be empty.
	DeadLetters func() kafka.LetterSource
	// AdminAddress is host:port of this machine's admin server as the environment says.
	AdminAddress func() (string, error)
	// DryRun is the rules as the environment has them, or what is wrong with the settings.
	DryRun func() (*DryRun, []error)

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// commands is the command line; the doc comments of the types are not shown, the tags are.
type commands struct {
	Serve       serveCommand       `cmd:"" default:"1" help:"Run the gateway (also without a command). Settings come from the environment."`
	Publish     publishCommand     `cmd:"" help:"Send events to a gateway: one from flags, JSON lines from stdin, or generated load."`
	Subscribe   subscribeCommand   `cmd:"" help:"Print stored events as they arrive, from a chosen start on."`
	Replay      replayCommand      `cmd:"" help:"Read a range of stored events again, or send it through the gateway into another topic."`
	Get         getCommand         `cmd:"" help:"Print a recent event by its id."`
	Dlq         dlqCommand         `cmd:"" help:"List, show and send again the events that the gateway has refused and kept."`
	Transform   transformCommand   `cmd:"" help:"Show what the rules in the environment make of an event, rule by rule."`
	Config      configCommand      `cmd:"" help:"Show every setting: value, default, source and meaning."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask the gateway on this machine whether it is ready."`
	Version     versionCommand     `cmd:"" help:"Print the versions of the gateway and of its main libraries."`
}

const description = `Event Gateway takes events over gRPC and answers each one when Kafka has it.

Without a command it serves. It is configured by environment variables alone; "gateway config" lists them. Without KAFKA_BROKERS it runs an embedded Kafka broker.

Examples:
  gateway
  KAFKA_BROKERS=kafka-1:9092,kafka-2:9092 gateway
  gateway publish --type order.created --source /shop --key 42 --data '{"total":10}'`

// Run runs the command that args name and returns the process's exit code.
func Run(program Program, args []string) int {
	helped := false
	parser, err := kong.New(&commands{},
		kong.Name("gateway"),
		kong.Description(description),
		kong.Writers(program.Stdout, program.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "event", Title: "One event:"}, {Key: "load", Title: "Generated events:"},
			{Key: "which", Title: "Which events:"}, {Key: "end", Title: "When to end:"}, {Key: "where", Title: "Where they go:"},
			{Key: "letters", Title: "Which letters:"}, {Key: "sending", Title: "Sending:"},
			{Key: "gateway", Title: "Gateway and output:"}, {Key: "kafka", Title: "Kafka:"},
		}),
		// kong wants to end the process after --help; only main may.
		kong.Exit(func(int) { helped = true }),
		kong.Bind(&program),
	)
	if err != nil {
		say(program.Stderr, "gateway: %v\n", err)
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err == nil {
		err = parsed.Run()
	}
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		if exit.message != "" {
			say(program.Stderr, "gateway: %s\n", exit.message)
		}
		return exit.code
	default:
		say(program.Stderr, "gateway: %v\nRun \"gateway --help\" or \"gateway COMMAND --help\".\n", err)
		return exitUsage
	}
}

// exitError carries a command's exit code, and a message for stderr that may be empty.
type exitError struct {
	code    int
	message string
}

func (e exitError) Error() string { return e.message }

func failed(format string, args ...any) error {
	return exitError{exitFailed, fmt.Sprintf(format, args...)}
}

func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return exitError{code: code}
}

type serveCommand struct{}

func (serveCommand) Help() string {
	return `Serves until SIGTERM or SIGINT, then drains: every event in flight gets its outcome. A second signal exits at once. SIGHUP reopens the log file.

Exit codes: 0 stopped and drained; 1 could not start or failed; 2 a setting is wrong; 3 the drain ran out of time (SHUTDOWN_TIMEOUT); 130 a second signal.

Examples:
  gateway
  RATE_LIMIT_ENABLED=false EMBEDDED_KAFKA_PORT=9092 gateway
  KAFKA_BROKERS=kafka-1:9092 LOG_FORMAT=text gateway`
}

func (serveCommand) Run(p *Program) error { return exitWith(p.Serve()) }

// say prints, and does not care whether anyone reads it: the exit code is what counts.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && terminal(f.Fd())
}
