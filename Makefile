# make help lists the targets. Go, git and make are all that is needed; what a
# target needs besides, it says.

SHELL   := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/lanyard-id/lanyard/internal/command.version=$(VERSION)
# Where test results go as `go test -json` prints them; CI sets it, and then
# checks that every witness of docs/parity.md has run.
RESULTS ?=
# Nothing under examples/, e2e/ and kube/ is in the product's module. Below kube/
# are the modules of what is built there, which hold little of our own.
MODULES := . examples e2e kube
TOOLS   := bin/tools

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/lanyard and bin/lanyard-agent
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/lanyard ./cmd/lanyard-agent

AGENT_IMAGE ?= ghcr.io/lanyard-id/lanyard-agent:$(VERSION)

.PHONY: image
image: build ## bin/lanyard-agent-image.tar, for docker load, ctr images import or kind load image-archive
	cd tools && go run ./agentimage ../bin/lanyard-agent '$(AGENT_IMAGE)' ../bin/lanyard-agent-image.tar

.PHONY: up
up: build ## a cloud that stays up, until Ctrl-C
	bin/lanyard up

.PHONY: demo
demo: build ## the main job with Azure's SDK for Go, in a temporary directory
	cd examples && go build -o ../bin/quickstart ./quickstart
	cd examples && go build -o ../bin/quickstart-platform ./quickstart/platform
	cd examples && go build -o ../bin/quickstart-workload ./quickstart/workload
	bin/quickstart -lanyard bin/lanyard

.PHONY: demo-cluster
demo-cluster: kube ## the main job in pods of a real Kubernetes, made for it (root on Linux)
	cd e2e && go build -o ../bin/clusterdemo ./clusterdemo && ../bin/clusterdemo

.PHONY: test
test: unit e2e ## every test that this machine can run

.PHONY: unit
unit: ## the tests of the product's module
	$(call gotest,.,-timeout=20m ./...)
	cd tools && go test ./...
	cd kube && go test ./...

# One package at a time: each may have a cluster of its own.
# The cluster under test is built where this machine can run it; elsewhere its
# tests say what is missing, and in CI fail.
ifneq ($(CI),)
KUBE := kube
else
KUBE := $(shell [ "$$(uname)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v nft >/dev/null && pkg-config --exists libseccomp 2>/dev/null && echo kube)
endif

.PHONY: e2e
e2e: $(KUBE) ## the tests with unmodified Azure clients, and on a real Kubernetes
	$(call gotest,e2e,-count=1 -p=1 -timeout=30m ./...)

.PHONY: kube
kube: ## bin/kube: a whole Kubernetes for the tests, built once (minutes)
	@cd kube && go run ./build ../bin/kube

.PHONY: race
race: ## every test of the product's module, under the race detector
	go test -race -timeout=20m ./...

.PHONY: bench
bench: $(KUBE) ## the benchmarks
	go test -run '^$$' -bench . -benchmem ./...
	cd e2e && go test -run '^$$' -bench . -benchtime 10x ./pods

.PHONY: check
check: fmt generated vet lint vuln ## format, what is generated, vet, lint, known vulnerabilities and the house rules
	go test .

.PHONY: fmt
fmt: ## fails on files that gofmt would change
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these files:"; echo "$$unformatted"; exit 1; fi

.PHONY: generate
generate: $(TOOLS)/controller-gen ## what is made from types: apis' copies and custom resource definitions
	$(TOOLS)/controller-gen object paths=./apis/... crd output:crd:dir=apis/aadpodidentity/crds

.PHONY: generated
generated: $(TOOLS)/controller-gen ## fails on what "make generate" would change
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(TOOLS)/controller-gen object paths=./apis/... crd output:object:dir="$$out/v1" output:crd:dir="$$out/crds"; \
	for f in v1/zz_generated.deepcopy.go crds; do diff -r apis/aadpodidentity/$$f "$$out/$$f" || { echo "make generate"; exit 1; }; done

$(TOOLS)/controller-gen: tools/go.mod tools/go.sum
	cd tools && GOBIN=$(CURDIR)/$(TOOLS) go install sigs.k8s.io/controller-tools/cmd/controller-gen

.PHONY: vet
vet: ## go vet, in every module
	@for m in $(MODULES); do echo "go vet ($$m)"; (cd $$m && go vet ./...); done

.PHONY: lint
lint: $(TOOLS)/golangci-lint ## golangci-lint, as .golangci.yml says
	$(TOOLS)/golangci-lint run ./...
	@for m in examples e2e kube; do (cd $$m && $(CURDIR)/$(TOOLS)/golangci-lint run -c $(CURDIR)/.golangci.yml ./...); done
	cd kube/node && CGO_ENABLED=0 $(CURDIR)/$(TOOLS)/golangci-lint run -c $(CURDIR)/.golangci.yml ./machine ./pause

# The database of vulnerabilities is on the network. A machine that cannot reach
# it has not been told that all is well: it says so.
.PHONY: vuln
vuln: $(TOOLS)/govulncheck ## known vulnerabilities in what the product calls
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; \
	if $(TOOLS)/govulncheck ./... >"$$out" 2>&1; then cat "$$out"; \
	elif grep -q 'vuln.go.dev' "$$out" && grep -Eq 'no such host|dial tcp|connection refused|i/o timeout|server misbehaving|Forbidden' "$$out"; then \
		echo '*** NOT CHECKED for known vulnerabilities: the database (vuln.go.dev) cannot be reached from this machine.'; \
	else cat "$$out"; exit 1; fi

$(TOOLS)/golangci-lint $(TOOLS)/govulncheck: tools/go.mod tools/go.sum
	cd tools && GOBIN=$(CURDIR)/$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint golang.org/x/vuln/cmd/govulncheck

$(TOOLS)/testtext: tools/testtext/main.go
	cd tools && go build -o $(CURDIR)/$@ ./testtext

.PHONY: clean
clean: ## removes what was built
	rm -rf bin

# gotest DIR PACKAGES runs tests in a module. With RESULTS the events are kept,
# and their text is printed as ever.
ifeq ($(RESULTS),)
gotest = cd $(1) && go test $(2)
else
gotest = cd $(1) && go test -count=1 -json $(2) | tee -a '$(RESULTS)' | $(CURDIR)/$(TOOLS)/testtext
unit e2e: $(TOOLS)/testtext
endif
