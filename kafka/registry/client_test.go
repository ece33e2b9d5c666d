package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/event-gateway/event-gateway/stages/schema"
)

func TestRead(t *testing.T) {
	r, c := fake(t)
	r.SeedSchema("common", 1, 7, jsonSchema(`{"type":"string"}`))
	r.SeedSchema("orders-value", 1, 8, sr.Schema{Schema: `{"type":"array"}`, Type: sr.TypeJSON,
		References: []sr.SchemaReference{{Name: "common.json", Subject: "common", Version: 1}}})
	r.SeedSchema("orders-value", 2, 9, sr.Schema{Schema: `"int"`})
	r.SeedSchema("a/b %c?d#e", 1, 10, sr.Schema{Schema: `message M {}`, Type: sr.TypeProtobuf})
	if _, _, err := r.RegisterSchema("copy", sr.Schema{Schema: `"int"`}); err != nil { // gets the same id
		t.Fatal(err)
	}
	ctx := t.Context()

	first := schema.Text{Subject: "orders-value", Version: 1, ID: 8, Type: schema.JSON, Definition: `{"type":"array"}`,
		References: []schema.Reference{{Name: "common.json", Subject: "common", Version: 1}}}
	second := schema.Text{Subject: "orders-value", Version: 2, ID: 9, Type: schema.Avro, Definition: `"int"`}
	odd := schema.Text{Subject: "a/b %c?d#e", Version: 1, ID: 10, Type: schema.Protobuf, Definition: `message M {}`}
	shared := second
	shared.Subject, shared.Version = "", 0
	for name, c := range map[string]struct {
		read func() (schema.Text, error)
		want schema.Text
	}{
		"by version":        {func() (schema.Text, error) { return c.Version(ctx, "orders-value", 1) }, first},
		"latest":            {func() (schema.Text, error) { return c.Version(ctx, "orders-value", 0) }, second},
		"by id":             {func() (schema.Text, error) { return c.ByID(ctx, 8) }, first},
		"id of two":         {func() (schema.Text, error) { return c.ByID(ctx, 9) }, shared},
		"odd subject":       {func() (schema.Text, error) { return c.Version(ctx, "a/b %c?d#e", 0) }, odd},
		"odd subject by id": {func() (schema.Text, error) { return c.ByID(ctx, 10) }, odd},
	} {
		if got, err := c.read(); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %v\nwant %+v", name, got, err, c.want)
		}
	}
	if versions, err := c.Versions(ctx, "orders-value"); err != nil || !reflect.DeepEqual(versions, []int{1, 2}) {
		t.Errorf("versions %v %v", versions, err)
	}
	if subjects, err := c.Subjects(ctx, "co"); err != nil || !reflect.DeepEqual(subjects, []string{"common", "copy"}) {
		t.Errorf("subjects %v %v", subjects, err)
	}
	for name, read := range map[string]func() error{
		"subject":     func() error { _, err := c.Version(ctx, "nothing", 0); return err },
		"version":     func() error { _, err := c.Version(ctx, "orders-value", 3); return err },
		"id":          func() error { _, err := c.ByID(ctx, 77); return err },
		"versions":    func() error { _, err := c.Versions(ctx, "nothing"); return err },
		"..":          func() error { _, err := c.Version(ctx, "..", 0); return err },
		"no subject":  func() error { _, err := c.Version(ctx, "", 0); return err },
		"versions of": func() error { _, err := c.Versions(ctx, "."); return err },
	} {
		if err := read(); !errors.Is(err, schema.ErrNotFound) || errors.Is(err, schema.ErrUnavailable) {
			t.Errorf("%s: %v, want that it is not found", name, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	var seen atomic.Value
	c := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		fmt.Fprint(w, `[]`)
	})
	if _, err := c.Subjects(t.Context(), ""); err != nil || seen.Load() != "" {
		t.Fatalf("%v, credentials %v", err, seen.Load())
	}
	cfg := config(c.url)
	cfg.Username, cfg.Password = "gateway", "secret"
	c = connect(t, cfg)
	if _, err := c.Subjects(t.Context(), ""); err != nil || seen.Load() != "Basic "+base64.StdEncoding.EncodeToString([]byte("gateway:secret")) {
		t.Fatalf("%v, credentials %v", err, seen.Load())
	}
}

