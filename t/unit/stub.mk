UNIT_TESTS += $(BUILD)/unit/test_stub

$(BUILD)/unit/test_stub: t/unit/test_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< tools/ngx_stub.c
