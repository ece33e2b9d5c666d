# Every task a developer or CI runs; `make help` lists them. Nothing needs more than Go, unless its line says so.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Set by hand where there is no Git history, as in the container build.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The Kafka port that `make run` opens on the loopback interface for any Kafka client.
EMBEDDED_KAFKA_PORT ?= 9092
# In percent, outside generated code.
COVERAGE_MIN ?= 80
# Not counted beside generated code: what drives Apache Kafka for `make test-kafka`, and the programs that measure.
COVERAGE_SKIP := /kafka/kafkatest/|/bench/[a-z]*\.go:|/bench/demo/|/bench/baseline/main\.go:|/bench/discard/run/|/bench/fanout/main\.go:|/bench/limits/[a-z]*/main\.go:

# --- developer tools --------------------------------------------------------------------------------
# Built from source once per version (golangci-lint and buf take minutes) into a cache outside the repository.
GO_VERSION := $(shell go env GOVERSION)
EVENT_GATEWAY_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/event-gateway
TOOLS_CACHE := $(abspath $(EVENT_GATEWAY_CACHE))/bin/$(GO_VERSION)
# $(call tool_dir,NAME,MODULE,GO.MOD FOLDER): the cache folder of that tool in the version that its go.mod pins.
tool_dir = $(TOOLS_CACHE)/$(1)-$(shell awk '$$1 == "$(2)" && $$2 ~ /^v/ {print $$2; exit}' $(3)/go.mod)

BUF := $(call tool_dir,buf,github.com/bufbuild/buf,tools/buf)/buf
PROTOC_GEN_GO := $(call tool_dir,protoc-gen-go,google.golang.org/protobuf,tools)/protoc-gen-go
PROTOC_GEN_GO_GRPC := $(call tool_dir,protoc-gen-go-grpc,google.golang.org/grpc/cmd/protoc-gen-go-grpc,tools)/protoc-gen-go-grpc
GOLANGCI_LINT := $(call tool_dir,golangci-lint,github.com/golangci/golangci-lint/v2,tools)/golangci-lint
GRPCURL := $(call tool_dir,grpcurl,github.com/fullstorydev/grpcurl,tools)/grpcurl
BENCHSTAT := $(call tool_dir,benchstat,golang.org/x/perf,tools)/benchstat
TOOLS := $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) $(GOLANGCI_LINT) $(GRPCURL) $(BENCHSTAT)

# $(call build_tool,PACKAGE,GO.MOD FOLDER): builds beside the target and renames, so that a stopped build leaves none.
define build_tool
@echo "building $(@F) from source, once per version: $@"
@mkdir -p $(@D)
@go -C $(2) build -o $@.new $(1) && mv $@.new $@
endef

$(BUF):                ; $(call build_tool,github.com/bufbuild/buf/cmd/buf,tools/buf)
$(PROTOC_GEN_GO):      ; $(call build_tool,google.golang.org/protobuf/cmd/protoc-gen-go,tools)
$(PROTOC_GEN_GO_GRPC): ; $(call build_tool,google.golang.org/grpc/cmd/protoc-gen-go-grpc,tools)
$(GOLANGCI_LINT):      ; $(call build_tool,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,tools)
$(GRPCURL):            ; $(call build_tool,github.com/fullstorydev/grpcurl/cmd/grpcurl,tools)
$(BENCHSTAT):          ; $(call build_tool,golang.org/x/perf/cmd/benchstat,tools)

# buf finds the plugins on PATH.
PROTO_PATH := $(patsubst %/,%,$(dir $(BUF))):$(patsubst %/,%,$(dir $(PROTOC_GEN_GO))):$(patsubst %/,%,$(dir $(PROTOC_GEN_GO_GRPC)))

# Client libraries of the languages that `make test-kafka` calls the gateway from, in the same cache.
GRPCIO_VERSION := 1.85.1
GRPC_JS_VERSION := 1.14.7
GRPC_PROTO_LOADER_VERSION := 0.8.1
CLIENTS_CACHE := $(abspath $(EVENT_GATEWAY_CACHE))/clients
PYTHON_ENV := $(CLIENTS_CACHE)/python-grpcio-status-$(GRPCIO_VERSION)
NODE_ENV := $(CLIENTS_CACHE)/node-grpc-js-$(GRPC_JS_VERSION)-proto-loader-$(GRPC_PROTO_LOADER_VERSION)

$(PYTHON_ENV)/complete:
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check \
	  grpcio==$(GRPCIO_VERSION) grpcio-tools==$(GRPCIO_VERSION) grpcio-status==$(GRPCIO_VERSION)
	touch $@

$(NODE_ENV)/complete:
	rm -rf $(@D)
	mkdir -p $(@D)
	npm install --silent --no-audit --no-fund --prefix $(@D) \
	  @grpc/grpc-js@$(GRPC_JS_VERSION) @grpc/proto-loader@$(GRPC_PROTO_LOADER_VERSION)
	touch $@

