URI_SRC = ngx_unit_module/ngx_http_unit_uri.c

UNIT_TESTS += $(BUILD)/unit/test_uri

$(BUILD)/unit/test_uri: t/unit/test_uri.c $(URI_SRC)
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< $(URI_SRC) tools/ngx_stub.c
