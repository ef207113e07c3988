# make run    build everything, lay out a run folder, start the host, say how to post a first message
# make test   every check and every test
# make api-test  whether the admin API answers as it describes itself, whatever it is asked
# make docs   write the tables of options in the plugins' READMEs anew, from their schemas
# make drill  the tests of upgrades, reloads and crashes under load, with release builds
# make attack every attack at once beside genuine senders for a minute, with release builds
# make certify judge every plugin under plugins/ as a release build (make test does it with debug builds)
# make fuzz   bytes that nobody would think of, for everything that reads bytes of others; see tests/fuzz
# make bench  what it costs, next to what the same machine gives without it (needs wrk)

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
# cargo-deny is built once, beside everything else that is built.
DENY_VERSION := 0.20.2
DENY := $(abspath $(TARGET))/tools/bin/cargo-deny
# cargo-fuzz is built once as well.
FUZZ_VERSION := 0.13.2
FUZZ := $(abspath $(TARGET))/tools/bin/cargo-fuzz
FUZZ_SECONDS ?= 20
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))
# Other sanitizers want a nightly compiler.
FUZZ_OPTIONS := --fuzz-dir tests/fuzz --target-dir $(abspath $(TARGET))/fuzz --sanitizer none

.PHONY: help run build test fmt clippy doc deny unit api-test attack certify docs drill fuzz bench clean-run

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# One package at a time: together, cargo would build the plugin with what only the host needs.
build:
	cargo build --release --package tocsin
	cargo build --release --package slack-outgoing-webhook
	cargo build --release --package alertmanager

run: build
	@mkdir -p run/plugins
	@cp $(RELEASE)/libslack_outgoing_webhook.so run/plugins/.new && mv run/plugins/.new run/plugins/libslack_outgoing_webhook.so
	@test -e run/slack.token || (umask 077 && head -c 18 /dev/urandom | base64 | tr '+/' '-_' > run/slack.token)
	@test -e run/tocsin.toml || cp tocsin.example.toml run/tocsin.toml
	@echo
	@echo "The endpoint of the Slack integration:"
	@echo "  http://127.0.0.1:8080/in/ops-slack"
	@echo "Post what Slack would post, from another terminal:"
	@echo "  curl -i http://127.0.0.1:8080/in/ops-slack -d token=$$(cat run/slack.token) -d team_domain=example -d channel_id=C2147483705 -d channel_name=ops -d timestamp=\$$(date +%s).000100 -d user_id=U2147483697 -d user_name=steve -d 'text=outage: db1 is down, critical' -d trigger_word=outage:"
	@echo "See the alert:"
	@echo "  $(RELEASE)/tocsin alerts list --config run/tocsin.toml"
	@echo "Ctrl-C stops the host. Configuration, plugins and database are in run/."
	@echo
	@exec $(RELEASE)/tocsin serve --config run/tocsin.toml

test: fmt clippy doc deny unit api-test

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

deny: $(DENY)
	$(DENY) check bans licenses sources

$(DENY):
	@echo "building cargo-deny $(DENY_VERSION), once; it takes some minutes"
	cargo install --locked --quiet --version $(DENY_VERSION) --root $(TARGET)/tools cargo-deny

unit:
	cargo test --workspace

api-test:
	tests/api-test.sh

# The same test compares them otherwise.
docs:
	TOCSIN_UPDATE_DOCS=1 cargo test --package tocsin-tests --test e2e reference::

drill:
	TOCSIN_DRILL=1 cargo test --package tocsin-tests --test e2e -- --nocapture --test-threads 1 upgrades:: reload:: durability::

attack:
	TOCSIN_DRILL=1 cargo test --package tocsin-tests --test e2e -- --nocapture --test-threads 1 attack:: vanished_store:: lost_log::

certify: build
	@for plugin in plugins/*/; do \
	  name=$$(basename $$plugin); \
	  cargo build --release --package $$name || exit 1; \
	  $(RELEASE)/tocsin plugins certify --fixtures $${plugin}fixtures $(RELEASE)/lib$$(echo $$name | tr - _).so || exit 1; \
	done

# All of them run, whatever the first finds. What is new goes to the first folder, not to the seeds.
fuzz: $(FUZZ)
	$(FUZZ) build $(FUZZ_OPTIONS)
	@failed=0; for target in $(FUZZ_TARGETS); do \
	  echo "fuzzing $$target for $(FUZZ_SECONDS) seconds"; \
	  found=tests/fuzz/found/$$target; mkdir -p $$found; \
	  $(FUZZ) run $(FUZZ_OPTIONS) $$target $$found tests/fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 > $$found.log 2>&1 \
	    && grep number_of_executed_units $$found.log && continue; \
	  failed=1; grep -v '^#[0-9]' $$found.log | tail -n 60; \
	  echo "$$target broke its promise: the input lies in tests/fuzz/artifacts/$$target, the output in $$found.log"; \
	done; exit $$failed

$(FUZZ):
	@echo "building cargo-fuzz $(FUZZ_VERSION), once; it takes a minute"
	cargo install --locked --quiet --version $(FUZZ_VERSION) --root $(TARGET)/tools cargo-fuzz

bench: build
	@command -v wrk > /dev/null || (echo "make bench needs wrk: apt-get install wrk" && false)
	cargo build --release --package tocsin-bench
	@mkdir -p $(RELEASE)/bench-plugins
	@cp $(RELEASE)/libslack_outgoing_webhook.so $(RELEASE)/bench-plugins/
	BENCH_TOCSIN=$(abspath $(RELEASE))/tocsin BENCH_PLUGINS=$(abspath $(RELEASE))/bench-plugins $(RELEASE)/tocsin-bench

# Forgets the run folder, with its alerts and its token.
clean-run:
	rm -rf run
