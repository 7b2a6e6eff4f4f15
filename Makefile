# `make run` starts the exchange, `make test` proves it. Both install what they need on Debian 12, as root or with sudo.

SHELL := /bin/bash
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CARGO ?= cargo
# The whole workspace whichever test it is: with fewer crates cargo chooses other features, and builds all of it anew.
TEST := $(CARGO) test --workspace --locked

BUILD_PACKAGES := gcc libc6-dev make pkg-config
TEST_PACKAGES := sip-tester baresip sox iproute2 python3 python3-venv procps
LOAD_PACKAGES := kamailio rtpengine-daemon
FUZZ_PACKAGES := g++
BPF_PACKAGES := clang linux-libc-dev

# $(call install,PACKAGES): installs the Debian packages that are missing, and asks the network only then.
define install
	@missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: run test check bpf profile sim planted fuzz soak bench load setup setup-test setup-load

setup:
	$(call install,$(BUILD_PACKAGES))

setup-test: setup
	$(call install,$(TEST_PACKAGES))
	@tests/interop/pjsua2/setup.sh

setup-load: setup-test
	$(call install,$(LOAD_PACKAGES))

# Builds all and starts it with an embedded database in ./data.
run: setup
	$(CARGO) build --release --locked -p crosspoint
	"$${CARGO_TARGET_DIR:-target}/release/crosspoint" run --profile demo --data ./data $(ARGS)

# Format, lints, rustdoc links, the rules of the house.
check: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --locked --document-private-items
	$(TEST) --test house
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; else echo "cargo-deny is not installed: the house test has checked licences"; fi

# Everything that continuous integration runs.
test: setup-test check
	$(TEST)

# Makes the object of the kernel tier that is checked in, for machines without clang. After each change of its source.
bpf:
	$(call install,$(BPF_PACKAGES))
	crates/net/bpf/build.sh relay.bpf.o

# Counts anew which paths run often, for release builds: deploy/profile/README.md.
profile: setup-load
	deploy/profile/renew.sh

# The simulations alone: SEED=7 make sim replays one.
sim: setup
	$(TEST) --test sim -- --nocapture

# Plants bugs in a copy of the machines, one after the other, and shows that the tests notice each.
planted: setup
	$(TEST) --test house -- --exact planted::each_planted_bug_is_caught --ignored --nocapture

# Feeds each way in with inputs made after what the code does with them: FUZZ_SECONDS=600 make fuzz.
fuzz: setup
	$(call install,$(FUZZ_PACKAGES))
	tests/fuzz/fuzz.sh

# Prints what the benches measure and appends it to benches/RESULTS.md.
bench: setup
	benches/bench.sh

# A million simulated calls in a day of virtual time: tables and memory stay as they were. SEED=7 make soak plays others.
soak: setup
	$(TEST) --test sim -- --exact soak::alone --ignored --nocapture

# Ten minutes at half load: memory, descriptors and ports stay flat, records equal calls.
load-soak: setup-load
	$(CARGO) build --release --locked -p crosspoint
	benches/load/load.sh soak

# SIPp against the bench profile, ours and Kamailio with rtpengine side by side.
load: setup-load
	$(CARGO) build --release --locked -p crosspoint
	benches/load/load.sh
