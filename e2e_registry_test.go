package main

// R44: a schema registry that fails in every way, under the real binary. Schemas that the gateway has go on, those
// that it lacks are answered in time, and nobody waits for somebody else's schema.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// states are what the registry can be in, by the first word of what a test asks it for.
var states = map[string]http.HandlerFunc{
	"slow": func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done(): // the gateway has given up
		case <-time.After(30 * time.Second):
		}
	},
	"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	"garbage": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x00\xff{\"schema\":") },
	"closed":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"metadata": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
	},
	"elsewhere": func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	},
}

// fakeRegistry is a registry of the subject events-value, whose state changes, and of subjects that are hostile by
// themselves.
type fakeRegistry struct {
	address string
	// release ends the fetches of the subject held.
	release chan struct{}

	mu     sync.Mutex // guards the following
	server *http.Server
	state  string
	asked  map[string]int // by state, for events-value
	// other are requests that no client of a registry makes: behind a redirect, or to a proxy.
	other []string
}

func startFakeRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{release: make(chan struct{}), asked: map[string]int{}}
	f.listen(t)
	t.Cleanup(func() { _ = f.server.Close() })
	return f
}

// listen opens the registry, again on the address that it had.
func (f *fakeRegistry) listen(t *testing.T) {
	t.Helper()
	address := f.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	var l net.Listener
	eventually(t, "the registry's port", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	f.address, f.server = l.Addr().String(), &http.Server{Handler: f, ReadHeaderTimeout: patience}
	server := f.server
	go func() { _ = server.Serve(l) }()
}

func (f *fakeRegistry) set(state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
}

// askedIn is how often events-value was asked for in a state.
func (f *fakeRegistry) askedIn(state string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[state]
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	subject, version, isVersion := strings.Cut(strings.TrimPrefix(r.URL.Path, "/subjects/"), "/versions/")
	f.mu.Lock()
	state := f.state
	switch {
	case !isVersion || r.Host != f.address:
		f.other = append(f.other, r.Method+" "+r.Host+r.URL.String())
	case subject == "events-value":
		f.asked[state]++
	}
	f.mu.Unlock()
	if fail := states[state]; fail != nil {
		fail(w, r)
		return
	}
	f.serve(w, r, subject, version)
}

// serve is the registry in good health.
func (f *fakeRegistry) serve(w http.ResponseWriter, r *http.Request, subject, version string) {
	write := func(id int, definition, more string) {
		text, _ := json.Marshal(definition)
		_, _ = fmt.Fprintf(w, `{"subject":%q,"version":1,"id":%d,"schemaType":"JSON","schema":%s%s}`, subject, id, text, more)
	}
	refers := func(to string) string {
		return fmt.Sprintf(`,"references":[{"name":"x","subject":%q,"version":1}]`, to)
	}
	switch subject {
	case "events-value":
		write(7, orderSchema, "")
	case "held":
		select {
		case <-f.release:
			write(8, `{"type":"object"}`, "")
		case <-r.Context().Done():
		}
	case "large": // 10 MB, and 50 MB without a length, by which it could be refused at once
		write(9, `{"description":"`+strings.Repeat("x", 10<<20)+`"}`, "")
	case "endless":
		for range 50 {
			if _, err := io.WriteString(w, strings.Repeat(" ", 1<<20)); err != nil {
				return
			}
		}
	case "fields":
		write(10, `{"properties":{`+strings.TrimSuffix(strings.Repeat(`"p":1,`, 100_000), ",")+`}}`, "")
	case "circle":
		write(11, `{}`, refers("circle-back"))
	case "circle-back":
		write(12, `{}`, refers("circle"))
	case "recursive":
		write(13, `{"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}`, "")
	case "pattern":
		write(14, `{"type":"object","properties":{"s":{"pattern":"(a+)+$"}}}`, "")
	case "avro":
		text, _ := json.Marshal(`{"type":"record","name":"R","fields":[{"name":"n","type":"int"}]}`)
		_, _ = fmt.Fprintf(w, `{"subject":"avro","version":1,"id":15,"schema":%s}`, text)
	case "away":
		states["500"](w, r)
	case "redirect":
		states["metadata"](w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error_code":40401,"message":"Subject not found"}`)
	}
}

// gateway starts a gateway that validates by this registry. Whatever it would send by a proxy ends at the registry too.
func (f *fakeRegistry) gateway(t *testing.T, settings ...string) *process {
	t.Helper()
	return startGateway(t, append([]string{"EMBEDDED_DATA_DIR=" + t.TempDir(), "SCHEMA_VALIDATION_ENABLED=true",
		"SCHEMA_REGISTRY_URL=http://" + f.address, "HTTP_PROXY=http://" + f.address}, settings...)...).ready()
}

// sender sends events with data that the schema of events-value takes.
type sender struct {
	t      *testing.T
	client gatewayv1.EventGatewayClient
}

func newSender(t *testing.T, p *process) sender {
	t.Helper()
	return sender{t, gatewayv1.NewEventGatewayClient(dialGateway(t, p))}
}

func (s sender) send(key, dataSchema string) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, err := s.client.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Source: "/s", Type: "order.created",
		PartitionKey: key, DataSchema: dataSchema, DataContentType: "application/json", Data: []byte(`{"id":"1"}`)}})
	return err
}