# The compiler lays out `gateway` by default.pgo, a profile of it at work (make pgo). Unit tests go without, since the
# modules would be compiled twice; the fault scenarios and the soak run what is shipped.
test test-short test-order fuzz test-kafka coverage: export GOFLAGS := $(GOFLAGS) -pgo=off

# $(call packages,FOLDERS): the patterns of those that exist.
packages = $(patsubst %,./%/...,$(wildcard $(1)))

# A module of its own, so that the product's go.mod knows nothing about drawing: ./... leaves it out.
PAGES := bench/pages

##@ Use

.PHONY: build
build: ## Build ./gateway: static, with its version in it
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o gateway .

.PHONY: run
run: build ## Run a single gateway with its own broker on 127.0.0.1:9092, no rate limit
	@echo "make run: embedded Kafka broker on 127.0.0.1:$(EMBEDDED_KAFKA_PORT), rate limit off"
	EMBEDDED_KAFKA_PORT=$(EMBEDDED_KAFKA_PORT) RATE_LIMIT_ENABLED=false ./gateway

.PHONY: demo
demo: build ## Start a gateway, send events, read them back with a Kafka client, compare, stop
	go run ./bench/demo

##@ Develop

.PHONY: deps
deps: $(TOOLS) ## Fetch the modules and build the developer tools (minutes, the first time)
	go mod download
	go -C $(PAGES) mod download

.PHONY: tools
tools: $(TOOLS) ## Build the developer tools and print where they are
	@printf '%s\n' $(TOOLS)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) $(BUF) ## Format Go and proto files
	$(GOLANGCI_LINT) fmt ./...
	$(BUF) format -w

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint all Go code, formatting included
	$(GOLANGCI_LINT) run ./...
	cd $(PAGES) && $(GOLANGCI_LINT) run ./...

.PHONY: proto
proto: $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## Generate the Go code of the proto files
	PATH="$(PROTO_PATH):$$PATH" buf generate

.PHONY: proto-check
proto-check: $(BUF) $(PROTOC_GEN_GO) $(PROTOC_GEN_GO_GRPC) ## Lint the proto files; fail on stale code and API breaks
	PATH="$(PROTO_PATH):$$PATH" tools/proto-check

##@ Test

# Where goroutines meet: these run under the race detector, the longest first.
RACE := $(call packages,kafka transport pipeline stages ring)
# Where they meet without locks: these also run without it on one processor, where a waiter that spins would starve its
# peer, and on four. Their tests take only that many where GOMAXPROCS is set, and all where it is not.
LOCK_FREE := $(call packages,ring pipeline)
# These run under the race detector and not once more without it: they have no test that it leaves out (raceEnabled).
RACE_ONLY := $(call packages,transport kafka)

# Each test runs once, in one of these, unless another run shows more. The models of the protocols in ring and pipeline
# (TestModel) go through all interleavings by themselves, on any number of processors.
.PHONY: test
test: ## Run all tests, the concurrent packages under -race (2 cores: under 3 minutes)
	go test -vet=off -timeout 5m $$(go list ./... | grep -vxFf <(go list $(RACE_ONLY) $(LOCK_FREE)))
	GOMAXPROCS=4 go test -vet=off -timeout 5m -race -p 2 -parallel 4 -count=1 $(RACE)
	GOMAXPROCS=1 go test -vet=off -timeout 5m -p 2 -count=1 -skip '^TestModel' $(LOCK_FREE)
	GOMAXPROCS=4 go test -vet=off -timeout 5m -p 2 -tags poison -count=1 $(LOCK_FREE) # retired buffers are overwritten
	go -C $(PAGES) test -vet=off -timeout 5m ./...

.PHONY: test-short
test-short: ## Run the quick tests only
	go test -vet=off -short ./...
	go -C $(PAGES) test -vet=off -short ./...

.PHONY: test-order
test-order: ## Hold the order of events in all 4,096 shapes of the pipeline (under 3 minutes)
	ORDER_FULL=1 go test -vet=off ./pipeline -run TestOrder -count=1 -timeout 10m

# How long each target runs.
FUZZTIME ?= 60s

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (60s each)
	tools/fuzz $(FUZZTIME)

.PHONY: breakages
breakages: ## Break the gateway on purpose, in copies, and show which check notices each
	tools/breakages $(ONLY)

.PHONY: client-deps
client-deps: $(PYTHON_ENV)/complete $(NODE_ENV)/complete ## Fetch the Python and Node gRPC libraries for test-kafka

# The tests find Python with grpcio and grpcio-tools in CLIENT_PYTHON, Node's modules by Node's own NODE_PATH, grpcurl
# in GRPCURL.
.PHONY: test-kafka
test-kafka: client-deps $(GRPCURL) ## Test against Apache Kafka and Apicurio Registry (needs Java 17, Maven, Python 3 and Node)
	EVENT_GATEWAY_CACHE=$(abspath $(EVENT_GATEWAY_CACHE)) GRPCURL=$(GRPCURL) \
	  CLIENT_PYTHON=$(PYTHON_ENV)/bin/python NODE_PATH=$(NODE_ENV)/node_modules \
	  go test -vet=off -tags kafka -run Kafka -count=1 -timeout 20m $(call packages,kafka pipeline) .

