# Targets for people and CI; the build rules are in ../Makefile.

TIME ?= 60
# What is compiled in the course of a larger target uses all cores, unless -j says something else.
ALL_CORES = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
BUILD_IN = $(MAKE) --no-print-directory $(ALL_CORES)
export PREFIX DESTDIR

# ---- set-up ------------------------------------------------------------------------------------
.PHONY: deps deps-test deps-check
deps: ## install the Debian packages that a build needs
	$(Q)tools/deps.sh build

deps-test: ## the same for the tests, and their npm packages
	$(Q)tools/deps.sh test
	$(Q)$(MAKE) --no-print-directory tests/node_modules/.package-lock.json

deps-check: deps-test ## the same for `make check`
	$(Q)tools/deps.sh check

tests/node_modules/.package-lock.json: tests/package-lock.json
	cd tests && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# A bare machine has no pkg-config when make reads the Makefile, so what follows an installation
# runs in a make of its own.

.PHONY: run run-says test-says
run-says:
	@[ -x build/luafn ] || echo "The first time this installs packages and builds: two or three minutes on two cores."
test-says:
	@echo "Builds, then runs some 4,000 tests: about six minutes on two cores; the first time packages come before."

run: run-says deps ## install what is missing, build, start `luafn dev` on http://localhost:8888/
	$(Q)+$(BUILD_IN) build/luafn
	$(Q)exec build/luafn dev $(ARGS)

# ---- tests -------------------------------------------------------------------------------------
.PHONY: test unit unit-programs wire idp examples e2e
test: test-says deps-test ## every tier that needs no browser; ends with `N passed, N failed`
	$(Q)+$(BUILD_IN) build/luafn unit-programs
	$(Q)UNIT_BIN="$(UNIT_BIN)" tools/test.sh unit lua wire idp

unit-programs: $(UNIT_BIN)

unit: $(if $(T),$(OUT)/tests/unit/$(T)_test,$(UNIT_BIN)) ## C unit tests; T=http_parser runs one file
	$(Q)UNIT_BIN="$^" tools/test.sh unit

wire: $(OUT)/luafn tests/node_modules/.package-lock.json ## black-box tests over HTTP; T=http runs one file
	$(Q)LUAFN_BIN=$(OUT)/luafn ONLY="$(T)" tools/test.sh wire

idp: $(OUT)/luafn tests/node_modules/.package-lock.json ## against real OpenID providers; T=oidc runs one file
	$(Q)LUAFN_BIN=$(OUT)/luafn ONLY="$(T)" tools/test.sh idp

# The front ends of examples/ that T means, out of all.
EXAMPLES := auth0-react gatsby
examples: ## build the front ends of examples/, for e2e; says so where npm is out of reach
	$(Q)tools/examples.sh $(foreach n,$(EXAMPLES),$(if $(T),$(if $(findstring $(T),$(n)),$(n)),$(n)))

e2e: $(OUT)/luafn tests/node_modules/.package-lock.json examples ## pages in headless Chromium; T=demo runs one file
	$(Q)LUAFN_BIN=$(OUT)/luafn ONLY="$(T)" tools/test.sh e2e

.PHONY: fleet
fleet: $(OUT)/luafn tests/node_modules/.package-lock.json ## four hosts in namespaces behind HAProxy, with Redis and Sentinel; not part of check
	$(Q)LUAFN_BIN=$(OUT)/luafn ONLY="$(T)" tools/test.sh fleet

N ?= 10
.PHONY: flake
flake: $(OUT)/luafn tests/node_modules/.package-lock.json ## test files again and again beside a load; T=http N=50
	$(Q)LUAFN_BIN=$(OUT)/luafn tools/flake.sh "$(T)" "$(N)"

# ---- checks ------------------------------------------------------------------------------------
.PHONY: check asan valgrind cov
# What fails fast comes first.
# DONE: what has just run, and passed, on this tree.
CHECKS := $(filter-out $(DONE),format-check lint test fuzz-regress e2e fault-sample soak-short asan valgrind bench-guard)
check: deps-check ## all that CI runs: format, lint, test, fuzz regressions, browser tests, faults, sanitizers, valgrind, counted instructions
	$(Q)for step in $(CHECKS); do \
	    begun=$$(date +%s); echo "### $$step"; \
	    $(MAKE) --no-print-directory $$step || { echo "### $$step failed"; exit 1; }; \
	    took="$$took$$step $$(($$(date +%s) - begun)) s, "; \
	done; echo "### $${took}no faults"