// answered holds the answer to an event against the code and the reason that are wanted, and whether sending it again is
// said to help, which is so if and only if the code is UNAVAILABLE.
func answered(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	if code == codes.OK {
		if err != nil {
			t.Errorf("a schema that is known does not go on: %v", err)
		}
		return
	}
	if info := errorInfo(t, err, code); info.Reason != reason || info.Metadata["stage"] != "validate" {
		t.Errorf("%v, want %s", info, reason)
	}
	retry := time.Duration(0)
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			retry = r.RetryDelay.AsDuration()
		}
	}
	if (retry > 0) != (code == codes.Unavailable) {
		t.Errorf("%s: retry in %v", reason, retry)
	}
}

// In every state of the registry known schemas go on, also after the gateway has asked for them again in vain, and events
// with others are answered in time, with advice that fits.
func TestRegistryFails(t *testing.T) {
	t.Parallel()
	f := startFakeRegistry(t)
	p := f.gateway(t, "SCHEMA_TIMEOUT=200ms", "SCHEMA_CACHE_TTL=1s")
	s := newSender(t, p)
	answered(t, s.send("k", ""), codes.OK, "")
	// The gateway's own bound of a whole fetch is 3 s, and the registry takes 30: an answer within 2 s is SCHEMA_TIMEOUT's,
	// on a busy machine too.
	const inTime = 2 * time.Second
	unknown := func(dataSchema string, code codes.Code, reason string) {
		t.Helper()
		began := time.Now()
		answered(t, s.send("k", dataSchema), code, reason)
		if took := time.Since(began); took > inTime {
			t.Errorf("%s was answered after %v", dataSchema, took)
		}
	}
	for state := range states {
		f.set(state)
		eventually(t, state+": events-value is asked for again", func() bool {
			answered(t, s.send("k", ""), codes.OK, "")
			return t.Failed() || f.askedIn(state) > 0
		})
		unknown("unknown-"+state+"/1", codes.Unavailable, "SCHEMA_UNAVAILABLE")
		answered(t, s.send("k", ""), codes.OK, "")
	}
	f.set("")
	_ = f.server.Close()
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); { // longer than SCHEMA_CACHE_TTL
		answered(t, s.send("k", ""), codes.OK, "")
	}
	unknown("unknown-down/1", codes.Unavailable, "SCHEMA_UNAVAILABLE")
	f.listen(t)
	eventually(t, "a schema that was unknown while the registry was down", func() bool { return s.send("k", "pattern/1") == nil })

	unknown("large/1", codes.InvalidArgument, "SCHEMA_INVALID")
	unknown("endless/1", codes.InvalidArgument, "SCHEMA_INVALID")
	unknown("circle/1", codes.InvalidArgument, "SCHEMA_INVALID")
	unknown("nobody/1", codes.InvalidArgument, "SCHEMA_NOT_FOUND")
	answered(t, s.send("k", ""), codes.OK, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.other) > 0 {
		t.Errorf("the gateway asked for what it should not: %q", f.other)
	}
}

