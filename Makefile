# Basalt: `make help` lists what there is.
#
# What CI runs is built with the one profile (release), for the whole workspace at once: RocksDB, 11 minutes of C++ on two cores, is
# then compiled once for the binary, the tests, the lints and the docs. `make quick` has a profile of its own and takes RocksDB from
# ccache.

# Where rustup puts cargo, which a shell that is older than it does not know.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Where ccache is, C and C++ are compiled through it. Another value of CC or CXX makes cargo build RocksDB anew, so who calls cargo
# by hand exports the same two (CONTRIBUTING.md).
ifneq ($(shell command -v ccache 2>/dev/null),)
ifeq ($(origin CC),default)
export CC := ccache cc
endif
ifeq ($(origin CXX),default)
export CXX := ccache c++
endif
endif

CARGO ?= cargo
BUILD := --release --workspace --locked
RELEASE := $(or $(CARGO_TARGET_DIR),target)/release
BASALT := $(RELEASE)/basalt
QUICK := --profile quick --locked
P ?=
T ?=
ARGS ?=
CYCLES ?= 5
SECONDS ?= 60
MILLISECONDS ?= 50
KEYS ?=
SEEDS ?= 5000
FIRST ?= 1
MINUTES ?= 15
# Where `make programs` keeps the libraries that it has installed.
PROGRAMS ?= $(or $(TMPDIR),/tmp)/basalt-programs-libraries

.DEFAULT_GOAL := help
.PHONY: help deps deps-build deps-test deps-bench deps-quick build quick run cluster check test source bench bench-compare bench-cluster \
	bench-failover bench-steady bench-footprint crash simulate \
	jepsen programs start stall isolation memory facts fmt fmt-check lint doc

help: ## Lists the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

deps: ## Installs what building, testing and comparing need; the targets below do that themselves
	@deploy/install-deps.sh

deps-build:
	@deploy/install-deps.sh --build

deps-bench:
	@deploy/install-deps.sh --bench

deps-test:
	@deploy/install-deps.sh --test

deps-quick:
	@deploy/install-deps.sh --quick

build: deps-build ## Builds everything
	$(CARGO) build $(BUILD) --all-targets

run: deps-build ## Builds and runs a node on port 6379 with its data in ./basalt-data (ARGS='--port 7000' for more)
	$(CARGO) build $(BUILD)
	$(BASALT) $(ARGS)

cluster: deps-test ## Builds and runs three nodes as a cluster on ports 7001 to 7003 of this machine, until Ctrl-C
	$(CARGO) build $(BUILD)
	deploy/three-nodes.sh $(BASALT)

check: deps-test fmt-check source lint doc ## Checks format, widths, who uses whom, lints and docs: what a commit has to pass

# Tests of processes mostly wait: four at once take half the time of two, also on two cores.
test: export RUST_TEST_THREADS ?= $(shell n=$$(nproc); echo $$((n > 4 ? n : 4)))
test: check ## All of that, then runs every test
	$(CARGO) test $(BUILD) --no-fail-fast

quick: deps-quick ## Builds and tests without optimizing across crates (P=basalt-storage for one crate, T=memtable for what matches)
	$(CARGO) build $(QUICK) --workspace --bin basalt
	$(CARGO) test $(QUICK) $(if $(P),-p $(P),--workspace) --lib --bins --tests $(if $(T),-- '$(T)')

bench: deps-build ## Runs the micro-benchmarks (BENCH=decode for one file, ARGS='SET' for what matches)
	$(CARGO) bench --workspace --locked --profile release --bench '$(or $(BENCH),*)' -- $(ARGS)

bench-compare: deps-test ## Compares with redis-server on this machine, about 20 minutes (ARGS=--quick to try)
	$(CARGO) build $(BUILD)
	$(RELEASE)/bench-compare $(ARGS)

bench-cluster: deps-bench ## Compares three nodes with one, etcd and a redis-server with a replica, about 10 minutes (ARGS=--quick to try)
	$(CARGO) build $(BUILD)
	$(RELEASE)/bench-cluster $(ARGS)

