//go:build unix

package kafkatest

// What tests use of the schema registry: StartRegistry, and a Registry whose methods fail the test instead of
// returning errors.

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Registry is a running Apicurio Registry, which answers Confluent's REST API, as one test sees it.
type Registry struct {
	// URL is what clients of Confluent's registry are given; it has a path.
	URL string

	t testing.TB
	r *registry
}

// StartRegistry starts a schema registry of the test's own and ends it with the test. It keeps its schemas in
// topics of its own on the brokers, so that they and their ids are there after Kill and Restart; without
// brokers it keeps them in its memory.
func StartRegistry(t testing.TB, brokers ...string) *Registry {
	t.Helper()
	jars, err := registryDistribution()
	if err != nil {
		t.Fatalf("fetch the schema registry: %v", err)
	}
	began := time.Now()
	archive := "-XX:SharedArchiveFile=" + filepath.Join(jars, classArchive)
	r, err := launchRegistry(jars, t.TempDir(), brokers, archive)
	if err != nil {
		t.Fatalf("start the schema registry: %v", err)
	}
	t.Logf("Apicurio Registry %s at %s after %s", registryVersion, r.addr,
		time.Since(began).Round(10*time.Millisecond))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of the schema registry at %s:\n%s", r.addr, r.logTail(tailLines))
		}
		if err := r.close(); err != nil {
			t.Errorf("end the schema registry: %v", err)
		}
		if os.Getenv(EnvBrokers) != "" && len(brokers) > 0 { // somebody else's cluster outlives us
			r.deleteTopics(t)
		}
	})
	return &Registry{URL: r.url(), t: t, r: r}
}

func (r *registry) deleteTopics(t testing.TB) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...))
	if err != nil {
		t.Logf("delete the schema registry's topics: %v", err)
		return
	}
	adm := kadm.NewClient(cl)
	defer adm.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := adm.DeleteTopics(ctx, r.topics+"-journal", r.topics+"-snapshots",
		r.topics+"-events"); err != nil {
		t.Logf("delete the schema registry's topics: %v", err)
	}
}

// Kill ends the registry at once (SIGKILL): connections are refused.
func (r *Registry) Kill() { r.t.Helper(); r.do("kill", r.r.kill) }

// Pause freezes the registry (SIGSTOP): connections are accepted, nothing is answered.
func (r *Registry) Pause() { r.t.Helper(); r.do("pause", r.r.pause) }

// Resume lets a paused registry go on (SIGCONT).
func (r *Registry) Resume() { r.t.Helper(); r.do("resume", r.r.resume) }

// Restart starts the registry again after Kill, on the same address, and waits until it answers.
func (r *Registry) Restart() {
	r.t.Helper()
	r.do("restart", func() error {
		if r.r.alive() {
			return errors.New("it is running: kill it first")
		}
		return r.r.start()
	})
}

func (r *Registry) do(what string, f func() error) {
	r.t.Helper()
	if err := f(); err != nil {
		r.t.Fatalf("%s the schema registry: %v", what, err)
	}
}
