JSON_SRC = $(wildcard ngx_unit_module/ngx_http_unit_json*.c)

UNIT_TESTS += $(BUILD)/unit/test_json $(BUILD)/unit/test_json_watch \
              $(BUILD)/unit/test_json_diff

$(BUILD)/unit/test_json $(BUILD)/unit/test_json_watch \
$(BUILD)/unit/test_json_diff: $(BUILD)/unit/%: t/unit/%.c $(JSON_SRC)
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< $(JSON_SRC) tools/ngx_stub.c -ljansson
