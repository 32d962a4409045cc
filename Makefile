# Front of the Meson build. `make help` lists what there is.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
MESON_FLAGS ?=

.PHONY: all everything demo check check-slow bench fuzz format install uninstall clean help

all: deps-build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)
	@ninja -C $(BUILD) programs

# The tests and benchmarks too.
everything: all
	@ninja -C $(BUILD)

# Each group is looked at first; packages are installed only where one is missing.
.PHONY: deps-build deps-demo deps-check deps-bench
deps-build:
	@scripts/deps build
deps-demo:
	@scripts/deps build demo
deps-check:
	@scripts/deps build check
deps-bench:
	@scripts/deps build check bench

demo: deps-demo all
	@scripts/demo $(BUILD)

check: deps-check everything
	@scripts/run-checks $(BUILD) quick

check-slow: deps-check everything
	@scripts/run-checks $(BUILD) slow

# Pairs of runs for each row of the tables of disk images.
IMG_RUNS ?= 3
bench: deps-bench everything
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
	@ninja -C $(BUILD) programs
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
	@grep -v '^#' $(BUILD)/meson-logs/install-log.txt >>$(BUILD)/installed
# By sudo, the next `make` is still to be its user's: the build folder goes to whom the clone belongs.
	@[ "$$(id -u)" != 0 ] || chown -Rh --reference=Makefile $(BUILD)

# What any `make install` from this build folder wrote, and the folders made for it.
uninstall:
	@scripts/uninstall $(BUILD)

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
	@echo 'make uninstall   remove what it wrote'
