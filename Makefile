# Front of the Meson build. `make help` lists what there is.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
MESON_FLAGS ?=

.PHONY: all demo check check-slow bench fuzz format install deps images clean help

all: deps-build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)
	@meson compile -C $(BUILD)

# Each group is looked at first; packages are installed only where one is missing.
.PHONY: deps-build deps-check deps-bench
deps-build:
	@scripts/deps build
deps-check:
	@scripts/deps build check
deps-bench:
	@scripts/deps build check bench

demo: deps-check all
	@scripts/demo $(BUILD)

check: deps-check all
	@scripts/run-checks $(BUILD) quick

check-slow: deps-check all
	@scripts/run-checks $(BUILD) slow

# Pairs of runs for each row of the tables of disk images.
IMG_RUNS ?= 3
bench: deps-bench all
	@bench/run $(BUILD)
	@bench/rpc $(BUILD)
	@bench/img $(BUILD) --runs $(IMG_RUNS)
	@bench/nbd $(BUILD) --runs $(IMG_RUNS)
	@$(BUILD)/bench/throttle

# FUZZ_SECONDS for each target; FUZZ_TARGETS to choose.
FUZZ_SECONDS ?= 600
fuzz: deps-check
	@scripts/run-fuzz $(FUZZ_SECONDS) $(FUZZ_TARGETS)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@meson compile -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	@rm -rf $(BUILD) build-*

help:
	@echo 'make             build; the programs are in $(BUILD)/bin'
	@echo 'make demo        boot a Debian guest and show it'
	@echo 'make check       all quick tests; the last line counts them'
	@echo 'make check-slow  the long ones: sanitizers, many boots, nested KVM, 10^8 random cases'
	@echo 'make bench       speed beside QEMU and libvirtd, as ratios'
	@echo 'make fuzz        every fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS)) seconds'
	@echo 'make format      clang-format on all sources'
	@echo 'make install     to DESTDIR/PREFIX ($(PREFIX))'