// TestAnswers is what answers come down to: only the registry itself can say that there is no such schema.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"not found":             {404, `{"error_code":40401,"message":"no such subject"}`, schema.ErrNotFound},
		"version not found":     {404, `{"error_code":40402,"message":"no such version"}`, schema.ErrNotFound},
		"invalid version":       {422, `{"error_code":42202,"message":"version"}`, schema.ErrNotFound},
		"a proxy's 404":         {404, `<html>Not Found</html>`, schema.ErrUnavailable},
		"a framework's 404":     {404, `{"error_code":404,"message":"HTTP 404 Not Found"}`, schema.ErrUnavailable},
		"500":                   {500, `{"error_code":50001,"message":"store"}`, schema.ErrUnavailable},
		"500 without a body":    {500, ``, schema.ErrUnavailable},
		"503":                   {503, `busy`, schema.ErrUnavailable},
		"429":                   {429, ``, schema.ErrUnavailable},
		"401":                   {401, `{"error_code":40101,"message":"who are you?"}`, schema.ErrRefused},
		"403":                   {403, `{"error_code":40301,"message":"no"}`, schema.ErrRefused},
		"garbage":               {200, `}{`, schema.ErrUnavailable},
		"nothing":               {200, ``, schema.ErrUnavailable},
		"an empty object":       {200, `{}`, schema.ErrUnavailable},
		"a list":                {200, `[1]`, schema.ErrUnavailable},
		"a page":                {200, `<html></html>`, schema.ErrUnavailable},
		"an unknown language":   {200, `{"subject":"s","version":1,"id":1,"schemaType":"XML","schema":"x"}`, schema.ErrInvalid},
		"10 MB":                 {200, strings.Repeat("x", 10<<20), schema.ErrInvalid},
		"10 MB of an error":     {500, strings.Repeat("x", 10<<20), schema.ErrInvalid},
		"redirect to metadata":  {302, "http://169.254.169.254/latest/meta-data", schema.ErrUnavailable},
		"redirect, permanently": {301, "/elsewhere", schema.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			client := server(t, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				if c.status/100 == 3 {
					w.Header().Set("Location", c.body)
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			})
			_, err := client.Version(t.Context(), "s", 1)
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			for _, other := range []error{schema.ErrNotFound, schema.ErrUnavailable, schema.ErrInvalid, schema.ErrRefused, schema.ErrIncompatible} {
				if errors.Is(err, other) != errors.Is(c.want, other) {
					t.Errorf("%v is also %v", err, other)
				}
			}
			if len(err.Error()) > 1000 || strings.Contains(err.Error(), "<html>") {
				t.Errorf("the error repeats the body: %.2000s", err)
			}
			if n := calls.Load(); n != 1 {
				t.Errorf("%d requests, want one", n)
			}
		})
	}
}

// TestLargestAnswer: just below the bound, with and without a length in front.
func TestLargestAnswer(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for _, c := range []struct {
			size int
			want error
		}{{maxBody, nil}, {maxBody + 1, schema.ErrInvalid}} {
			client := server(t, func(w http.ResponseWriter, r *http.Request) {
				body := `{"subject":"s","version":1,"id":1,"schemaType":"JSON","schema":"`
				body += strings.Repeat("x", c.size-len(body)-2) + `"}`
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				}
				fmt.Fprint(w, body[:100])
				if chunked {
					w.(http.Flusher).Flush()
				}
				fmt.Fprint(w, body[100:])
			})
			if _, err := client.Version(t.Context(), "s", 1); !errors.Is(err, c.want) {
				t.Errorf("%d bytes, chunked %t: %v, want %v", c.size, chunked, err, c.want)
			}
		}
	}
}

// TestDown: nobody listens, somebody does not answer, somebody never ends.
func TestDown(t *testing.T) {
	c := connect(t, config("http://127.0.0.1:1"))
	if _, err := c.Version(t.Context(), "s", 1); !errors.Is(err, schema.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	for _, begins := range []string{"", `{"subject":`} {
		end := make(chan struct{})
		slow := server(t, func(w http.ResponseWriter, r *http.Request) {
			if begins != "" {
				fmt.Fprint(w, begins)
				w.(http.Flusher).Flush()
			}
			<-end
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := slow.Version(ctx, "s", 1)
		cancel()
		close(end)
		if !errors.Is(err, schema.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
}