bench-failover: deps-test ## Kills leaders under writes and times how long their keys cannot be written (KILLS=100)
	$(CARGO) build $(BUILD)
	$(RELEASE)/bench-cluster --failovers $(or $(KILLS),100) $(ARGS)

bench-steady: deps-test ## Loads 50 million keys for half an hour: no latency cliff (ARGS=--quick to try)
	$(CARGO) build $(BUILD)
	$(RELEASE)/bench-steady $(ARGS)

bench-footprint: deps-test ## Fills nodes and redis-server with 10 million keys of each type: memory and disk (ARGS=--quick to try)
	$(CARGO) build $(BUILD)
	$(RELEASE)/bench-footprint $(ARGS)

crash: deps-test ## Kills a loaded node, and its machine, and checks what it acknowledged (CYCLES=200 for long)
	$(CARGO) build $(BUILD)
	CRASH_CYCLES=$(CYCLES) $(CARGO) test $(BUILD) --test all -- --nocapture survive

simulate: deps-test ## Runs groups in virtual time with faults drawn from seeds (SEEDS=5000, FIRST=1 for the first of them)
	SIMULATE_SEEDS=$(SEEDS) SIMULATE_FIRST=$(FIRST) $(CARGO) test --release --locked -p basalt-raft --lib -- --nocapture whatever_fails

jepsen: deps-test ## Has nodes of a cluster fail by chance under load, and checks every answer (MINUTES=15, JEPSEN_SEED=7 for the same faults)
	$(CARGO) build $(BUILD)
	JEPSEN_MINUTES=$(MINUTES) $(CARGO) test $(BUILD) --test all -- --nocapture faults::marathon

programs: deps-test ## Runs clients, queues and frameworks on nodes and clusters (ARGS='--only cluster', or '--against redis')
	$(CARGO) build $(BUILD) --bin basalt
	tests/programs/install.sh $(PROGRAMS)
	tests/programs/run.py --tools $(PROGRAMS) --basalt $(BASALT) $(ARGS)

start: deps-test ## Times a start on nothing, and one with a million keys after a kill (KEYS=1000000)
	$(CARGO) build $(BUILD)
	RECOVERY_KEYS=$(or $(KEYS),1000000) START_PATIENCE=1 $(CARGO) test $(BUILD) --test all -- --nocapture --test-threads 1 served_

stall: deps-test ## Asks a busy node for a minute: no answer may take 50 ms (SECONDS=60, MILLISECONDS=50)
	$(CARGO) build $(BUILD)
	STALL_SECONDS=$(SECONDS) STALL_LIMIT_MS=$(MILLISECONDS) $(CARGO) test $(BUILD) --test all -- --nocapture stall::

isolation: deps-test ## Times requests beside a shard that stands still: 1.5 times as long at most (SECONDS=60, RATIO=1.5)
	$(CARGO) build $(BUILD)
	ISOLATION_SECONDS=$(SECONDS) ISOLATION_RATIO_MAX=$(or $(RATIO),1.5) $(CARGO) test $(BUILD) --test all -- --nocapture served_as_before

memory: deps-test ## Loads a node with two million keys: it keeps to its memory (KEYS=2000000, SECONDS=60)
	$(CARGO) build $(BUILD)
	MEMORY_KEYS=$(or $(KEYS),2000000) MEMORY_SECONDS=$(SECONDS) $(CARGO) test $(BUILD) --test all -- --nocapture memory::

facts: deps-test ## Writes what COMMAND tells of the commands in the tables, asked of a redis-server (REDIS_SERVER=redis-server)
	$(CARGO) run --release --locked -p basalt-tests --bin write-facts
	$(CARGO) fmt --all

fmt: deps-test ## Formats the code
	$(CARGO) fmt --all

fmt-check: deps-test
	$(CARGO) fmt --all --check

source: deps-test ## Checks who uses whom, widths, how docs begin and where bounds stand (tests/tests/source)
	$(CARGO) test $(BUILD) --test source

lint: deps-test ## Lints the code
	$(CARGO) clippy $(BUILD) --all-targets -- -D warnings

doc: deps-test ## Builds the docs
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc $(BUILD) --no-deps --document-private-items
