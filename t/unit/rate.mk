# Limits: the arithmetic of rates and shares, the circuit.

RATE_SRC = ngx_unit_module/ngx_http_unit_rate.c \
           ngx_unit_module/ngx_http_unit_breaker.c

UNIT_TESTS += $(BUILD)/unit/test_rate $(BUILD)/unit/test_breaker

$(BUILD)/unit/test_rate $(BUILD)/unit/test_breaker: $(BUILD)/unit/%: \
    t/unit/%.c $(RATE_SRC) tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^)
