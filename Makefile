# goahead: `make run` tries it, `make test` proves it, `make help` lists the rest.
PREFIX ?= /usr/local
DESTDIR ?=
export PREFIX DESTDIR

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Install what is missing to build: PostgreSQL, clang, cargo-pgrx (apt and cargo)
	@tools/setup.sh

.PHONY: build
build: setup ## Build the binary target/release/goahead and the extension
	@tools/build.sh

.PHONY: install
install: ## Install binary, extension, units, man pages, completions (PREFIX=/usr/local, DESTDIR=)
	@tools/install.sh

.PHONY: run
run: build ## Start a service with an example to try; Ctrl-C stops it, its state stays
	@tools/run.sh

.PHONY: test
test: setup ## Run every test: rules, extension, service, end to end
	@tools/test.sh

.PHONY: lint
lint: setup ## Check format, clippy, and (where cargo-deny is installed) advisories and licences
	@tools/lint.sh

.PHONY: bench
bench: build ## Measure speed and write tests/bench/RESULTS.md
	@tools/bench.sh

.PHONY: demo-gate
demo-gate: build ## Show the gate: three database nodes with repmgr and HAProxy, and a failover
	@tools/demo-gate.sh

.PHONY: image
image: ## Build the container images goahead, goahead-postgres and goahead-web-rendezvous
	docker build -f docker/Dockerfile -t goahead .
	docker build -f docker/Dockerfile -t goahead-postgres --target database .
	docker build -f docker/Dockerfile -t goahead-web-rendezvous --target web-rendezvous .

.PHONY: try-image
try-image: build ## Try the image goahead-web-rendezvous in a clean root, without Docker (as root)
	@tools/try-image.sh

.PHONY: clean
clean: ## Remove what was built; keeps the tools that setup installed
	cargo clean --profile dev
	cargo clean --release
	rm -rf target/postgres