asan: ## unit and wire tests under AddressSanitizer and UBSan
	$(Q)+$(BUILD_IN) BUILD=asan unit-programs build/asan/luafn
	$(Q)UNIT_BIN="$(UNIT_C:%.c=build/asan/%)" LUAFN_BIN=build/asan/luafn LUAFN_SLOW=4 \
	    CONCURRENCY=$(or $(CONCURRENCY),2) tools/test.sh unit wire

# Calls of the C library fail, one after the other: tests/fault/. The debug build, where each small
# block is an allocation of its own.
build/fault/shim.so: tests/fault/shim.c tests/fault/crash.c tests/fault/shim.h
build/fault/shim-calls.so: tests/fault/shim.c tests/fault/shim.h
build/fault/shim.so build/fault/shim-calls.so:
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE $(if $(findstring calls,$@),-DFAULT_CALLS_ONLY) $(WARN) -O1 -g -fPIC -shared -o $@ $(filter %.c,$^)

.PHONY: fault fault-sample
fault: build/fault/shim.so tests/node_modules/.package-lock.json ## every allocation and call of a request fails once; T=memory runs one file
	$(Q)+$(BUILD_IN) BUILD=debug build/debug/luafn
	$(Q)LUAFN_BIN=build/debug/luafn FAULT_LONG=1 TEST_TIMEOUT=7200000 ONLY="$(T)" tools/test.sh fault
	$(Q)$(MAKE) --no-print-directory BUILD=asan build/asan/luafn build/fault/shim-calls.so
	$(Q)LUAFN_BIN=build/asan/luafn LUAFN_SLOW=4 ONLY="$(T)" tools/test.sh fault

fault-sample: build/fault/shim.so tests/node_modules/.package-lock.json
	$(Q)+$(BUILD_IN) BUILD=debug build/debug/luafn
	$(Q)LUAFN_BIN=build/debug/luafn ONLY="$(T)" tools/test.sh fault

VALGRIND := valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible \
            --errors-for-leak-kinds=definite --trace-children=yes
valgrind: ## unit tests, and a part of the wire tests, under valgrind
	$(Q)+$(BUILD_IN) BUILD=debug unit-programs build/debug/luafn
	$(Q)UNIT_BIN="$(UNIT_C:%.c=build/debug/%)" WRAP="$(VALGRIND)" LUAFN_SLOW=20 tools/test.sh unit
	$(Q)LUAFN_BIN=build/debug/luafn LUAFN_WRAP="$(VALGRIND)" LUAFN_SLOW=20 ONLY=functions \
	    tools/test.sh wire

$(OUT)/bench/micro: bench/micro.c $(OUT)/libluafn.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(OUT)/libluafn.a $(LIBS)

$(OUT)/bench/parts: bench/parts.c $(OUT)/libluafn.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -iquote tests/unit $(ALL_LDFLAGS) -o $@ $< $(OUT)/libluafn.a $(LIBS) -lcmocka

NODE = $$(ls tests/node_modules/node-linux-*/bin/node 2>/dev/null || echo node)
.PHONY: bench-guard bench-guard-update
bench-guard bench-guard-update: build/luafn $(OUT)/bench/parts tests/node_modules/.package-lock.json
bench-guard: ## fail where the counted instructions of a request or its parts have grown by 3 %, or an option costs too much
	$(Q)if command -v valgrind >/dev/null; then CC="$(CC)" $(NODE) bench/guard.mjs; \
	    else echo "bench-guard skipped: valgrind is not installed"; fi

bench-guard-update: ## write bench/counts.json anew
	$(Q)CC="$(CC)" $(NODE) bench/guard.mjs --update

.PHONY: bench-micro
bench-micro: $(OUT)/bench/micro ## what a function's state costs, and its limits; ARGS="scripts/me.lua 500"
	$(Q)$< $(ARGS)

