# Targets are listed by `make help`. What is built for the tests goes to CACHE, outside the repository.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rds-csi-driver
BIN := bin
STAGE := test/stage.sh
FUZZTIME ?= 150000x
SCHEDULES ?= 10000
ROUNDS ?= 10

GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEADCODE := go run golang.org/x/tools/cmd/deadcode@v0.45.0
GREMLINS := go run github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0
MUTANTS ?= ./pkg/attach ./pkg/informers ./pkg/rds ./pkg/csi/controller
DEMO := $(BIN)/demo
# What ships says which version it is. VERSION, REGISTRY (before the images' names), DEBIAN_IMAGE, GO_IMAGE and PLATFORM may be
# given: see release/image.sh and release/release.sh.
VERSION ?= $(shell git describe --tags --always --dirty)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the driver, also as the kubectl plugin kubectl-rds, the simulator and the demo into bin/
	@$(STAGE) build go build -o $(BIN)/ ./cmd/... ./test/demo ./test/demonode
	@ln -sf rds-csi $(BIN)/kubectl-rds

.PHONY: image
image: ## Build the images rds-csi-controller and rds-csi-node with docker, podman or buildah
	@$(STAGE) image release/image.sh "$(VERSION)"

.PHONY: release
release: ## Make a release in dist/: binaries, manifests in one file, what the binaries are made of, checksums
	@$(STAGE) release release/release.sh "$(VERSION)" dist

.PHONY: prepare
prepare: ## Install the Debian packages that tests and demo need (does nothing if they are there)
	@$(STAGE) prepare test/prepare.sh

.PHONY: harness
harness: ## Build etcd, the Kubernetes control plane, kubelet, kubectl and sidecars (once, some 15 minutes; cached)
	@$(STAGE) harness test/harness/build.sh $(CACHE)

.PHONY: rulecheck
rulecheck: ## Build a Prometheus that waits for alerts into bin/
	@$(STAGE) rulecheck go -C test/monitoring build -o $(CURDIR)/$(BIN)/ ./rulecheck

.PHONY: demo
demo: prepare harness build rulecheck ## Show a dead node's volume come back elsewhere, on a real control plane on loopback
	@$(STAGE) demo $(DEMO) run --harness $(CACHE)/bin

.PHONY: demo-up
demo-up: prepare harness build ## Start the demo's cluster and leave it running
	@$(DEMO) up --harness $(CACHE)/bin

.PHONY: demo-down
demo-down: build ## Stop what demo-up started
	@$(DEMO) down

.PHONY: lint
lint: ## Lint everything, hold the budgets, find dead code
	@$(STAGE) lint $(GOLANGCI_LINT) run --allow-parallel-runners ./...
	@$(STAGE) deadcode test/deadcode.sh "$(DEADCODE)"
	@$(STAGE) tidy go mod tidy -diff
	@$(STAGE) vet-harness go -C test/harness vet ./...
	@$(STAGE) tidy-monitoring go -C test/monitoring mod tidy -diff
	@$(STAGE) vet-monitoring go -C test/monitoring vet ./...

.PHONY: unit
unit: ## Run the Go tests with the race detector, and print the figures that they count
	@$(STAGE) unit go test -race -timeout 10m $$(go list ./... | grep -vE '/test/(apiserver|faults|sanity|search)$$')
	@$(STAGE) figures test/figures.sh

.PHONY: docs
docs: ## Write the pages of docs/ that are generated from the code
	@$(STAGE) docs env RDS_CSI_WRITE_DOCS=1 go test -count 1 -run TestThePage ./pkg/metrics ./cmd/rds-csi/app

.PHONY: faults
faults: ## Run every operation on the appliance under every fault that the simulator knows
	@$(STAGE) faults test/faults.sh

.PHONY: search
search: ## Search SCHEDULES (default 10000) orders of events for one that breaks a promise
	@$(STAGE) search test/search.sh $(SCHEDULES) 500

.PHONY: sanity
sanity: ## Run csi-sanity, the conformance suite, against driver and simulator
	@$(STAGE) sanity go test -race -timeout 5m -count 1 -v -run TestSanity ./test/sanity

.PHONY: apiserver
apiserver: harness build ## Run what only a real API server can show: preconditions, watches, rights, the election of a leader
	@$(STAGE) apiserver env RDS_CSI_HARNESS=$(CACHE)/bin RDS_CSI_PROGRAMS=$(CURDIR)/$(BIN) go test -race -timeout 5m -count 1 ./test/apiserver

.PHONY: monitoring
monitoring: ## Test alerts, runbooks and dashboard with promtool and Prometheus' own code (first some 2 minutes)
	@$(STAGE) promtool test/monitoring/promtool.sh $(CACHE)/bin
	@$(STAGE) monitoring env RDS_CSI_PROMTOOL=$(CACHE)/bin/promtool go -C test/monitoring test -timeout 10m -count 1 ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target FUZZTIME (default 150000x) times
	@$(STAGE) fuzz test/fuzz.sh $(FUZZTIME)

# Two kernels of Debian 12: 6.12 gives a device up when the target refuses it once, 6.1 goes on trying.
GUEST := test/guest/guest.sh $(CACHE)
NEWER := linux-image-6.12-cloud-amd64
OLDER := linux-image-cloud-amd64

.PHONY: guest
guest: prepare ## Run what needs kernels of its own, real NVMe/TCP in QEMU, with ROUNDS (default 10) take-overs on each kernel
	@$(STAGE) guest-target $(GUEST) $(NEWER) -v ./test/guest/target
	@$(STAGE) guest-node $(GUEST) $(NEWER) -v ./test/guest/node
	@$(STAGE) guest-node-single-path env RDS_CSI_GUEST_APPEND=nvme_core.multipath=N $(GUEST) $(NEWER) -skip TestEachCapabilityIsNeeded ./test/guest/node
	@$(STAGE) guest-sanity $(GUEST) $(NEWER) -v ./test/sanity
	@$(STAGE) guest-fence $(GUEST) $(NEWER) --pair -v -timeout 40m ./test/guest/fence -fence-rounds $(ROUNDS)
	@$(STAGE) guest-node-older $(GUEST) $(OLDER) ./test/guest/node
	@$(STAGE) guest-fence-older $(GUEST) $(OLDER) --pair -v -timeout 40m ./test/guest/fence -fence-rounds $(ROUNDS)

.PHONY: image-test
image-test: prepare ## Build both images without a registry, and run the node's tests with the programs of its image
	@$(STAGE) image-test test/image.sh $(CACHE)

.PHONY: release-test
release-test: ## Make a release twice, in two folders, and compare the bytes
	@$(STAGE) release-test test/release.sh

.PHONY: mutants
mutants: ## Change MUTANTS (default: what decides and writes) in small ways, and list what no test notices; SINCE=main tries what changed
	@$(STAGE) mutants go run ./test/mutants -since "$(SINCE)" "$(GREMLINS)" $(MUTANTS)

.PHONY: check
check: lint unit faults sanity ## Run what a change needs every few minutes: linters, Go tests, faults, csi-sanity

.PHONY: test
test: prepare lint unit faults sanity search fuzz image-test release-test monitoring guest apiserver demo ## Everything that must pass before a change lands