# LONG=1 runs all of them at full length and goes on where it was interrupted; ONLY=R11,R14 runs the named ones.
FAULT_OUT ?= $(CURDIR)/faults/out
.PHONY: test-faults
test-faults: ## Kill, cut and spoil what is around the gateway, and judge what Kafka holds (ONLY=R11, ALL=1, LONG=1; needs Java 17, Maven)
	EVENT_GATEWAY_CACHE=$(abspath $(EVENT_GATEWAY_CACHE)) FAULT_OUT=$(abspath $(FAULT_OUT)) ONLY=$(ONLY) ALL=$(ALL) LONG=$(LONG) \
	  go test -v -vet=off -tags faults -run "TestFaults|TestEpochs" -count=1 -timeout $(if $(LONG),4h,20m) ./faults
	$(if $(ONLY),,go test -vet=off -tags faults -run TestHostileFloods -count=1 -timeout 5m .)

# FAULT_SCALE=0.2 makes the minute between two faults twelve seconds.
SOAK ?= 5m
.PHONY: soak
soak: ## Constant load with a random fault a minute for SOAK=5m; the plot is bench/out/soak.svg
	FAULT_OUT=$(abspath $(FAULT_OUT)) SOAK=$(SOAK) SOAK_OUT=$(CURDIR)/bench/out \
	  go test -v -vet=off -tags faults -run TestSoak -count=1 -timeout 0 ./faults

.PHONY: coverage
coverage: ## Print the coverage outside generated code; fail under COVERAGE_MIN percent
	children=$$(mktemp -d) && trap 'rm -rf "$$children"' EXIT && \
	  GATEWAY_COVER_DIR=$$children go test -vet=off -coverpkg=./... -coverprofile=coverage.all ./... && \
	  go tool covdata textfmt -i=$$children -o coverage.gateway
	tail -n +2 coverage.gateway >>coverage.all
	grep -vE '\.pb\.go:|$(COVERAGE_SKIP)' coverage.all >coverage.out
	rm coverage.all coverage.gateway
	go tool cover -html=coverage.out -o coverage.html
	awk -v min=$(COVERAGE_MIN) -f tools/coverage.awk coverage.out

.PHONY: bench
bench: ## Measure: throughput, latency, allocations, flamegraphs, report in bench/out
	@measured=0; go run ./bench || measured=$$?; \
	$(MAKE) --no-print-directory bench-pages || measured=$$?; exit $$measured

# What the profile is taken of: calls, single events, batches. A profile of other code still fits where functions
# have kept their names.
.PHONY: pgo
pgo: ## Take the profile again that the compiler lays out the gateway by (default.pgo)
	go run ./bench -only profiles -out bench/out/pgo
	cd bench/out/pgo/profiles && go tool pprof -proto -output=$(CURDIR)/default.pgo \
	  e2e-unary.cpu.pprof e2e-stream.cpu.pprof e2e-batch-10.cpu.pprof e2e-batch-100.cpu.pprof

# Both revisions take turns; BENCH=regexp chooses benchmarks, ROUNDS=n how often. End to end is BENCH=EndToEnd.
BASE ?= HEAD
BENCH ?= .
ROUNDS ?= 6
.PHONY: bench-compare
bench-compare: $(BENCHSTAT) ## Measure this tree beside revision BASE and print benchstat (BENCH=regexp ROUNDS=n)
	go run ./bench -base '$(BASE)' -bench '$(BENCH)' -rounds $(ROUNDS)
	cd bench/out && $(BENCHSTAT) base=compare-base.txt this=compare-this.txt

.PHONY: bench-short bench-pages
bench-short: ## Some of `make bench`, too short to mean anything: whether it runs
	go run ./bench -rounds 1 -span 200ms -only 'limits|calls|reading|profiles|micro' -out bench/out/short
	go -C $(PAGES) run . $(CURDIR)/bench/out/short

bench-pages: ## Draw plots, flame graphs and report.html of the last `make bench` again, without measuring
	go -C $(PAGES) run . $(CURDIR)/bench/out

##@ Containers (need Docker with Compose)

.PHONY: docker-compose-up
docker-compose-up: ## Build the image; start three Kafka brokers, the gateway and Prometheus
	VERSION=$(VERSION) docker compose up --build --detach --wait

.PHONY: docker-compose-down
docker-compose-down: ## Stop them; stored events stay in the volumes
	docker compose down

.PHONY: docker-compose-logs
docker-compose-logs: ## Follow their logs
	docker compose logs --follow

##@ Other

.PHONY: clean
clean: ## Remove what was built and measured; ./data (events) and the cached tools stay
	rm -rf gateway coverage.all coverage.out coverage.html bench/out faults/out

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z][a-z-]*:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