$(OUT)/bench/store: bench/store.c $(OUT)/libluafn.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(OUT)/libluafn.a $(LIBS)

.PHONY: bench-store
bench-store: $(OUT)/bench/store ## the store on a server over hiredis alone, for the same commands
	$(Q)dir=$$(mktemp -d) && { bash -c "exec -a redis-server redis-check-rdb --bind 127.0.0.1 --port 16399 --save '' >$$dir/log" & } && \
	    pid=$$! && { until grep -q Ready $$dir/log 2>/dev/null; do kill -0 $$pid || exit 1; sleep 0.1; done; } && \
	    { $< redis://127.0.0.1:16399; status=$$?; kill $$pid; rm -rf $$dir; exit $$status; }

$(OUT)/bench/lambda_floor: bench/lambda_floor.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(WARN) -O2 -o $@ $< $(shell pkg-config --cflags --libs libcurl)

.PHONY: bench-lambda
bench-lambda: build/luafn $(OUT)/bench/lambda_floor tests/node_modules/.package-lock.json ## what `luafn lambda` costs at its start and a call, over the bare loop of a runtime
	$(Q)FLOOR_BIN=$(CURDIR)/$(OUT)/bench/lambda_floor $(NODE) bench/lambda.mjs

.PHONY: bench-sql
bench-sql: ## a query by key beside Node with pg, and hello beside 64 slow queries; ARGS="--rounds 5 --seconds 3"
	$(Q)tools/deps.sh bench
	$(Q)$(MAKE) --no-print-directory build/luafn tests/node_modules/.package-lock.json
	$(Q)$(NODE) bench/sql.mjs $(ARGS)

# ---- long drills; their short forms are among the wire tests ---------------------------------------
.PHONY: abuse-mix reload-drill replay-drill deploy-drill queue-drill schedule-drill slow-drill soak soak-short
DRILL = LUAFN_BIN=$(OUT)/luafn $$(ls tests/node_modules/node-linux-*/bin/node 2>/dev/null || echo node) tools/drills.mjs
abuse-mix: $(OUT)/luafn tests/node_modules/.package-lock.json ## 10,000 requests, every abuse among them; BUILD=asan ARGS="--requests 10000"
	$(Q)$(DRILL) mix $(ARGS)

reload-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 1,000 renames under load, 10,000 reloads
	$(Q)$(DRILL) renames
	$(Q)$(DRILL) reloads

replay-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 1,000 recorded requests of every kind run again in other processes, and with a line changed; ARGS="--requests 200"
	$(Q)$(DRILL) replay $(ARGS)

deploy-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 64 clients through killed and stopped workers, reloads, broken files, upgrades and the end; ARGS="--minutes 10"
	$(Q)$(DRILL) deploy $(ARGS)

queue-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 10,000 jobs over 100 kills of workers, supervisors and the store's server; ARGS="--rate 0"
	$(Q)$(DRILL) queue $(ARGS)
schedule-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 10 minutes of a schedule and a background function each second; ARGS="--minutes 2"
	$(Q)$(DRILL) schedule $(ARGS)

slow-drill: $(OUT)/luafn tests/node_modules/.package-lock.json ## 1,000 slow connections beside one that behaves; 10,000 that wait
	$(Q)tools/deps.sh drill
	$(Q)$(DRILL) slow $(ARGS)
	$(Q)$(DRILL) idle

soak: $(OUT)/luafn tests/node_modules/.package-lock.json ## 20 minutes of all abuses beside honest traffic; ARGS="--minutes 5"
	$(Q)nice env $(DRILL) soak $(ARGS)

soak-short: $(OUT)/luafn tests/node_modules/.package-lock.json
	$(Q)LUAFN_BIN=$(OUT)/luafn tools/test.sh soak

cov: build/fault/shim.so ## coverage of unit and wire tests and a sample of faults, as a table
	$(Q)tools/deps.sh cov
	$(Q)+$(BUILD_IN) BUILD=cov unit-programs build/cov/luafn
	$(Q)UNIT_BIN="$(UNIT_C:%.c=build/cov/%)" LUAFN_BIN=build/cov/luafn LUAFN_SLOW=3 tools/test.sh unit wire
	$(Q)for part in memory syscalls; do LUAFN_BIN=build/cov/luafn LUAFN_SLOW=3 ONLY=$$part tools/test.sh fault || exit 1; done
	$(Q)gcovr --root . --object-directory build/cov --filter host/ --filter bindings/ --print-summary

# ---- Netlify: its answers, recorded as data that `make wire` replays ------------------------------
.PHONY: netlify-diff
netlify-diff: ## install netlify-cli (350 MB, build/netlify) and record its answers anew
	$(Q)mkdir -p build/netlify
	$(Q)cd build/netlify && { [ -f package.json ] || echo '{"private":true}' >package.json; } && \
	    npm install --ignore-scripts --no-audit --no-fund netlify-cli@27.10.2 netlify-redirector@0.5.0
	$(Q)$(NODE) tests/netlify/record.mjs build/netlify tests/data/netlify.json
	$(Q)git diff --stat -- tests/data/netlify.json
	$(Q)+$(MAKE) --no-print-directory wire T=netlify.test

# ---- fuzzing: tests/fuzz/NAME_fuzz.c, inputs in tests/fuzz/corpus/NAME/ ----------------------------
FUZZ_C := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_BIN := $(FUZZ_C:%.c=build/fuzz/%)

.PHONY: fuzz fuzz-regress fuzz-programs
ifeq ($(BUILD),fuzz)
$(OUT)/tests/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(OUT)/libluafn.a
	@mkdir -p $(@D)
	@echo "  FUZZ  $@"
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer $(ALL_LDFLAGS) -o $@ $< $(OUT)/libluafn.a $(LIBS)
fuzz-programs: $(FUZZ_BIN)
else
fuzz-programs:
	$(Q)+$(BUILD_IN) BUILD=fuzz fuzz-programs
endif

fuzz: fuzz-programs ## fuzz one target; T=token TIME=60
	@test -n "$(T)" || { echo "make fuzz T=NAME, one of: $(patsubst tests/fuzz/%_fuzz.c,%,$(FUZZ_C))"; exit 2; }
	@mkdir -p build/fuzz/corpus/$(T) tests/fuzz/corpus/$(T)
	build/fuzz/tests/fuzz/$(T)_fuzz -max_total_time=$(TIME) -timeout=5 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/ build/fuzz/corpus/$(T) tests/fuzz/corpus/$(T)

fuzz-regress: fuzz-programs ## replay every fuzz input that is kept
	$(Q)for p in $(FUZZ_BIN); do \
	    n=$$(basename $$p _fuzz); d=tests/fuzz/corpus/$$n; \
	    echo "# fuzz $$n: $$(ls $$d 2>/dev/null | wc -l) inputs"; \
	    if [ -d $$d ]; then $$p -runs=0 -timeout=10 $$d; else $$p -runs=2000 -seed=1; fi >build/fuzz/log 2>&1 \
	        || { tail -40 build/fuzz/log; exit 1; }; \
	done

# ---- style -------------------------------------------------------------------------------------
C_FILES = $(shell git ls-files '*.c' '*.h')

.PHONY: format format-check lint compile_commands
format: ## lay out every C file
	clang-format -i $(C_FILES)

format-check: ## fail where `make format` would change something
	$(Q)if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(C_FILES); \
	    else echo "format-check skipped: clang-format is not installed"; fi

lint: build/compile_commands.json build/luafn ## clang-tidy, cppcheck, the arrows between folders, luacheck, shell syntax
	$(Q)SRC="$(SRC_C)" tools/lint.sh

compile_commands: build/compile_commands.json ## for editors and clangd
comma := ,
space := $() $()
entry = {"directory":"$(CURDIR)","file":"$(1)","command":"$(subst ",\",$(CC) $(BASE) $(WARN)) -c $(1)"}
build/compile_commands.json: Makefile tools/targets.mk $(SRC_C)
	@$(shell mkdir -p build)$(file >$@,[$(subst }$(space){,}$(comma){,$(foreach f,$(SRC_C),$(call entry,$f)))])

# ---- the rest ----------------------------------------------------------------------------------
.PHONY: pictures fresh stopwatch bench docs install deb deb-check clean help
docs: ## make docs/api.md and docs/luafn.lua from docs/api.lua
	lua5.4 tools/docs.lua

pictures: build/luafn tests/node_modules/.package-lock.json ## make docs/pictures/ anew, with headless Chromium
	$(Q)LUAFN_BIN=build/luafn $(NODE) tools/pictures.mjs

fresh: ## prove `make test` and `make run` in a bare Debian 12 (root, debootstrap)
	tools/fresh.sh

.PHONY: perf
perf: build/luafn tests/node_modules/.package-lock.json ## the wire tests that measure, judged by the clock; on an idle machine
	$(Q)for file in $$(grep -l PERF tests/wire/*.test.mjs); do \
	    LUAFN_PERF=1 ONLY=$$(basename $$file) tools/test.sh wire || exit 1; done

build/%/node_modules/.package-lock.json: tests/%/package-lock.json
	@mkdir -p build/$*
	$(Q)cp tests/$*/package.json tests/$*/package-lock.json build/$*
	cd build/$* && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: conformance
conformance: build/luafn build/conformance/node_modules/.package-lock.json tests/node_modules/.package-lock.json ## the suite of the Model Context Protocol against tools
	$(Q)$(NODE) tests/conformance/run.mjs build/luafn build/conformance

.PHONY: manifests
manifests: build/manifests/node_modules/.package-lock.json tests/node_modules/.package-lock.json ## deploy/ for Kubernetes, Knative and Nomad against published schemas (55 MB of npm packages)
	$(Q)$(NODE) tests/manifests/run.mjs build/manifests

.PHONY: walk
walk: ## time a stranger's ten minutes in a bare Debian 12: install, write, protect, break, deploy (root, debootstrap)
	tools/fresh.sh walk

stopwatch: tests/node_modules/.package-lock.json ## how long the README's first steps take, from `git clone`
	$(Q)$(NODE) tools/stopwatch.mjs

bench: ## one worker against its peers, on one core; CASE="me new" PEER="luafn floor" ARGS="--rounds 1 --seconds 1"
	$(Q)tools/deps.sh bench
	$(Q)$(MAKE) --no-print-directory build/luafn tests/node_modules/.package-lock.json
	$(Q)$(NODE) bench/run.mjs $(if $(CASE)$(PEER),--only cases) $(foreach c,$(CASE),--case $(c)) $(foreach p,$(PEER),--peer $(p)) $(ARGS)

install: build/luafn ## PREFIX=/usr/local DESTDIR=: program, man page, Lua stubs, systemd units, dashboard
	install -Dm755 build/luafn $(DESTDIR)$(PREFIX)/bin/luafn
	$(Q)if [ -f docs/luafn.1 ]; then install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man1 docs/luafn.1; fi
	$(Q)if [ -f docs/luafn.lua ]; then install -Dm644 -t $(DESTDIR)$(PREFIX)/share/luafn docs/luafn.lua; fi
	$(Q)install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(Q)for unit in luafn.service luafn.socket; do \
	    sed 's|/usr/local|$(PREFIX)|g' deploy/$$unit >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit; done
	$(Q)install -Dm644 -t $(DESTDIR)$(PREFIX)/share/luafn deploy/grafana-dashboard.json

deb: build/luafn ## build/luafn_VERSION_ARCH.deb: what `make install` installs, with the systemd unit
	$(Q)PREFIX=/usr DESTDIR= tools/deb.sh build

deb-check: deb ## lintian over the package, and its life in a bare Debian 12: install, new, serve, pack, purge (root, debootstrap)
	$(Q)tools/deps.sh deb
	$(Q)lintian --allow-root --fail-on error,warning build/luafn_*.deb
	$(Q)tools/fresh.sh deb

clean: ## remove everything that was built
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/\1\t\2/p' Makefile tools/targets.mk | \
	    awk -F '\t' '{ printf "make %-17s %s\n", $$1, $$2 }'
	@echo 'BUILD=release|debug|asan|tsan|cov|fuzz picks the flavour, V=1 shows commands.'
