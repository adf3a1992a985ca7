# Daily work: make check. What CI runs: make test. The rest is run by hand; results go to docs/measurements.md.

.PHONY: test check soak bench generate executor

test: ## everything that CI checks
	go run ./dev/check

check: ## the quick part, below three minutes
	go run ./dev/check -quick

VERSION ?= 0.1.0-dev
executor: ## an executor version to be registered: make executor VERSION=1.5.0
	go run ./cmd/tidemill-dev build-executor --version "$(VERSION)" --output "bin/tidemill-executor-$(VERSION)"

soak: ## the long random and fault tests, with full counts
	go test -race -timeout=180m ./scheduler/ -run 'Simulation$$' -v -args -sim.seeds=100000
	go test -race -timeout=120m -tags=endtoend ./dev/endtoend/ -args -soak

bench: ## the benchmarks
	go test -run '^$$' -bench . -benchmem ./scheduler/...
	go run ./bench/aggregate
	go run ./bench/batch
	go run ./bench/latency
	go run ./bench/scale
	go run ./bench/fetch

generate: ## proto/*.pb.go, with protoc
	cd proto && go generate .
