# weft: build, prove, measure, install.  `make help` says what there is.

CC     := $(if $(filter default,$(origin CC)),cc,$(CC))
CXX    := $(if $(filter default,$(origin CXX)),c++,$(CXX))
PREFIX ?= /usr/local
SAN    ?=
CORO   ?=
WERROR ?=
TLS    ?= initial-exec
V      ?=
RUN    ?=
VERSION := 0.2.0

# ---- The house: each library, top floor first ----
#
# needs: the floors it stands on.  headers: its public ones.  offers: the private ones that floors
# above may include; all others are its own.  none: headers that need no library.  `make lint`
# holds the code and the README to this.

LIBRARIES := manager http async shm proc coro thread

manager.needs   := async shm proc coro thread
manager.headers := manager client remote remote_jobs
http.needs      := async proc coro thread
http.headers    := http http_client http_files http_parse websocket
async.needs     := proc coro thread
async.headers   := loop io file offload workers
async.offers    := address here
shm.needs       := thread
shm.headers     := shm posix_semaphore shared_sync shared_queue shared_map process pool result
proc.headers    := subprocess subprocess_map pipeline shell sink shlex
coro.headers    := coro generator tasklet channel
coro.offers     := wait
thread.headers  := thread sync queue executor
thread.offers   := forked sleep
none.headers    := deadline status weft

