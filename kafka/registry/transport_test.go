package registry

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/event-gateway/event-gateway/stages/schema"
)

// TestForbiddenAddresses is H74: link-local and metadata addresses are not connected to, unless the operator has
// written that very address.
func TestForbiddenAddresses(t *testing.T) {
	for address, refused := range map[string]bool{
		"127.0.0.1:80": false, "10.0.0.1:8081": false, "192.0.2.7:443": false, "[2001:db8::1]:443": false, "[::1]:80": false,
		"169.254.169.254:80": true, "169.254.0.1:80": true, "169.253.255.255:80": false, "169.255.0.0:80": false,
		"[fe80::1]:80": true, "[fe80::1%eth0]:80": true, "[febf::1]:80": true, "[fec0::1]:80": false,
		"[::ffff:169.254.169.254]:80": true, "[64:ff9b::a9fe:a9fe]:80": true, "[64:ff9b::a00:1]:80": false,
		"[fd00:ec2::254]:80": true, "[fd00:ec2::253]:80": false, "100.100.100.200:80": true, "168.63.129.16:80": true,
		"[::ffff:100.100.100.200]:80": true, "nonsense": true,
	} {
		if err := (dialGuard{}).check(address); (err != nil) != refused {
			t.Errorf("%s: %v, want refused %t", address, err, refused)
		}
	}
	allowed := dialGuard{allowed: netip.MustParseAddr("169.254.169.254")}
	if err := allowed.check("169.254.169.254:80"); err != nil {
		t.Errorf("the operator's own address: %v", err)
	}
	if err := allowed.check("169.254.169.253:80"); !errors.Is(err, errForbidden) {
		t.Errorf("another address than the operator's: %v", err)
	}
}

// TestGuardIsAsked: the guard sees what a name has become. Here the resolver is the machine's own, so the
// connection itself is made by a client whose guard refuses loopback.
func TestGuardIsAsked(t *testing.T) {
	var asked []string
	client, err := newHTTPClient("http://localhost:1", func(address string) error {
		asked = append(asked, address)
		return errForbidden
	})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(request); !errors.Is(err, errForbidden) {
		t.Fatalf("%v", err)
	}
	for _, address := range asked {
		if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
			t.Errorf("the guard was asked about %s", address)
		}
	}
	if len(asked) == 0 {
		t.Fatal("the guard was not asked")
	}
}

func TestMetadataLiteral(t *testing.T) {
	c := connect(t, config("http://[::ffff:169.254.169.254]:1"))
	if c.guard.allowed != netip.MustParseAddr("169.254.169.254") {
		t.Fatalf("allowed is %v", c.guard.allowed)
	}
	for _, url := range []string{"ftp://x", "x", "http://a b", "file:///etc/passwd"} {
		if _, err := New(schema.Config{URL: url}); err == nil {
			t.Errorf("%s: no error", url)
		}
	}
}
