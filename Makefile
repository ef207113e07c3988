# make run      build everything, lay out a run folder, start the host, say how to post a first message
# make quick    format, lints, unit tests and smoke tests: the loop while you write code
# make test     every check and every test
# make test-postgres  run the end-to-end tests of what goes through the store on PostgreSQL
# make api-test check the answers of the admin API against its own description
# make docs     write the tables of options in the plugins' READMEs and of messages in the guide again
# make drill    test upgrades, reloads, deliveries, crashes under load and power cuts, with release builds
# make attack   run every attack at once beside genuine senders for a minute, with release builds
# make certify  judge every plugin under plugins/ as a release build (make test does it with debug builds)
# make fuzz     fuzz everything that reads foreign bytes; see tests/fuzz
# make bench    measure the host beside a minimal server on the same machine (needs wrk)
# make release  build everything with more optimization, some minutes longer, into target/production
# make dist     build the archive of a release for this machine, with checksums
# make deb      build the Debian package for this machine, from a release build
# make try-deb  install, upgrade and remove the Debian package, with debug builds (needs root, changes nothing)
# make advisories  look up known vulnerabilities of the dependencies (needs the network)

TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
PRODUCTION := $(TARGET)/production
# cargo-deny is built once, beside everything else that is built.
DENY_VERSION := 0.20.2
DENY := $(abspath $(TARGET))/tools/bin/cargo-deny
# cargo-deb is built once as well.
CARGO_DEB_VERSION := 3.8.0
CARGO_DEB := $(abspath $(TARGET))/tools/bin/cargo-deb
# cargo-fuzz is built once as well.
FUZZ_VERSION := 0.13.2
FUZZ := $(abspath $(TARGET))/tools/bin/cargo-fuzz
FUZZ_SECONDS ?= 20
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard tests/fuzz/fuzz_targets/*.rs)))
# Every sanitizer needs a nightly compiler.
FUZZ_OPTIONS := --fuzz-dir tests/fuzz --target-dir $(abspath $(TARGET))/fuzz --sanitizer none

# The host, and the plugins of a release.
SHIPPED := tocsin slack-outgoing-webhook alertmanager webhook-out slack-channel
# Without the bad plugins: no unit test needs them, and the smoke tests build the ones they load.
QUICK := --workspace --exclude 'bad-*'
VERSION = $(shell cargo pkgid --package tocsin | sed 's/.*[@\#]//')
DIST = tocsin-$(VERSION)-$(shell uname -m)-linux

.PHONY: help run build release quick test fmt clippy doc deny advisories scripts unit test-postgres api-test attack certify docs drill fuzz bench dist deb try-deb clean-run

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# One package at a time: together, cargo would build the plugin with what only the host needs.
build:
	$(foreach package,$(SHIPPED),cargo build --release --package $(package) &&) true

release:
	$(foreach package,$(SHIPPED),cargo build --profile production --package $(package) &&) true

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

quick: fmt clippy
	cargo test $(QUICK) --lib --test house
	cargo test $(QUICK) --test e2e smoke::

test: fmt clippy doc deny scripts unit api-test try-deb

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --all-features -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

deny: $(DENY)
	$(DENY) check bans licenses sources

advisories: $(DENY)
	$(DENY) check advisories

$(DENY):
	@echo "building cargo-deny $(DENY_VERSION), once; it takes some minutes"
	cargo install --locked --quiet --version $(DENY_VERSION) --root $(TARGET)/tools cargo-deny

scripts:
	@if command -v shellcheck > /dev/null; then shellcheck $$(git ls-files '*.sh') .ci/run $$(git ls-files 'deploy/debian/p*'); \
	else echo "SKIPPED: shellcheck is not installed"; fi

unit:
	cargo test --workspace

# The modules whose tests go through the store. All others are about plugins, listeners, files or the command line,
# and have the same code before the store. The tests of several hosts and of PostgreSQL's faults are part of `unit`.
ON_POSTGRES := access:: alert_life:: alertmanager:: api:: concurrent_senders:: deliveries:: destinations:: \
	durability:: exactly_once:: integration_settings:: notification_rules:: quarantine:: request_records:: \
	slack_channel:: slack_circle:: smoke:: traces:: vectors:: webhook_answers::

test-postgres:
	TOCSIN_TEST_STORE=postgres cargo test --package tocsin-tests --test e2e -- $(ON_POSTGRES)

api-test:
	tests/api-test.sh

# Without the variable, the same tests compare the tables.
docs:
	TOCSIN_UPDATE_DOCS=1 cargo test --package tocsin-tests --test e2e -- reference:: broken_configurations::

drill:
	TOCSIN_DRILL=1 cargo test --package tocsin-tests --test e2e -- --nocapture --test-threads 1 upgrades:: reload:: durability:: deliveries:: backup:: several_hosts::
	TOCSIN_DRILL=1 cargo test --package tocsin-tests --test power_cuts -- --nocapture --test-threads 1

attack:
	TOCSIN_DRILL=1 cargo test --package tocsin-tests --test e2e -- --nocapture --test-threads 1 attack:: removed_database:: unwritable_log::

certify: build
	@for plugin in plugins/*/; do \
	  name=$$(basename $$plugin); \
	  cargo build --release --package $$name || exit 1; \
	  $(RELEASE)/tocsin plugins certify --fixtures $${plugin}fixtures $(RELEASE)/lib$$(echo $$name | tr - _).so || exit 1; \
	done

