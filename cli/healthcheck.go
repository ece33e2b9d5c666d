package cli

// gateway healthcheck: what a container's health check runs, so that the image
// needs no curl.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

type healthcheckCommand struct {
	Live    bool          `help:"Ask only whether the process is alive (/health), not whether it is ready (/ready)."`
	Address string        `placeholder:"HOST:PORT" help:"The admin server (default: this machine, HTTP_PORT)."`
	Timeout time.Duration `default:"3s" placeholder:"TIME" help:"How long to wait for the answer (default ${default})."`
}

func (healthcheckCommand) Help() string {
	return `Asks the admin server of the gateway on this machine; HTTP_BIND and HTTP_PORT say where it is. Exits with 0 when the gateway is ready, with 1 and the reasons when it is not.

Examples:
  gateway healthcheck
  gateway healthcheck --live
  gateway healthcheck --address localhost:8081`
}

// maxHealthBody bounds what is read of an answer.
const maxHealthBody = 64 << 10

// Run asks once.
func (c healthcheckCommand) Run(p *Program) error {
	address := c.Address
	if address == "" {
		var err error
		if address, err = p.AdminAddress(); err != nil {
			return failed("%v", err)
		}
	}
	path := "/ready"
	if c.Live {
		path = "/health"
	}
	ctx, cancel := context.WithTimeout(background(), c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return fmt.Errorf("--address=%s: %w", address, err)
	}
	// No proxy from the environment: this machine is asked.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return failed("%s: no answer within %v", address, c.Timeout)
		}
		return failed("%v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthBody))
	if err != nil {
		return failed("%s: reading the answer: %v", address, err)
	}
	if response.StatusCode != http.StatusOK {
		return failed("%s%s answers %d: %s", address, path, response.StatusCode, healthReasons(body))
	}
	_, err = fmt.Fprintf(p.Stdout, "%s%s: ok\n", address, path)
	return err
}

// healthReasons are the "reasons" of /ready, or whatever the body says.
func healthReasons(body []byte) string {
	var answer struct {
		Reasons []string `json:"reasons"`
	}
	if json.Unmarshal(body, &answer) == nil && len(answer.Reasons) > 0 {
		return strings.Join(answer.Reasons, "; ")
	}
	return oneLine(strings.TrimSpace(string(body)))
}
