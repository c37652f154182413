# Fuzz targets: t/fuzz/fuzz_NAME.c with its seeds in t/fuzz/seeds/NAME/.
#
#   make unit              replays the seeds (build/unit/replay_NAME)
#   script/fuzz MINUTES    runs them under libFuzzer (build/fuzz/fuzz_NAME);
#                          needs clang

FUZZ_CC  ?= clang
FUZZ_SAN  = -O1 -fsanitize=fuzzer,address,undefined \
            -fno-sanitize-recover=all -DFUZZ_LIBFUZZER
FUZZ_TARGETS =

list-fuzz-targets:
	@echo $(FUZZ_TARGETS)

.PHONY: list-fuzz-targets

# name, sources, libraries
define FUZZ_RULES
FUZZ_TARGETS += $(1)
UNIT_TESTS += $$(BUILD)/unit/replay_$(1)

$$(BUILD)/unit/replay_$(1): t/fuzz/fuzz_$(1).c t/fuzz/fuzz.h $(2) \
        $$(wildcard t/fuzz/seeds/$(1)/*)
	@mkdir -p $$(@D)
	$$(PURE_CC) $$(SAN) -It/fuzz -DFUZZ_SEEDS='"t/fuzz/seeds/$(1)"' -o $$@ \
	    $$< $(2) tools/ngx_stub.c $(3)

$$(BUILD)/fuzz/fuzz_$(1): t/fuzz/fuzz_$(1).c t/fuzz/fuzz.h $(2) \
        tools/ngx_stub.c $$(NGX)/objs/Makefile
	@mkdir -p $$(@D)
	$$(FUZZ_CC) -g $$(WARN) $$(PURE_INC) $$(FUZZ_SAN) -It/fuzz -o $$@ \
	    $$< $(2) tools/ngx_stub.c $(3)
endef

$(eval $(call FUZZ_RULES,json,$(wildcard \
    ngx_unit_module/ngx_http_unit_json*.c),-ljansson))
$(eval $(call FUZZ_RULES,watch,$(wildcard \
    ngx_unit_module/ngx_http_unit_json*.c),-ljansson -lm))
$(eval $(call FUZZ_RULES,uri,ngx_unit_module/ngx_http_unit_uri.c,))

# Answers of Unit.  The target includes these files, which know of requests, for
# their parsers alone; what they call elsewhere is not linked.

ANSWER_SRC = $(addprefix ngx_unit_module/ngx_http_unit_,customer.c \
                 token_answer.c verification.c)
ANSWER_INC = -I$(NGX)/src/http -I$(NGX)/src/http/modules -I$(NGX)/src/http/v2
ANSWER_LD  = -fno-pie -no-pie -Wl,--unresolved-symbols=ignore-in-object-files

$(BUILD)/unit/replay_answer $(BUILD)/fuzz/fuzz_answer: $(ANSWER_SRC)
$(eval $(call FUZZ_RULES,answer,,$(ANSWER_INC) $(ANSWER_LD) -ljansson))