# Every target runs, even if an earlier one fails. New inputs go to the first folder, not to the seeds.
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

# The floor is built with the same profile.
bench: release
	@command -v wrk > /dev/null || (echo "make bench needs wrk: apt-get install wrk" && false)
	cargo build --profile production --package tocsin-bench
	@mkdir -p $(PRODUCTION)/bench-plugins
	@cp $(PRODUCTION)/libslack_outgoing_webhook.so $(PRODUCTION)/libwebhook_out.so $(PRODUCTION)/bench-plugins/
	BENCH_TOCSIN=$(abspath $(PRODUCTION))/tocsin BENCH_PLUGINS=$(abspath $(PRODUCTION))/bench-plugins $(PRODUCTION)/tocsin-bench

# Checksums of the files are inside the archive, that of the archive is beside it.
dist: release
	rm -rf $(TARGET)/dist && mkdir -p $(TARGET)/dist/$(DIST)/plugins
	cp -r $(PRODUCTION)/tocsin README.md CHANGELOG.md SECURITY.md docs LICENSE-APACHE LICENSE-MIT tocsin.example.toml $(TARGET)/dist/$(DIST)/
	cp $(PRODUCTION)/libslack_outgoing_webhook.so $(PRODUCTION)/libalertmanager.so $(PRODUCTION)/libwebhook_out.so $(PRODUCTION)/libslack_channel.so $(TARGET)/dist/$(DIST)/plugins/
	deploy/plugin-api-sources.sh $(TARGET)/dist/$(DIST)/share/tocsin/src/plugin-api
	cp -r deploy $(TARGET)/dist/$(DIST)/ && rm -rf $(TARGET)/dist/$(DIST)/deploy/debian
	cd $(TARGET)/dist/$(DIST) && sha256sum tocsin plugins/*.so > SHA256SUMS
	cd $(TARGET)/dist && tar --owner 0 --group 0 --numeric-owner -czf $(DIST).tar.gz $(DIST) && sha256sum $(DIST).tar.gz > $(DIST).tar.gz.sha256

deb: release $(CARGO_DEB)
	deploy/debian/stage.sh $(PRODUCTION)
	$(CARGO_DEB) --package tocsin --no-build --no-strip --output $(TARGET)/debian/

# The tests have built the same packages.
try-deb: $(CARGO_DEB)
	$(foreach package,$(SHIPPED),cargo build --quiet --package $(package) &&) true
	deploy/debian/try.sh

$(CARGO_DEB):
	@echo "building cargo-deb $(CARGO_DEB_VERSION), once; it takes some minutes"
	cargo install --locked --quiet --version $(CARGO_DEB_VERSION) --root $(TARGET)/tools cargo-deb

# Deletes the run folder, with its alerts and its token.
clean-run:
	rm -rf run
