# Everything goes through make; `make` alone lists what there is. Set-up is part of every target:
# libtorch is found or installed into the user's cache (third_party/find_libtorch.sh).

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# SCALE of an experiment: smoke, laptop or paper.
SCALE ?=
# PACKAGES and RUN narrow tests: make test PACKAGES=./record RUN=TestLock
PACKAGES ?= ./...
RUN      ?= .

# Every grid but the quickstart's is an experiment: exp-NAME.
experiments := $(filter-out weight-decay-quickstart,$(basename $(notdir $(wildcard sweeps/grids/*.yaml))))

pure := ./analyze/... ./cmd/plasticity ./config/... ./data/... ./eval/answer ./eval/metric ./model/source ./plots/... ./record/... ./serve/... ./sweeps/...
version := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

##@ Build

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z%-]+:.*## / {printf "  make %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nExperiments, with SCALE=smoke, laptop or paper (planned only)\n'
	@for name in $(experiments); do printf '  make %-24s %s\n' "exp-$$name" "$$(sed -n 's/^claim: //p' "sweeps/grids/$$name.yaml")"; done

.PHONY: build
build: native ## build bin/plasticity and bin/plasticity-worker
	@mkdir -p bin
	@CGO_ENABLED=0 go build -buildvcs=auto -o bin/plasticity ./cmd/plasticity
	@CGO_ENABLED=1 go build -buildvcs=auto -o bin/plasticity-worker ./cmd/plasticity-worker

.PHONY: native
native: go ## find or install libtorch and build the native library
	@cgo/build.sh native

.PHONY: cuda
cuda: go ## compile the CUDA side as well (needs no GPU)
	@cgo/build.sh cuda

.PHONY: setup-cuda
setup-cuda: go ## fetch what a GPU needs (2.2 GB), then build with it
	@third_party/find_libtorch.sh --cuda >/dev/null
	@$(MAKE) cuda build

.PHONY: go
go:
	@command -v go >/dev/null || { echo "Go is needed: install it (the version is in go.mod)" >&2; exit 1; }

.PHONY: bundle
bundle: build ## a folder in bundle/ that runs without compilers, Python and network
	@tools/bundle.sh "$(version)"

.PHONY: clean
clean: ## remove what was built; runs, reports, data and the cache stay
	rm -rf bin build bundle cgo/tgo_stamp.h

##@ Use

.PHONY: quickstart
quickstart: build ## real text, a grid of weight decays, fine-tuned on three tasks, a report with Figures 1 to 3 (minutes)
	@tools/quickstart.sh "$(SCALE)"

.PHONY: $(experiments:%=exp-%)
$(experiments:%=exp-%): exp-%: build
	@tools/experiment.sh $* "$(SCALE)"

.PHONY: exp-smoke
exp-smoke: build ## every experiment at smoke scale, one after the other: does everything work? (minutes)
	@tools/experiments.sh smoke

.PHONY: monitor
monitor: ## Prometheus and Grafana over the runs of this machine, on loopback; Ctrl-C stops both (RUNS=folder)
	@tools/monitor.sh $(RUNS)

.PHONY: doctor
doctor: build ## say what is installed, what is missing and how to get it
	@bin/plasticity doctor

##@ Test

.PHONY: test
test: build ## set-up and the whole suite
	go test -run '$(RUN)' $(PACKAGES)

.PHONY: check
check: build fmt-check lint race ## format, lint, vet, race detector, import rules
	CGO_ENABLED=0 go vet $(pure)
	go vet ./...

.PHONY: fmt
fmt: native ## format Go and C++ sources
	@"$$(tools/get.sh golangci-lint)" fmt
	@tools/format.sh -i

.PHONY: fmt-check
fmt-check: native
	@"$$(tools/get.sh golangci-lint)" fmt --diff
	@tools/format.sh --dry-run -Werror

.PHONY: lint
lint: native
	@"$$(tools/get.sh golangci-lint)" run ./...

.PHONY: race
race: build
	go test -race -run '$(RUN)' $(PACKAGES)

.PHONY: asan
asan: go ## C++ tests under address, leak and undefined-behaviour sanitizers
	@cgo/build.sh asan
	@ctest --test-dir build/asan --output-on-failure

.PHONY: faults
faults: build ## what kills, full disks, torn and hostile files, signals and lost memory do; all of it is in make test, too
	go test -count=1 -run 'Kill|Crash|Surviv|Signal|Stop|Torn|Tear|PowerCut|Lock|Damage|Broken|Flip|Fuzz|Disk|Memory|Hostile|Corrupt' $(PACKAGES)

.PHONY: mutants
mutants: ## plant errors into the CPU engine; its test must fail with each (not part of CI)
	@tools/mutants.sh

.PHONY: oracle
oracle: build ## compare with PyTorch, transformers, math-verify and scikit-learn, live
	@tools/oracle.sh

.PHONY: oracle-update
oracle-update: build ## write the golden numbers of the oracles anew
	@tools/oracle.sh -update

.PHONY: monitor-check
monitor-check: build ## promtool over the alerts, a real Prometheus over a sweep, the dashboards against Grafana's schema
	@PATH="$$(dirname "$$(tools/get.sh prometheus)"):$$PATH" go test -count=1 -run 'Monitoring|Server_Metrics' . ./trainer
	@tools/grafana-check.sh

.PHONY: pages-check
pages-check: build ## a grid's report and pages in Chromium: axe, nothing from elsewhere, pictures (RUNS=runs/NAME)
	@tools/pages.sh $(RUNS)

.PHONY: learning
learning: build ## train three seeds with the engine in bf16 and the reference in f32, and compare (a quarter of an hour)
	@tools/prepare.sh sotu 512
	PLASTICITY_LEARNING="$$PWD/data/sotu-512" go test -count=1 -v -timeout 3h -run TestLearning ./trainer

.PHONY: bench
bench: build ## our training step against PyTorch's, interleaved (SIZES=S,1M,7M,34M,olmo2-7M BENCH='--isa avx512_bf16')
	@tools/bench.sh $(if $(SIZES),--sizes $(SIZES)) $(BENCH)

.PHONY: bench-generate
bench-generate: build ## our samples against transformers' generate, interleaved (SIZES=1M,7M BENCH='--rounds 9')
	@tools/bench.sh generate $(if $(SIZES),--sizes $(SIZES)) $(BENCH)

.PHONY: gpu-check
gpu-check: cuda build ## on a machine with a GPU: kernels, step and loss curve against the CPU, resuming
	@tools/gpu.sh check

.PHONY: gpu-bench
gpu-bench: cuda build ## on a machine with a GPU: our training step against PyTorch's, interleaved (SIZES=7M,1B)
	@tools/gpu.sh bench $(if $(SIZES),--sizes $(SIZES))
