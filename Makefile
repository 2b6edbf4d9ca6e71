# Both commands build the one profile (dev, tuned in Cargo.toml): nothing is compiled twice.

.PHONY: demo test test-clients soak fuzz lint tidy bench

## Build and start the demo: a node under load, live charts, and a key that kills it.
demo:
	cargo run -p highwater --bin highwater -- demo

## All tests: Rust, then end to end against the built program. Prints what was skipped, and why.
test:
	tests/run

## Clients nobody here wrote, each feature a test: Java, Go, Node, Python, Spark, Flink, Storm, ... The
## first run fetches them into a cache; the table of results is in docs/compatibility.md.
test-clients:
	cargo build -p highwater --bin highwater
	tests/clients/run

## The long forms of the crash tests: 500 rounds of kill -9 under Kafka clients (on HIGHWATER_SOAK_DIR,
## if set, it goes on where it stopped), 200 under ingest and a pipeline, 100,000 simulated crashes.
soak:
	HIGHWATER_SOAK_ROUNDS=500 HIGHWATER_E2E_KILLS=200 tests/run --e2e test_soak test_kill
	HIGHWATER_CRASH_SEEDS=100000 cargo test -p highwater-sim --test log_crash -- --nocapture

## Fuzz targets for frames, batches, codecs and every file of the log, 20 seconds each (fuzz/run).
fuzz:
	fuzz/run

## Formatting, lints, licences.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cd fuzz && RUSTFLAGS="--cfg fuzzing" cargo check -q --bins
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	else echo "SKIPPED: cargo-deny is not installed"; fi

## Order of crates, arrows between them, leftovers.
tidy:
	cargo run -q -p highwater-xtask -- tidy

## First figures of this machine; see docs/benchmarks.md.
bench:
	@cargo build -q -p highwater --bin highwater
	@for what in log ingest window latency nexmark; do \
		cargo run -q -p highwater --bin highwater -- bench $$what || exit 1; echo; done
