# The workbench. `make help` lists what there is; each target is one command that also works alone.
BUILD ?= build
JOBS  ?= $(shell nproc)
COMPONENT ?=
# How many times slower this machine is than one that time limits were made on; test.sh asks tools/slower.
KNARR_SLOWER ?= 1

# Two makes at once in one folder, as two terminals or two suites of test.sh start them: the second waits.
alone = mkdir -p $(1) && flock $(1)

.DEFAULT_GOAL := build
.PHONY: help build check unit clang asan tsan fuzz bench gen gen-check tidy lint layers size clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

build: ## both programs, tests and benchmarks in build/
	@$(call alone,$(BUILD)) tools/setup $(BUILD) $(MESON_ARGS)
	@$(call alone,$(BUILD)) ninja -C $(BUILD) -j $(JOBS) --quiet

unit: build ## unit tests and corpus replays (COMPONENT=name for one)
	@meson test -C $(BUILD) --no-rebuild -q --print-errorlogs -t $(KNARR_SLOWER) $(COMPONENT)

check: build lint layers gen-check unit ## what every commit must pass (3 minutes at most)

clang: ## a second compiler's opinion: everything built with clang, warnings are errors
	@$(call alone,build-clang) env CC=clang-14 tools/setup build-clang -Dbench=false
	@$(call alone,build-clang) ninja -C build-clang -j $(JOBS) --quiet

asan: ## unit tests and replays under AddressSanitizer and UndefinedBehaviorSanitizer, arenas as single allocations
	@$(call alone,build-asan) tools/setup build-asan -Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Db_lundef=false -Darena=malloc -Dbench=false
	@$(call alone,build-asan) ninja -C build-asan -j $(JOBS) --quiet
	@meson test -C build-asan --no-rebuild -q --print-errorlogs -t $$((4 * $(KNARR_SLOWER))) $(COMPONENT)

tsan: ## unit tests of the threaded parts under ThreadSanitizer
	@$(call alone,build-tsan) tools/setup build-tsan -Db_sanitize=thread -Dbuildtype=debugoptimized -Db_lundef=false -Db_pie=true -Dbench=false
	@$(call alone,build-tsan) ninja -C build-tsan -j $(JOBS) --quiet
	@meson test -C build-tsan --no-rebuild -q --print-errorlogs -t $$((6 * $(KNARR_SLOWER))) --no-suite replay $(COMPONENT)

fuzz: ## run every fuzz target for SECONDS_EACH (900) seconds; new inputs go to tests/corpus/
	@tools/fuzz $(COMPONENT)

bench: build ## every program of bench/, results as text
	@tools/bench $(COMPONENT)

gen: ## regenerate what is committed in generated form
	@tools/gen/run

gen-check: ## fail if regenerating would change a committed file
	@tools/gen/run --check

tidy: build ## clang-tidy over the sources
	@tools/tidy $(COMPONENT)

lint: ## banned calls, cppcheck, shell syntax, file sizes
	@tools/lint

layers: build ## src/LAYERS against the includes and the symbols
	@tools/layers $(BUILD)

size: build ## start time, loaded objects and private memory of each applet, with bounds
	@tools/size $(BUILD)

clean: ## remove the build folders
	@rm -rf build build-clang build-asan build-tsan build-fuzz
