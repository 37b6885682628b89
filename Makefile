# luafn: one Makefile, no configure step. `make help` lists the targets.
#
# BUILD picks the flavour; each flavour has a folder of its own under build/, so flavours never mix.

BUILD ?= release
V     ?= 0
Q      = $(if $(filter 1,$(V)),,@)
CC    ?= cc
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell cat VERSION)

OUT := build/$(BUILD)
PKGS := lua5.4 libuv jansson libjwt libcurl libnghttp2 libbrotlienc libbrotlidec libidn2 zlib libssl libcrypto lmdb hiredis libseccomp libpcre2-8 libpq sqlite3

# Dependencies come from Debian; on a bare machine pkg-config itself is missing until `make deps`.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-align -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough
BASE := -std=c11 -D_GNU_SOURCE -DLUAFN_VERSION='"$(VERSION)"' -DLIBJWT_VERSION='"$(shell pkg-config --modversion libjwt 2>/dev/null)"' -iquote host -iquote .  $(PKG_CFLAGS) \
        -fno-strict-aliasing -fstack-protector-strong -pthread

# A warning fails the builds that only checks make: gcc's in debug, clang's in fuzz.
FLAGS_release := -O2 -g -fno-plt -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
FLAGS_debug   := -O0 -g3 -Werror -DLUAFN_DEBUG
FLAGS_asan    := -O1 -g -DLUAFN_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FLAGS_tsan    := -O1 -g -DLUAFN_DEBUG -fsanitize=thread -fno-omit-frame-pointer
FLAGS_cov     := -O0 -g --coverage -DLUAFN_DEBUG
FLAGS_fuzz    := -O1 -g -Werror -DLUAFN_DEBUG -DLUAFN_FUZZ -fsanitize=address,undefined,fuzzer-no-link -fno-omit-frame-pointer
ifeq ($(FLAGS_$(BUILD)),)
$(error unknown BUILD '$(BUILD)': one of release debug asan tsan cov fuzz)
endif
ifeq ($(BUILD),fuzz)
CC := clang
endif
CFLAGS  ?=
LDFLAGS ?=
ALL_CFLAGS  = $(BASE) $(WARN) $(FLAGS_$(BUILD)) $(CFLAGS) -MMD -MP
ALL_LDFLAGS = $(FLAGS_$(BUILD)) $(LDFLAGS) -pthread -Wl,-z,relro,-z,now
LIBS        = $(PKG_LIBS) -lm -ldl

# ---- sources -------------------------------------------------------------------------------
SRC_C := $(wildcard host/*.c host/*/*.c bindings/*.c)
LIB_C := $(filter-out host/main.c,$(SRC_C))
LIB_O := $(LIB_C:%.c=$(OUT)/%.o)
# While many files are new: how many of them this is.
NEW := $(words $(filter-out $(wildcard $(LIB_O)),$(LIB_O)))
nth  = $(eval BUILT += x)$(if $(filter-out 0,$(NEW)), ($(words $(BUILT)) of $(NEW)))

ifeq ($(BUILD),cov)
$(LIB_O): CFLAGS += -include tools/cov.h
endif

# llhttp: a system library where there is one, else the sources that Debian's node-llhttp carries.
LLHTTP_DIR ?= /usr/share/llhttp
ifeq ($(shell pkg-config --exists libllhttp 2>/dev/null && echo yes),yes)
LIBS     += $(shell pkg-config --libs libllhttp)
BASE     += $(shell pkg-config --cflags libllhttp)
LLHTTP_O :=
else
BASE     += -isystem /usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1
LLHTTP_O := $(OUT)/llhttp/api.o $(OUT)/llhttp/http.o $(OUT)/llhttp/llhttp.o
endif

# What `dev` serves by itself travels inside the program: Lua scripts and pages.
EMBED := $(sort $(wildcard scripts/dev/*.lua scripts/dev/*/*.lua scripts/lib/auth.lua share/*.lua share/*.json share/help/*.txt share/templates/* web/*.html web/*.css web/*.js web/*.svg web/*/*.html))
EMBED_C := $(OUT)/gen/embedded.c

.DEFAULT_GOAL := all
.PHONY: all
all: build/luafn ## the optimised program, build/luafn

build/luafn: $(OUT)/luafn
	$(Q)if [ "$(BUILD)" = release ]; then cp -f $< $@; fi

$(OUT)/luafn: $(OUT)/host/main.o $(OUT)/libluafn.a
	@echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(OUT)/libluafn.a: $(LIB_O) $(LLHTTP_O) $(OUT)/gen/embedded.o
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	@echo "  CC    $<$(if $(filter $@,$(LIB_O)),$(nth))"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(OUT)/llhttp/%.o: $(LLHTTP_DIR)/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 $(FLAGS_$(BUILD)) -DLLHTTP_STRICT_MODE=1 -isystem /usr/share/include/llhttp -w -c -o $@ $<

$(OUT)/tools/embed: tools/embed.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -o $@ $<

$(EMBED_C): $(OUT)/tools/embed $(EMBED)
	@mkdir -p $(@D)
	$(Q)$(OUT)/tools/embed $@ $(EMBED)

$(OUT)/gen/embedded.o: $(EMBED_C)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

-include $(LIB_O:.o=.d) $(OUT)/host/main.d

# ---- unit tests (cmocka): tests/unit/FOLDER_NAME_test.c, one program each --------------------
UNIT_C := $(wildcard tests/unit/*_test.c)
UNIT_BIN := $(UNIT_C:%.c=$(OUT)/%)
T ?=

$(OUT)/tests/unit/%_test: tests/unit/%_test.c $(OUT)/libluafn.a
	@mkdir -p $(@D)
	@echo "  TEST  $@"
	$(Q)$(CC) $(ALL_CFLAGS) -iquote tests/unit $(ALL_LDFLAGS) -o $@ $< $(OUT)/libluafn.a $(LIBS) -lcmocka
-include $(UNIT_BIN:=.d)

include tools/targets.mk
