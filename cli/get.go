package cli

// gateway get: one recent event by its id.

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

type getCommand struct {
	ID      string        `arg:"" name:"ID" help:"The event's id."`
	Address string        `group:"gateway" default:"localhost:50051" placeholder:"HOST:PORT" help:"The gateway (default ${default})."`
	Timeout time.Duration `group:"gateway" default:"10s" placeholder:"TIME" help:"How long to wait for the answer (default ${default})."`
}

func (getCommand) Help() string {
	return `Prints a recent event, in the form that publish reads: on several lines on a terminal, on one line in a pipe. A gateway knows the last events that it has acknowledged itself (EVENT_STORE_CAPACITY); subscribe and replay read older ones. Of several events with the same id it is the latest.

Exit codes: 0 printed; 1 this gateway does not have the event, or does not answer; 2 wrong usage; 3 the gateway refuses the request.

Examples:
  gateway get 019d0c3e-6f0e-7c3a-9d0b-5b1c2f6f8a11
  gateway get order-42 | jq .data_json`
}

// Validate is called by kong after parsing.
func (c *getCommand) Validate() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout=%v: more than 0", c.Timeout)
	}
	return nil
}

// Run asks once.
func (c *getCommand) Run(p *Program) error {
	gateway := readingGateway{Address: c.Address}
	conn, err := gateway.dial("get", p)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	event, err := gatewayv1.NewEventGatewayClient(conn).GetEvent(ctx, &gatewayv1.GetEventRequest{Id: c.ID})
	if err != nil {
		e := endingOf(err)
		switch {
		case e.code == codes.NotFound:
			return failed("%s; an older one can be found with: %s", e.String(),
				shellLine("gateway", "replay", "--address", c.Address, "--from", "24h", "--filter", fmt.Sprintf("id == %q", c.ID)))
		case e.forGood():
			return exitError{exitRefused, e.String() + "; " + e.advice()}
		}
		return failed("%s: %s", c.Address, e.String())
	}
	indent := ""
	if isTerminal(p.Stdout) {
		indent = "  "
	}
	if err := writeJSON(p.Stdout, shownEventOf(event), indent); err != nil {
		return failed("printing the event: %v", err)
	}
	return nil
}
