# Idempotency records, in a zone without shared memory.

RECORD_SRC = ngx_unit_module/ngx_http_unit_record.c \
             $(wildcard ngx_unit_module/ngx_http_unit_shm*.c) \
             ngx_unit_module/ngx_http_unit_crypto.c

UNIT_TESTS += $(BUILD)/unit/test_record

$(BUILD)/unit/test_record: t/unit/test_record.c $(RECORD_SRC) tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -lcrypto
