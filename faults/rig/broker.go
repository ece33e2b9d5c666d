//go:build faults || kafka

package rig

// Brokers: kfake in a process of its own, Apache Kafka, the gateway's embedded
// one. Each is reached by the gateway at Addrs (a proxy, when there is one) and
// by the reader directly.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// Broker is a cluster that records can be read from, past any proxy.
type Broker struct {
	// Addrs is what the gateway is told.
	Addrs []string
	// Proxies stand before the brokers, one each; empty = none.
	Proxies []*Proxy
	// Fake or Apache is set, or neither for the embedded broker.
	Fake   *Fake
	Apache *kafkatest.Cluster

	t      testing.TB
	direct map[string]string // from the advertised address to the broker's own
}

// Embedded is the gateway's own broker; the settings that it needs are added to the gateway.
func Embedded(t testing.TB, g *Gateway) *Broker {
	t.Helper()
	addr := FreeAddrs(t, 1)[0]
	_, port, _ := net.SplitHostPort(addr)
	g.Settings = append(g.Settings, "EMBEDDED_KAFKA_PORT="+port)
	return &Broker{Addrs: []string{addr}, t: t}
}

// StartApache starts Apache Kafka with one or three brokers. A single one can stand behind a proxy.
func StartApache(t testing.TB, brokers int, proxied bool, options ...kafkatest.Option) *Broker {
	t.Helper()
	options = append([]kafkatest.Option{kafkatest.Brokers(brokers), kafkatest.Property("broker.session.timeout.ms", "3000")}, options...)
	if !proxied {
		c := kafkatest.Start(t, options...)
		return &Broker{Addrs: c.Addrs(), Apache: c, t: t}
	}
	if brokers != 1 {
		t.Fatal("a proxy before more than one broker of Apache Kafka: one setting cannot name them all")
	}
	front := FreeAddrs(t, 1)[0]
	c := kafkatest.Start(t, append(options, kafkatest.Property("advertised.listeners", "PLAINTEXT://"+front))...)
	return &Broker{Addrs: []string{front}, Apache: c, t: t, direct: map[string]string{front: c.Addrs()[0]},
		Proxies: []*Proxy{NewProxy(t, front, c.Addrs()[0])}}
}

// ShiftClock gives the processes that kafkatest starts from now on, in this test, another clock: libfaketime's
// (Debian: faketime). The gateway itself cannot have one: Go asks the kernel, past any library.
func ShiftClock(t *testing.T, by string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(found) == 0 {
		t.Skip("libfaketime is not installed (Debian: apt-get install faketime)")
	}
	t.Setenv("LD_PRELOAD", found[0])
	t.Setenv("FAKETIME", by)
	t.Setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
	// Without it, every timed wait of the Java VM takes a lock of libfaketime and the broker starts in 48 s.
	t.Setenv("FAKETIME_FORCE_MONOTONIC_FIX", "0")
}

// Client goes straight to the broker.
func (b *Broker) Client(options ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	client, err := b.client(options...)
	if err != nil {
		b.t.Fatal(err)
	}
	return client
}

func (b *Broker) client(options ...kgo.Opt) (*kgo.Client, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(b.Addrs...),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			if own := b.direct[host]; own != "" {
				host = own
			}
			return dialer.DialContext(ctx, network, host)
		})}, options...)...)
}

// Admin runs do with an admin client that goes straight to the broker.
func (b *Broker) Admin(do func(ctx context.Context, adm *kadm.Client) error) {
	b.t.Helper()
	adm := kadm.NewClient(b.Client())
	defer adm.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := do(ctx, adm); err != nil {
		b.t.Fatal(err)
	}
}

// Fake is kfake in a process of its own.
type Fake struct {
	t       testing.TB
	child   *child
	control string
	http    http.Client
}

// StartFake starts kfake with that many brokers, its state in dir, behind proxies or not.
func StartFake(t testing.TB, dir string, brokers int, proxied bool) *Broker {
	t.Helper()
	own := FreeAddrs(t, brokers)
	fronts, control := FreeAddrs(t, brokers), FreeAddrs(t, 1)[0]
	b := &Broker{Addrs: own, t: t, direct: map[string]string{}}
	if proxied {
		b.Addrs = fronts
		for i, front := range fronts {
			b.direct[front] = own[i]
		}
	}
	args := []string{"-listen", strings.Join(own, ","), "-advertise", strings.Join(b.Addrs, ","), "-control", control,
		"-dir", filepath.Join(dir, "fake")}
	c, err := startChild(filepath.Join(dir, "broker.log"), nil, Binary(t, "faults/fakebroker", "faults"), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	b.Fake = &Fake{t: t, child: c, control: control, http: http.Client{Timeout: Patience}}
	if !Within(Patience, func() bool { _, err := b.Fake.ask("/open", nil); return err == nil }) {
		t.Fatal("the fake broker does not answer")
	}
	if proxied {
		for i, front := range fronts {
			b.Proxies = append(b.Proxies, NewProxy(t, front, own[i]))
		}
	}
	return b
}

// FakeFault is what requests are answered with.
type FakeFault struct {
	Key        int16   `json:"key"` // of the request; 0 = Produce
	Code       int16   `json:"code"`
	Partitions []int32 `json:"partitions,omitempty"` // empty = all
	Percent    int     `json:"percent,omitempty"`    // of the requests; 0 = all
	Count      int     `json:"count,omitempty"`      // of requests; 0 = until Heal
}

func (f *Fake) ask(path string, body any) (answer []byte, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	response, err := f.http.Post("http://"+f.control+path, "application/json", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, answer)
	}
	return answer, err
}

func (f *Fake) do(path string, body any) []byte {
	f.t.Helper()
	answer, err := f.ask(path, body)
	if err != nil {
		f.t.Fatalf("fake broker: %v", err)
	}
	return answer
}

// Fail answers requests with an error code from now on. REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS_AFTER_APPEND
// are answered after the records have been appended, as real brokers do.
func (f *Fake) Fail(faults ...FakeFault) { f.do("/fail", faults) }

// Heal takes all faults away and returns how many requests they hit.
func (f *Fake) Heal() (hits int) {
	_ = json.Unmarshal(f.do("/heal", nil), &hits)
	return hits
}

// Shuffle moves the leaderships of all partitions.
func (f *Fake) Shuffle() { f.do("/shuffle", nil) }

// Close ends the brokers in order: their state stays.
func (f *Fake) Close() { f.do("/close", nil) }

// Open starts them again with it.
func (f *Fake) Open() { f.do("/open", nil) }

// Pause and Resume freeze the process and let it go on.
func (f *Fake) Pause() { _ = f.child.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (f *Fake) Resume() { _ = f.child.cmd.Process.Signal(syscall.SIGCONT) }