// heldEvents is how many events wait for a schema.
func heldEvents(p *process) (n int) {
	_, text := p.get("/metrics")
	for line := range strings.Lines(text) {
		var worker, held int
		if _, err := fmt.Sscanf(line, `gateway_stage_held_events{stage="validate",worker="%d"} %d`, &worker, &held); err == nil {
			n += held
		}
	}
	return n
}

// While the events of one key wait for a slow schema, the same worker's other keys are served; afterwards the first key's
// events are in their order.
func TestOneKeyWaitsForItsSchema(t *testing.T) {
	t.Parallel()
	f := startFakeRegistry(t)
	port := freePort(t)
	p := f.gateway(t, "EMBEDDED_KAFKA_PORT="+port, "SCHEMA_TIMEOUT=3s", "STAGE_VALIDATE_WORKERS=1")
	s := newSender(t, p)
	answered(t, s.send("k", ""), codes.OK, "")
	const behind = 20
	answers := make(chan error, behind+1)
	for i := range behind + 1 {
		dataSchema := "" // known, but of the key that waits
		if i == 0 {
			dataSchema = "held/1"
		}
		go func() { answers <- s.send("waits", dataSchema) }()
		p.eventually("the events before are held", func() bool { return heldEvents(p) == i+1 })
	}
	for i := range 200 {
		answered(t, s.send(fmt.Sprint("other-", i), ""), codes.OK, "")
	}
	select {
	case err := <-answers:
		t.Fatalf("an event of the key that waits was answered before its schema came: %v", err)
	default:
	}
	close(f.release)
	for range behind + 1 {
		answered(t, <-answers, codes.OK, "")
	}
	var order []string
	for _, r := range readBack(t, port) {
		if string(r.Key) == "waits" {
			order = append(order, header(r, "ce_dataschema"))
		}
	}
	if len(order) != behind+1 || order[0] != "held/1" {
		t.Errorf("the events of the key that waited are stored as %q", order)
	}
	checkIdentity(t, p, behind+1+200+1)
}

// A drain answers the events that wait for a slow schema, and the ones behind them.
func TestDrainWhileSchemasAreSlow(t *testing.T) {
	t.Parallel()
	f := startFakeRegistry(t)
	p := f.gateway(t, "SCHEMA_TIMEOUT=3s", "LOG_OUTPUT=stderr")
	s := newSender(t, p)
	answered(t, s.send("k", ""), codes.OK, "")
	const keys, each = 8, 4
	unavailable, stored := make(chan error, keys), make(chan error, keys*each)
	for key := range keys {
		go func() { unavailable <- s.send(fmt.Sprint(key), "held/1") }()
		p.eventually("events are held", func() bool { return heldEvents(p) == key*(each+1)+1 })
		for i := range each {
			go func() { stored <- s.send(fmt.Sprint(key), "") }()
			p.eventually("events are held", func() bool { return heldEvents(p) == key*(each+1)+i+2 })
		}
	}
	p.signal(syscall.SIGTERM)
	for range keys {
		answered(t, <-unavailable, codes.Unavailable, "SCHEMA_UNAVAILABLE")
	}
	for range keys * each {
		answered(t, <-stored, codes.OK, "")
	}
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	end := p.line("gateway stopped")
	if end["acknowledged"] != float64(keys*each+1) || end["refused"] != float64(keys) || end["unknown"] != 0.0 {
		t.Errorf("%v", end)
	}
}
