//go:build faults

// Command fakebroker is kfake in a process of its own, for the fault tests: it answers produce requests with
// any error on demand, moves leaderships, and closes and opens again with its state.
//
// Control is HTTP on -control: POST /fail (a list of faults), /heal, /shuffle, /close, /open.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fault is one entry of /fail; package rig has the same as FakeFault.
type fault struct {
	Key        int16   `json:"key"`
	Code       int16   `json:"code"`
	Partitions []int32 `json:"partitions"`
	Percent    int     `json:"percent"`
	Count      int     `json:"count"`
}

type broker struct {
	dir     string
	listen  []string
	fronts  map[string]net.Addr // from the broker's own address to the advertised one
	mu      sync.Mutex          // guards the following
	cluster *kfake.Cluster      // nil = closed
	faults  []*kfake.FaultHandle
	random  *rand.Rand
}

func main() {
	listen := flag.String("listen", "", "addresses of the brokers")
	advertise := flag.String("advertise", "", "addresses that clients are told, one for each")
	control := flag.String("control", "", "address of the control port")
	dir := flag.String("dir", "", "folder of the state")
	flag.Parse()
	b := &broker{dir: *dir, listen: strings.Split(*listen, ","), fronts: map[string]net.Addr{},
		random: rand.New(rand.NewPCG(1, 2))}
	for i, front := range strings.Split(*advertise, ",") {
		addr, err := net.ResolveTCPAddr("tcp", front)
		if err != nil {
			fail(err)
		}
		b.fronts[b.listen[i]] = addr
	}
	for path, do := range map[string]func(json.RawMessage) (any, error){
		"/open": b.open, "/close": b.close, "/fail": b.fail, "/heal": b.heal, "/shuffle": b.shuffle,
	} {
		http.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			var body json.RawMessage
			err := json.NewDecoder(r.Body).Decode(&body)
			var answer any
			if err == nil {
				answer, err = do(body)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	fail(http.ListenAndServe(*control, nil))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// front is a listener that clients are told another address of. It accepts nobody before ready is closed.
type front struct {
	net.Listener
	addr  net.Addr
	ready <-chan struct{}
}

func (f front) Addr() net.Addr { return f.addr }

func (f front) Accept() (net.Conn, error) {
	<-f.ready
	return f.Listener.Accept()
}

func (b *broker) open(json.RawMessage) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cluster != nil {
		return "open", nil
	}
	var ports []int
	for _, addr := range b.listen {
		_, text, _ := net.SplitHostPort(addr)
		port, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	// A client is back within a millisecond: a batch that is sent again must not come before its producer is told
	// apart by partition. kfake would know it under no id, and append it twice.
	ready := make(chan struct{})
	defer close(ready)
	cluster, err := kfake.NewCluster(kfake.Ports(ports...), kfake.DataDir(b.dir),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err != nil {
				return nil, err
			}
			return front{l, b.fronts[address], ready}, nil
		}))
	if err == nil {
		cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, When: separate, Count: -1})
	}
	b.cluster = cluster
	return "open", err
}

func (b *broker) close(json.RawMessage) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cluster != nil {
		b.cluster.Close()
	}
	b.cluster, b.faults = nil, nil
	return "closed", nil
}

func (b *broker) fail(body json.RawMessage) (any, error) {
	var faults []fault
	if err := json.Unmarshal(body, &faults); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range faults {
		known, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(f.Code))
		if !ok || b.cluster == nil {
			return nil, fmt.Errorf("code %d: unknown, or the broker is closed", f.Code)
		}
		one := kfake.Fault{Keys: []kmsg.Key{kmsg.Key(f.Key)}, Partitions: f.Partitions, Err: known, Count: f.Count}
		if f.Count == 0 {
			one.Count = -1
		}
		if f.Percent > 0 {
			one.When = func(kmsg.Request) bool { return b.random.IntN(100) < f.Percent } // on the cluster's one goroutine
		}
		b.faults = append(b.faults, b.cluster.Fault(one))
	}
	return "failing", nil
}

func (b *broker) heal(json.RawMessage) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	hits := 0
	for _, f := range b.faults {
		f.Remove()
		hits += f.Hits()
	}
	b.faults = nil
	return hits, nil
}

func (b *broker) shuffle(json.RawMessage) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cluster == nil {
		return nil, fmt.Errorf("the broker is closed")
	}
	b.cluster.ShufflePartitionLeaders()
	return "moved", nil
}
