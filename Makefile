# `make` lists what can be made.

GO       ?= go
FUZZTIME ?= 60s

# Where git may not read the repository (another user's clone, say), go build
# cannot note the commit and would fail.
ifeq ($(shell git rev-parse HEAD 2>/dev/null),)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

.DEFAULT_GOAL := help
.PHONY: help run build test test-unit e2e demo bench fuzz lint clean FORCE

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## build and start the gateway; no configuration needed
	@exec bin/xmpp-gw run

build: bin/xmpp-gw ## build bin/xmpp-gw

# Go knows better than make what is up to date.
bin/xmpp-gw: FORCE
	$(GO) build -trimpath -o $@ ./cmd/xmpp-gw

test: ## install what the tests need, then run all of them
	@scripts/test-deps
	$(GO) test -race ./...
	$(MAKE) --no-print-directory e2e

test-unit: ## the tests that need no servers: a few minutes
	$(GO) test -race ./...

# One package after the other, as each starts servers; never from the cache, as
# it does not know them.
e2e: build ## the tests with real Tor, servers and clients
	@scripts/test-deps
	$(GO) test -tags e2e -count 1 -p 1 -timeout 9m ./tests/... ./server/store

demo: build ## offline: a private Tor network, a server behind an onion address, two clients
	@scripts/test-deps
	$(GO) run ./tests/demo -gateway bin/xmpp-gw

bench: build ## figures: BENCH name value unit
	@scripts/test-deps
	$(GO) run ./tests/bench -gateway bin/xmpp-gw
	$(GO) run ./tests/bench/servers

fuzz: ## every fuzz target, FUZZTIME (60s) each
	@GO='$(GO)' FUZZTIME='$(FUZZTIME)' scripts/fuzz

lint: ## format, vet, static analysis, known vulnerabilities
	@GO='$(GO)' scripts/lint

clean: ## remove what was built
	rm -rf bin
