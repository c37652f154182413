# The zone and the idempotency records in it, without shared memory.

SHM_SRC = $(wildcard ngx_unit_module/ngx_http_unit_shm*.c) \
          ngx_unit_module/ngx_http_unit_crypto.c t/unit/shm_kit.c

UNIT_TESTS += $(BUILD)/unit/test_record $(BUILD)/unit/test_shm

$(BUILD)/unit/test_record: ngx_unit_module/ngx_http_unit_record.c

$(BUILD)/unit/test_record $(BUILD)/unit/test_shm: $(BUILD)/unit/%: \
    t/unit/%.c $(SHM_SRC) tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -lcrypto