# Libraries, demos, tests and benchmarks are what stands in their folders; a demo has a main.cc.
libs  := $(LIBRARIES)
demos := $(patsubst src/demo/%/main.cc,%,$(wildcard src/demo/*/main.cc))
tests := $(patsubst test/%.cc,%,$(foreach l,base $(libs) twins conform demo,$(wildcard test/$l/*.cc)))
$(foreach t,$(tests),$(if $(wildcard test/$t.cc),,$(error there is no test/$t.cc)))
bench := $(patsubst test/bench/%.cc,%,$(wildcard test/bench/*.cc))

sources = $(wildcard src/$1/*.cc src/$1/*/*.cc) $(if $(CORO),,$(wildcard src/$1/*.S))
archive = $(foreach l,$1,$(if $(filter $l,$(libs)),$B/lib/libweft-$l.a))

# ---- Where output goes: one folder a configuration, so they never mix ----

comma := ,
variant := $(subst $(comma),-,$(subst address$(comma)undefined,asan,$(subst thread,tsan,$(SAN))))
variant := $(strip $(variant) $(CORO) $(if $(findstring clang,$(CXX)),clang) \
             $(if $(findstring aarch64,$(CXX)),aarch64) $(filter-out initial-exec,$(TLS)))
empty :=
B := build$(if $(variant),/$(subst $(empty) ,-,$(variant)))

# ---- Flags ----

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror)
OPTIMIZE ?= -O2 -g
SANITIZE := $(if $(SAN),-fsanitize=$(SAN))
FLAGS     = $(OPTIMIZE) $(WARNINGS) -pthread -fPIC -fno-semantic-interposition \
            -ftls-model=$(TLS) -fstack-clash-protection -Iinclude -Isrc \
            $(if $(SAN),$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
            $(if $(CORO),-DWEFT_CORO_$(shell echo $(CORO) | tr a-z A-Z)=1)
LANGUAGE := -std=c++17 -D_GNU_SOURCE -fno-exceptions -fno-rtti -fno-threadsafe-statics
COMPILE   = $(CXX) $(LANGUAGE) $(FLAGS) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP
# The C driver links: what weft builds needs libc and no C++ runtime.
# A sanitizer's functions are not to be looked up on a small stack: that takes up to 4 KiB and more.
LINK      = $(CC) -pthread $(if $(SAN),$(SANITIZE) -Wl$(comma)-z$(comma)now) $(CFLAGS) $(LDFLAGS)

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '%-8s %s\n' '$1' '$(patsubst $B/%,%,$@)')

# ---- Building ----

all: $(call archive,$(libs)) $(demos:%=$B/bin/weft-%) ## build the libraries and the demos

archives: $(call archive,$(libs)) ## build the libraries alone

demo: all ## build everything and run each demo with its defaults
	$Q set -e; for d in $(demos); do echo "== weft-$$d"; $(RUN) $B/bin/weft-$$d; done

define library
$B/lib/libweft-$1.a: $(patsubst %,$B/obj/%.o,$(basename $(call sources,$1)))
endef
$(foreach l,$(libs),$(eval $(call library,$l)))

$B/lib/%.a:
	$(call say,AR)
	@mkdir -p $(@D)
	@rm -f $@
	$Q$(AR) rcs $@ $^

$B/obj/%.o: %.cc
	$(call say,CXX)
	@mkdir -p $(@D)
	$Q$(COMPILE) -c -o $@ $<

$B/obj/%.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	$Q$(CC) $(FLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

# The assembler reads the scripts for Redis into this one.
$B/obj/src/manager/redis/scripts.o: $(wildcard src/manager/redis/*.lua)

# A demo and a benchmark may use every library, and so may the tests of demos, of twins (things of
# several libraries that are alike) and of what all keep to; any other only its own and what that stands on.
define demo_rule
$B/bin/weft-$1: $(patsubst %.cc,$B/obj/%.o,$(wildcard src/demo/*.cc src/demo/$1/*.cc)) $(call archive,$(libs))
endef
$(foreach d,$(demos),$(eval $(call demo_rule,$d)))

$B/bin/%:
	$(call say,LINK)
	@mkdir -p $(@D)
	$Q$(LINK) -o $@ $^ $(LDLIBS)

CMOCKA := -lcmocka
library_of = $(filter $(libs),$(firstword $(subst /, ,$1)))
define test_rule
$B/test/$1: $B/obj/test/$1.o \
  $(call archive,$(if $(filter demo/% twins/% conform/%,$1),$(libs),$(call library_of,$1) $($(call library_of,$1).needs)))
endef
$(foreach t,$(tests),$(eval $(call test_rule,$t)))

$B/test/%:
	$(call say,LINK)
	@mkdir -p $(@D)
	$Q$(LINK) -o $@ $^ $(CMOCKA) $(LDLIBS)

# Every call whose first parameter is a handle or an object, for the test that gives it NULL.
$B/calls.h: $(wildcard include/weft/*.h) test/lint/prototypes
	@mkdir -p $(@D)
	@cat $(filter %.h,$^) | test/lint/prototypes header | sed -nE \
	  '/\((const )?weft_[a-z_]*(_options|_result|_information) /d; s/^[^(]*(weft_[a-z0-9_]+)\((const )?weft_[a-z_]+ \*[^*].*/ASK(\1)/p' >$@
$B/obj/test/conform/null.o: CPPFLAGS += -I$B
$B/obj/test/conform/null.o: $B/calls.h

# The one test that throws: coroutines keep C++ exceptions apart.
$B/obj/test/coro/kept.o: LANGUAGE += -fexceptions
$B/test/coro/kept: LDLIBS += -lstdc++ -lm

.SECONDARY:
-include $(shell find $B/obj -name '*.d' 2>/dev/null)

# ---- Proving ----

check: unit ## run every test (SAN=address,undefined  SAN=thread  CORO=ucontext)
	$Q$(MAKE) --no-print-directory check-installed check-examples
	@echo "check: all tests passed"

# Tests are built and run on all processors, also without -j: many of them sleep most of the time.
JOBS    ?= $(shell nproc)
MAKE_ALL = $Q$(MAKE) --no-print-directory -Otarget $(if $(filter -j%,$(MAKEFLAGS)),,-j$1)
# Tests wait more than they compute.
TEST_JOBS ?= $(shell expr 2 \* $(JOBS))

unit: built ## run the unit tests alone (tests="thread/queue demo/pool" for some)
	$(call MAKE_ALL,$(TEST_JOBS)) $(tests:%=run/%)

built:
	$(call MAKE_ALL,$(JOBS)) $(if $(filter demo/%,$(tests)),all) $(tests:%=$B/test/%)

# The coroutine tests on another processor: a cross compiler, qemu and a small stand-in for cmocka.
# Not coro/scope: qemu-user 7.2 has no SIGEV_THREAD_ID for the watchdog.
check-aarch64: ## run the coroutine tests for aarch64 under qemu-user
	$Q$(MAKE) --no-print-directory unit CMOCKA= CPPFLAGS=-Itest/aarch64 libs=coro \
	  tests='$(filter-out coro/tools coro/scope,$(filter coro/%,$(tests)))' \
	  CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ AR=aarch64-linux-gnu-ar \
	  RUN='qemu-aarch64 -L /usr/aarch64-linux-gnu'

# The demos' tests run the demos.  glibc fills fresh and freed memory, so that what reads more than
# was written fails here and not one day elsewhere.
$(filter run/demo/%,$(tests:%=run/%)): all
run/%: $B/test/%
	@echo "== $*"
	$Q MALLOC_PERTURB_=137 WEFT_BIN=$(abspath $B)/bin $(RUN) $<

check-newest: ## run every test on Debian sid, in a chroot (root and network; else it is skipped)
	$Q test/newest $B

check-installed: all
	$Q CC='$(CC)' CXX='$(CXX)' RUN='$(RUN)' MAKE='$(MAKE)' test/link/installed $B $(SANITIZE)

check-examples: check-installed
	$Q CC='$(CC)' RUN='$(RUN)' test/man/examples $B $(SANITIZE)

lint: all ## check format, clang-tidy, man pages, symbols and headers (LINT="format pages" for some)
	$Q CC='$(CC)' test/lint/all $B

torture: all ## kill participants at every instruction and system call, and in storms
	$Q set -e; for t in $(wildcard test/torture/run); do $$t $B; done

random := manager/beside_redis manager/beside_waiting manager/beside_pubsub manager/wild

soak: ## echo with rough clients for 5 minutes, 1,000 reloads, 1,000 killed masters, 100,000 jobs (SOAK_SECONDS=300), commands nobody has tried
	$Q for i in $$(seq $(or $(SOAK_RUNS),20)); do \
	  WEFT_SEED=clock $(MAKE) --no-print-directory unit tests='$(random)' || exit 1; done
	$Q SOAK_SECONDS=$(or $(SOAK_SECONDS),300) SOAK_RELOADS=1000 SOAK_KILLS=1000 RUNNER_SECONDS=3600 \
	  JOBS_SECONDS=$(or $(SOAK_SECONDS),600) JOBS_MANY=100000 \
	  $(MAKE) --no-print-directory unit SAN=address,undefined tests='async/soak_rough async/workers_storm manager/jobs_storm'

fuzz: all ## fuzz the parsers (libFuzzer, clang)
	$Q set -e; for t in $(wildcard test/fuzz/run); do $$t $B; done

bench: $(patsubst %,$B/bench/%,$(or $(ONLY),$(bench))) ## measure weft beside its peers (ONLY=name for one)
	$Q set -e; for b in $(or $(ONLY),$(bench)); do echo "== $$b"; $B/bench/$$b; done

# Benchmarks are ordinary C++, for the peers' sake; a peer that is missing is left out.
# Peers without pkg-config are linked when they are there, and only into who uses them.
bench_libs  = $(foreach l,boost_context st pth http_parser llhttp,$(if $(wildcard /usr/lib/lib$l.so /usr/lib/*/lib$l.so),-l$l))
bench_peers = $(shell for p in glib-2.0 tbb libuv libevent; do pkg-config --exists $$p 2>/dev/null && pkg-config $2 $$p; done)
$B/bench/%: test/bench/%.cc $(wildcard test/bench/*.h) $(call archive,$(libs))
	$(call say,CXX)
	@mkdir -p $(@D)
	$Q$(CXX) -std=c++20 -O2 -g -pthread -Iinclude -Isrc -D_GNU_SOURCE $(bench_libs:-l%=-DHAVE_LIB_%) \
	  $(CPPFLAGS) $(call bench_peers,,--cflags) -o $@ $< \
	  $(call archive,$(libs)) -Wl,--as-needed $(call bench_peers,,--libs) $(bench_libs) $(LDLIBS)

# ---- Packages ----

deps: ## install what the tests need: cmocka, mandoc, pkg-config
	$Q test/packages tests

bench-deps: ## install the peers that `make bench` measures
	$Q test/packages bench

check built bench: | $(filter deps bench-deps,$(MAKECMDGOALS))
built: | $(filter all,$(MAKECMDGOALS))
$(tests:%=$B/obj/test/%.o) $(bench:%=$B/bench/%): | $(filter deps bench-deps,$(MAKECMDGOALS))

# ---- Installing: one list says what is installed and what is removed ----

space := $(empty) $(empty)
pc     = $(foreach l,$(libs),$l:$(subst $(space),$(comma),$(strip $(filter $(libs),$($l.needs)))))

install: all ## install below PREFIX (DESTDIR for staging)
	$Q test/install put $B '$(DESTDIR)' '$(PREFIX)' $(VERSION) $(pc)

uninstall: ## remove exactly what install put there
	$Q test/install remove $B '$(DESTDIR)' '$(PREFIX)' $(VERSION) $(pc)

# ---- The rest ----

clean: ## remove build/
	rm -rf build

help: ## list the targets and variables
	@awk -F ': .*## |:.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile
	@printf '%s\n' '' \
	  '  CC, CXX       the compilers (a C driver links; only CXX compiles)' \
	  '  SAN           a sanitizer build in a folder of its own: address,undefined or thread' \
	  '  CORO          ucontext: the portable coroutine backend' \
	  '  TLS           global-dynamic: for shared objects that are loaded at run time (weft(7), Linking)' \
	  '  PREFIX        where install goes (/usr/local);  DESTDIR: a staging folder before it' \
	  '  WERROR=1      warnings are errors;  V=1: print the commands'

.PHONY: all archives demo check unit built check-installed check-examples check-aarch64 lint torture soak fuzz bench deps bench-deps install uninstall clean help
