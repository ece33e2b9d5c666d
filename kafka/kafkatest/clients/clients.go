//go:build unix

// Package clients calls a running gateway from other languages, as its users do: Python (grpcio), Node
// (@grpc/grpc-js) and grpcurl. For tests only.
//
// Each run needs its tools once: CLIENT_PYTHON names a Python that has grpcio, grpcio-tools and
// grpcio-status, NODE_PATH a folder of Node modules with @grpc/grpc-js and @grpc/proto-loader, GRPCURL the
// grpcurl binary. What is not named is installed into the cache folder (kafkatest.CacheDir) with python3, npm
// or go.
package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// The Makefile installs the same versions.
const (
	grpcioVersion      = "1.85.1"
	grpcJSVersion      = "1.14.7"
	protoLoaderVersion = "0.8.1"
	runTimeout         = 2 * time.Minute
)

// Totals of one run of the Python or Node client. With the prefix P, the ids of its good events are
// P-unary-0, P-stream-0 to 99, P-batch-0 to 99 and P-batchstream-0 to 499; the partition key of number i is
// key-(i mod 10).
const (
	StreamEvents      = 100
	BatchEvents       = 100
	BatchStreamEvents = 500
	Events            = 1 + StreamEvents + BatchEvents + BatchStreamEvents
)

// Result is what a client reports of its run.
type Result struct {
	UnaryOK          bool   `json:"unary_ok"`
	UnaryErrorCode   string `json:"unary_error_code"`
	UnaryErrorReason string `json:"unary_error_reason"`
	UnaryErrorDomain string `json:"unary_error_domain"`
	StreamAcked      int    `json:"stream_acked"`
	BatchAcked       int    `json:"batch_acked"`
	BatchStreamAcked int    `json:"batch_stream_acked"`
}

//go:embed client.py
var pythonClient []byte

//go:embed client.js
var nodeClient []byte

// RunPython runs the Python client against the gateway at addr; its event ids begin with prefix.
func RunPython(t testing.TB, addr, prefix string) Result {
	t.Helper()
	python := os.Getenv("CLIENT_PYTHON")
	if python == "" {
		dir, err := kafkatest.Once("clients-python-"+grpcioVersion, "grpcio, grpcio-tools, grpcio-status", installPython)
		if err != nil {
			t.Fatalf("Python client: %v", err)
		}
		python = filepath.Join(dir, "bin", "python")
	}
	return runClient(t, nil, python, "client.py", pythonClient, addr, prefix)
}

// RunNode runs the Node client against the gateway at addr; its event ids begin with prefix.
func RunNode(t testing.TB, addr, prefix string) Result {
	t.Helper()
	modules := os.Getenv("NODE_PATH")
	if modules == "" {
		dir, err := kafkatest.Once("clients-node-"+grpcJSVersion, "proto-loader "+protoLoaderVersion, installNode)
		if err != nil {
			t.Fatalf("Node client: %v", err)
		}
		modules = filepath.Join(dir, "node_modules")
	}
	return runClient(t, []string{"NODE_PATH=" + modules}, "node", "client.js", nodeClient, addr, prefix)
}

// RunGrpcurl runs grpcurl -plaintext with args before the address and more after it, as its command line
// wants them: flags first, then address, then what is to be called. It returns what grpcurl printed; a status
// other than OK is an error.
func RunGrpcurl(t testing.TB, addr string, flags []string, call ...string) (string, error) {
	t.Helper()
	bin := os.Getenv("GRPCURL")
	if bin == "" {
		var err error
		if bin, err = buildGrpcurl(repository(t)); err != nil {
			t.Fatalf("grpcurl: %v", err)
		}
	}
	args := append([]string{"-plaintext"}, flags...)
	args = append(append(args, addr), call...)
	stdout, stderr, err := run(t.Context(), nil, bin, args...)
	if err != nil {
		return stdout, fmt.Errorf("grpcurl %q: %w\n%s", args, err, stderr)
	}
	return stdout, nil
}

func runClient(t testing.TB, env []string, interpreter, name string, source []byte, addr, prefix string) Result {
	t.Helper()
	script := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(script, source, 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, err := run(t.Context(), env, interpreter, script,
		"--addr", addr, "--proto-root", filepath.Join(repository(t), "proto"), "--prefix", prefix)
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, stdout, stderr)
	}
	var result Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%s printed %q: %v", name, stdout, err)
	}
	return result
}

func installPython(dir string) error {
	pip := filepath.Join(dir, "bin", "pip")
	if err := install(dir, "python3", "-m", "venv", dir); err != nil {
		return err
	}
	return install(dir, pip, "install", "--quiet", "--disable-pip-version-check",
		"grpcio=="+grpcioVersion, "grpcio-tools=="+grpcioVersion, "grpcio-status=="+grpcioVersion)
}

func installNode(dir string) error {
	return install(dir, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir,
		"@grpc/grpc-js@"+grpcJSVersion, "@grpc/proto-loader@"+protoLoaderVersion)
}

// buildGrpcurl builds the version that tools/go.mod pins.
func buildGrpcurl(root string) (string, error) {
	tools := filepath.Join(root, "tools")
	sum, err := os.ReadFile(filepath.Join(tools, "go.mod"))
	if err != nil {
		return "", err
	}
	key := sha256.Sum256(append(sum, runtime.Version()...))
	dir, err := kafkatest.Once("clients-grpcurl", hex.EncodeToString(key[:]), func(dir string) error {
		return install(dir, "go", "-C", tools, "build", "-o", filepath.Join(dir, "grpcurl"),
			"github.com/fullstorydev/grpcurl/cmd/grpcurl")
	})
	return filepath.Join(dir, "grpcurl"), err
}

func install(dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w\n%s", name, args, err, out)
	}
	return nil
}

func run(ctx context.Context, env []string, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return strings.TrimSpace(out.String()), errs.String(), err
}

// repository is the folder of the go.mod above the package under test, in whose folder go test runs it.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for start := dir; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no go.mod in or above %s: the clients need the repository's proto files", start)
		}
	}
}
