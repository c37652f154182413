# Idempotency: keys, and their place in a body.

PURE_INC  += -Ilua-free-filters

IDEM_KEY   = ngx_unit_module/ngx_http_unit_idem_key.c \
             ngx_unit_module/ngx_http_unit_crypto.c
SPLICE_SRC = lua-free-filters/ngx_http_unit_splice.c \
             $(wildcard ngx_unit_module/ngx_http_unit_json*.c)

UNIT_TESTS += $(BUILD)/unit/test_idem_key $(BUILD)/unit/test_splice

$(BUILD)/unit/test_idem_key: t/unit/test_idem_key.c $(IDEM_KEY)
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< $(IDEM_KEY) tools/ngx_stub.c -lcrypto

$(BUILD)/unit/test_splice: t/unit/test_splice.c t/unit/splice_kit.h \
    $(SPLICE_SRC) lua-free-filters/ngx_http_unit_splice.h
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< $(SPLICE_SRC) tools/ngx_stub.c -ljansson

# FUZZ_RULES is in fuzz.mk, which is read before this file
$(eval $(call FUZZ_RULES,splice,$(SPLICE_SRC),-ljansson))
$(eval $(call FUZZ_RULES,idem_key,$(IDEM_KEY),-lcrypto))
