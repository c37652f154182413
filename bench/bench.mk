# The programs of script/bench: make -f bench/bench.mk BUILD=build

CC    ?= cc
BUILD ?= build
WARN   = -Wall -Wextra -Wno-unused-parameter -Wformat=2 -Wshadow -Wvla \
         -Wmissing-prototypes -Werror

all: $(BUILD)/bench/load $(BUILD)/bench/mint $(BUILD)/bench/spin.so

$(BUILD)/bench/spin.so: bench/spin.c bench/bench.mk
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) -shared -fPIC -o $@.new $(filter %.c,$^)
	mv $@.new $@

$(BUILD)/bench/%: bench/%.c bench/options.c bench/options.h bench/bench.mk
	@mkdir -p $(@D)
	$(CC) -O2 -g $(WARN) -o $@.new $(filter %.c,$^) -lcrypto
	mv $@.new $@

.PHONY: all
