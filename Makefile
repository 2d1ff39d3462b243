# SPDX-License-Identifier: Apache-2.0
# zkfs - mount a ZooKeeper tree
#
# make [all]                 build $(BUILD)/zkfs
# make check                 every test        TESTS="write expiry unit"  FILTER=regex  JOBS=2
# make soak                  the long tests    TESTS=...
# make check SAN=address,undefined             the same, sanitised (or SAN=thread)
# make lint                  warnings as errors, clang-tidy, formats, shell scripts, man pages
# make demo                  the queue of docs/protocol.md happening live
# make install, uninstall    PREFIX=/usr/local DESTDIR=
# make format, clean
# make packages              what all of this needs, through apt-get; each target does its own part of it by
#                            itself; PACKAGES=no leaves it alone

VERSION = 0.1.0

PREFIX = /usr/local
BINDIR = $(PREFIX)/bin
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DATADIR = $(PREFIX)/share/zkfs
DESTDIR =

CC = gcc
CFLAGS = -O2 -g
WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
ifneq ($(WERROR)$(CI),)
WARNINGS += -Werror
endif

comma := ,
ifeq ($(SAN),)
BUILD = build
else
BUILD = build-$(subst $(comma),-,$(SAN))
SAN_FLAGS = -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif

# Layers 0 and 1 of docs/architecture.md, and opts.c: the unit tests link them alone.
UNIT_SRCS = zkfs/attr.c zkfs/log.c zkfs/mirror.c zkfs/name.c zkfs/opts.c zkfs/stats.c zkfs/tags.c
SRCS = $(UNIT_SRCS) zkfs/addwatch.c zkfs/commit.c zkfs/ctl.c zkfs/inject.c zkfs/load.c zkfs/main.c zkfs/ops.c \
	zkfs/ops_attr.c zkfs/ops_dir.c zkfs/ops_file.c zkfs/ops_open.c zkfs/resync.c zkfs/session.c \
	zkfs/session_calls.c zkfs/session_chroot.c zkfs/session_conf.c zkfs/session_conn.c \
	zkfs/session_wire.c zkfs/watch.c
UNIT_TESTS = $(wildcard tests/unit/test_*.c)

OBJS = $(SRCS:%.c=$(BUILD)/obj/%.o)
UNIT_OBJS = $(UNIT_SRCS:%.c=$(BUILD)/obj/%.o)
UNIT_BINS = $(UNIT_TESTS:tests/unit/%.c=$(BUILD)/unit/%)

# Not ':=': pkg-config may not be there before the packages are.
ALL_CPPFLAGS = -D_GNU_SOURCE -DZKFS_VERSION='"$(VERSION)"' -Izkfs -isystem /usr/include/zookeeper \
	$(shell pkg-config --cflags fuse3) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu17 -pthread $(WARNINGS) $(SAN_FLAGS) $(CFLAGS)
# The wrapped functions are inside of libzookeeper, hence the static library: see zkfs/addwatch.c.
ALL_LDFLAGS = -pthread $(SAN_FLAGS) $(CFLAGS) \
	-Wl,--wrap=serialize_RequestHeader -Wl,--wrap=collectWatchers -Wl,--wrap=setsockopt $(LDFLAGS)
LIBS = -Wl,-Bstatic -lzookeeper_mt -Wl,-Bdynamic $(shell pkg-config --libs fuse3) -lpthread -lm $(LDLIBS)

.PHONY: all check soak lint demo install uninstall clean format packages FORCE
.DELETE_ON_ERROR:
# No built-in rules.
MAKEFLAGS += -r

all: $(BUILD)/zkfs

$(BUILD)/zkfs: $(OBJS) $(BUILD)/flags
	$(CC) $(ALL_LDFLAGS) -o $@ $(OBJS) $(LIBS)

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_OBJS) $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) -pthread $(SAN_FLAGS) $(CFLAGS) $(LDFLAGS) -o $@ $< $(UNIT_OBJS) -lpthread -lm $(LDLIBS)

