package registry

// The registry's connections. A registry is a service inside the operator's
// network that is asked in the name of strangers, so they go where the operator
// said and nowhere else, and bring no more than the gateway can hold.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/stages/schema"
)

const (
	// maxBody bounds an answer, in bytes; a schema with its quotes escaped must fit.
	maxBody = 1 << 20
	// maxHeader bounds an answer's headers, in bytes.
	maxHeader = 64 << 10
	// maxConnections bounds the connections: as many as there are fetches at once, and some for SchemaService.
	maxConnections = 32
	idleTimeout    = 90 * time.Second
)

var (
	errBodyTooLarge = fmt.Errorf("%w: the registry's answer is larger than %d bytes", schema.ErrInvalid, maxBody)
	errForbidden    = errors.New("the address is one of a machine's own metadata or link-local services")
)

// newHTTPClient returns a client that asks guard before it connects to an address.
func newHTTPClient(registryURL string, guard func(address string) error) (*http.Client, error) {
	u, err := url.Parse(registryURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("the registry's URL %s is not one that begins with http:// or https://", registryURL)
	}
	dialer := &net.Dialer{Timeout: schema.MaxTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return guard(address)
	}}
	transport := &http.Transport{
		// No proxy: it would resolve names and connect in the gateway's place.
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    schema.MaxTimeout,
		ResponseHeaderTimeout:  schema.MaxTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           maxConnections,
		MaxIdleConnsPerHost:    maxConnections,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: maxHeader,
		// A body is bounded as it is read; compressed, it could be anything.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
	return &http.Client{
		Transport: bounded{transport},
		Timeout:   schema.MaxTimeout,
		// A redirect is an answer like others, and one that says nothing about a schema.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// dialGuard looks at the address that is about to be connected to, after names were resolved.
type dialGuard struct {
	// allowed is the address that the operator wrote into the URL; its zero value is none.
	allowed netip.Addr
}

func newDialGuard(registryURL string) (g dialGuard) {
	if u, err := url.Parse(registryURL); err == nil {
		if literal, err := netip.ParseAddr(u.Hostname()); err == nil {
			g.allowed = literal.Unmap().WithZone("")
		}
	}
	return g
}

func (g dialGuard) check(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("reading the address %s: %w", address, err)
	}
	if ip := at.Addr().Unmap().WithZone(""); forbidden(ip) && ip != g.allowed {
		return fmt.Errorf("connecting to %s: %w", ip, errForbidden)
	}
	return nil
}

// metadataAddresses are those of cloud providers that are not link-local.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16"),
}

// nat64 is where IPv6 networks have IPv4 addresses (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func forbidden(ip netip.Addr) bool {
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
		return true
	}
	for _, m := range metadataAddresses {
		if ip == m {
			return true
		}
	}
	return false
}

// bounded is a transport whose answers end with an error after maxBody bytes.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.ContentLength > maxBody {
		response.Body.Close()
		return nil, errBodyTooLarge
	}
	response.Body = &boundedBody{ReadCloser: response.Body, left: maxBody + 1}
	return response, nil
}

// CloseIdleConnections lets http.Client reach the transport's.
func (b bounded) CloseIdleConnections() {
	if t, ok := b.RoundTripper.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBodyTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}
