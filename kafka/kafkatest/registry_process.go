//go:build unix

package kafkatest

// The schema registry's process: settings, start, readiness and end. No *testing.T here.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// confluentPath is where Apicurio answers Confluent's API; its own is elsewhere.
const confluentPath = "/apis/ccompat/v7"

// registry is owned by one goroutine at a time, like the test that it belongs to.
type registry struct {
	jars, dir, addr string
	brokers         []string // where its schemas are kept; none: in its memory
	topics          string   // prefix of its topics' names, so that registries share brokers without meeting
	jvm             []string
	*process
}

// launchRegistry starts a registry below dir and returns when it answers.
func launchRegistry(jars, dir string, brokers []string, jvm ...string) (*registry, error) {
	if err := findJava(); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		addrs, err := FreeAddrs(1)
		if err != nil {
			return nil, err
		}
		r := &registry{
			jars: jars, dir: filepath.Join(dir, "registry-"+strconv.Itoa(attempt)), addr: addrs[0], jvm: jvm,
			brokers: brokers, topics: fmt.Sprintf("registry-%d-%d", os.Getpid(), topics.Add(1)),
		}
		err = r.start()
		if err == nil {
			return r, nil
		}
		retry := attempt < 2 && r.lostPort() // between our look and the registry's listen somebody took it
		if closeErr := r.close(); closeErr != nil || !retry {
			return nil, errors.Join(err, closeErr)
		}
	}
}

func (r *registry) url() string { return "http://" + r.addr + confluentPath }

func (r *registry) start() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	// The serial collector and the quick compiler alone, as for brokers. Resident are 200 MB, and 250 MB on Kafka
	// with 500 schemas.
	args := append([]string{"-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, r.jvm...)
	for _, setting := range r.settings() {
		args = append(args, "-D"+setting)
	}
	p, err := startProcess(filepath.Join(r.dir, "log"), "java",
		append(args, "-jar", filepath.Join(r.jars, registryJar))...)
	if err != nil {
		return err
	}
	r.process = p
	if err := r.waitReady(); err != nil {
		return fmt.Errorf("at %s: %w; the end of its log:\n%s", r.addr, err, r.logTail(tailLines))
	}
	return nil
}

// settings go in as system properties, which win over whatever the environment says.
func (r *registry) settings() []string {
	host, port, _ := strings.Cut(r.addr, ":")
	settings := []string{
		"quarkus.http.host=" + host,
		"quarkus.http.port=" + port,
		"java.io.tmpdir=" + r.dir,
		"apicurio.storage.snapshot.location=" + r.dir,
		"apicurio.import.work-dir=" + r.dir,
		"apicurio.datasource.jdbc.initial-size=2", // connections to the database in its own memory
		"apicurio.datasource.jdbc.min-size=2",
	}
	if len(r.brokers) == 0 {
		return append(settings, "apicurio.storage.kind=sql", "apicurio.storage.sql.kind=h2")
	}
	return append(settings,
		"apicurio.storage.kind=kafkasql",
		"apicurio.kafkasql.bootstrap.servers="+strings.Join(r.brokers, ","),
		"apicurio.kafkasql.topic="+r.topics+"-journal",
		"apicurio.kafkasql.snapshots.topic="+r.topics+"-snapshots",
		"apicurio.events.kafka.topic="+r.topics+"-events",
		"apicurio.kafkasql.consumer.poll.timeout=100", // ms; with the default of 5000 it starts 4 s later
	)
}

// waitReady returns when the registry says that it is ready: not before it has read its topics. Until then it
// already answers, that there is no such schema. The first question to the API itself takes it some 0.3 s, more
// on a busy machine; it is asked here, so that no client's timeout has to allow for it.
func (r *registry) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // leaves no goroutine behind
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ask(ctx, client, "http://"+r.addr+"/health/ready")
		if last == nil {
			last = ask(ctx, client, r.url()+"/subjects")
		}
		if last == nil {
			return nil
		}
		select {
		case <-r.exited:
			return errors.New("its process has ended: " + r.cmd.ProcessState.String())
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w", startTimeout, last)
		case <-tick.C:
		}
	}
}

func ask(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return err
}

func (r *registry) lostPort() bool {
	return r.process != nil && bytes.Contains(r.logTail(1000), []byte("in use by another process"))
}

// close kills what runs.
func (r *registry) close() error {
	if r.process == nil || r.cmd.Process == nil {
		return nil
	}
	return r.kill()
}