.SECONDARY: $(UNIT_TESTS:%.c=$(BUILD)/obj/%.o)

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Changes only when one of the flags does.
$(BUILD)/flags: FORCE | packages
	@mkdir -p $(@D)
	@printf '%s\n' '$(subst ','\'',$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(LIBS))' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

-include $(OBJS:.o=.d) $(UNIT_TESTS:%.c=$(BUILD)/obj/%.d)

# Tests

SAN_ENV = ASAN_OPTIONS=halt_on_error=1:exitcode=99:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=halt_on_error=1:exitcode=99:print_stacktrace=1 \
	LSAN_OPTIONS=suppressions=$(CURDIR)/tests/lsan.supp:print_suppressions=0 \
	TSAN_OPTIONS=halt_on_error=1:exitcode=99:second_deadlock_stack=1
TEST_ENV = ZKFS='$(CURDIR)/$(BUILD)/zkfs' WORKERS_SH='$(CURDIR)/workers-sh' $(if $(SAN),$(SAN_ENV) SAN='$(SAN)')

check: $(BUILD)/zkfs $(UNIT_BINS) | packages
	@$(TEST_ENV) FILTER='$(FILTER)' JOBS='$(JOBS)' tests/run tests \
		$(patsubst unit,$(UNIT_BINS),$(or $(TESTS),unit $(sort $(wildcard tests/*.bats))))

soak: $(BUILD)/zkfs | packages
	@$(TEST_ENV) FILTER='$(FILTER)' JOBS='$(or $(JOBS),1)' \
		tests/run tests/soak $(or $(TESTS),$(sort $(wildcard tests/soak/*.bats)))

demo: $(BUILD)/zkfs | packages
	@$(TEST_ENV) tests/demo

# Lint: `make lint` starts one make that does the parts side by side and shows each part's output in one piece.

LINT = build/lint
C_FILES = $(SRCS) $(UNIT_TESTS)
H_FILES = $(wildcard zkfs/*.h tests/unit/*.h)
SHELL_FILES = .ci/run tests/run $(wildcard tests/demo workers-sh/zkq-* tests/*.bash tests/*.bats \
	tests/*/*.bash tests/*/*.bats)
MAN_PAGES = $(wildcard docs/man/*.1 docs/man/*.8)
LINT_PARTS = $(C_FILES:%=$(LINT)/%.tidy) lint-warnings lint-clang-format lint-shellcheck lint-shfmt \
	lint-man

.PHONY: lint-warnings lint-clang-format lint-shellcheck lint-shfmt lint-man

lint: | packages
	@$(MAKE) --no-print-directory -s -k -O -j"$$(nproc)" PACKAGES=no $(LINT_PARTS)

lint-warnings:
	@$(MAKE) --no-print-directory PACKAGES=no WERROR=1 BUILD=build/werror SAN= werror

.PHONY: werror
werror: $(BUILD)/zkfs $(UNIT_BINS)

$(LINT)/%.tidy: % $(H_FILES) .clang-tidy
	@mkdir -p $(@D)
	clang-tidy --quiet --warnings-as-errors='*' $< -- $(ALL_CPPFLAGS) -std=gnu17 2>$@.err || { cat $@.err; exit 1; }
	@touch $@

lint-clang-format:
	clang-format --dry-run -Werror $(C_FILES) $(H_FILES)

lint-shellcheck:
	shellcheck -x $(filter-out %.bats,$(SHELL_FILES))
# It does not follow the "load" of bats, so it cannot see what the helpers set and use.
	shellcheck -x -e SC2034,SC2154 $(filter %.bats,$(SHELL_FILES))

lint-shfmt:
	shfmt -d $(SHELL_FILES)

lint-man:
	$(if $(MAN_PAGES),mandoc -T lint -W warning $(MAN_PAGES))

format: | packages
	clang-format -i $(C_FILES) $(H_FILES)
	shfmt -w $(SHELL_FILES)

# Installation. The scripts find their library in ../share/zkfs next to the folder that they are in. mount(8) looks
# for mount.zkfs in /sbin alone: "mount -t zkfs" and fstab want PREFIX=/usr, or type "fuse.zkfs".

install: $(BUILD)/zkfs
	install -d '$(DESTDIR)$(SBINDIR)' '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(DATADIR)'
	install -m 755 $(BUILD)/zkfs '$(DESTDIR)$(SBINDIR)/zkfs'
	ln -sf zkfs '$(DESTDIR)$(SBINDIR)/mount.zkfs'
	for f in $(SCRIPTS); do install -m 755 "$$f" '$(DESTDIR)$(BINDIR)' || exit 1; done
	for f in $(SCRIPT_LIBS); do install -m 644 "$$f" '$(DESTDIR)$(DATADIR)' || exit 1; done
	for f in $(MAN_PAGES); do \
		install -D -m 644 "$$f" "$(DESTDIR)$(MANDIR)/man$${f##*.}/$${f##*/}" || exit 1; done

uninstall:
	rm -f '$(DESTDIR)$(SBINDIR)/zkfs' '$(DESTDIR)$(SBINDIR)/mount.zkfs'
	for f in $(notdir $(SCRIPTS)); do rm -f "$(DESTDIR)$(BINDIR)/$$f"; done
	for f in $(notdir $(SCRIPT_LIBS)); do rm -f "$(DESTDIR)$(DATADIR)/$$f"; done
	for f in $(notdir $(MAN_PAGES)); do rm -f "$(DESTDIR)$(MANDIR)/man$${f##*.}/$$f"; done
	if [ -d '$(DESTDIR)$(DATADIR)' ]; then rmdir '$(DESTDIR)$(DATADIR)'; fi

SCRIPT_LIBS = $(wildcard workers-sh/*.bash)
SCRIPTS = $(filter-out $(SCRIPT_LIBS),$(wildcard workers-sh/zkq-*))

clean:
	rm -rf build build-*

# Packages of Debian 12 and later

BUILD_PACKAGES = gcc libc6-dev make pkg-config libfuse3-dev libzookeeper-mt-dev
RUN_PACKAGES = fuse3 procps inotify-tools attr zookeeper default-jre-headless
TEST_PACKAGES = bats bats-support bats-assert python3-kazoo socat strace rsync
LINT_PACKAGES = clang-tidy clang-format shellcheck shfmt mandoc

goals = $(or $(MAKECMDGOALS),all)
NEEDED = $(sort $(BUILD_PACKAGES) \
	$(if $(filter packages demo check soak,$(goals)),$(RUN_PACKAGES)) \
	$(if $(filter packages check soak,$(goals)),$(TEST_PACKAGES)) \
	$(if $(filter packages lint format,$(goals)),$(LINT_PACKAGES)))

# Without dpkg-query it is another system: what is missing will show.
packages:
ifneq ($(PACKAGES),no)
	@command -v dpkg-query >/dev/null || exit 0; \
	have=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(NEEDED) 2>/dev/null); \
	missing=; \
	for p in $(NEEDED); do \
		printf '%s\n' "$$have" | grep -qx "installed $$p" || missing="$$missing $$p"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	get="env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300"; \
	if [ "$$(id -u)" = 0 ]; then sudo=; \
	elif sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	elif command -v sudo >/dev/null && [ -t 0 ]; then sudo=sudo; \
	else \
		echo "packages are missing; as root run: apt-get install --no-install-recommends$$missing" >&2; \
		exit 1; \
	fi; \
	echo "installing$$missing" >&2; \
	$$sudo $$get -qq update && $$sudo $$get -qq -y install --no-install-recommends $$missing >&2
endif
