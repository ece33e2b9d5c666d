package kafkatest

// Ports for servers that start later.

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// given are the addresses that this process has had: whose server is yet to start still needs its own.
var given sync.Map

// FreeAddrs finds loopback addresses that nobody listens on and gives none of them twice. They are below the range
// that systems give to outgoing connections: a client that dials a killed broker again and again would else be
// given the broker's own port one day, connect to itself, and keep the broker from coming back.
func FreeAddrs(n int) (addrs []string, err error) {
	for tries := 0; len(addrs) < n; tries++ {
		if tries == 1000 {
			return nil, errors.New("no free loopback ports between 20000 and 32000")
		}
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		if _, before := given.LoadOrStore(addr, true); !before {
			addrs = append(addrs, addr)
		}
	}
	return addrs, nil
}
