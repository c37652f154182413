# The policy: unit tests, the tool unit-policy.  What the tests link is
# compiled once, with sanitizers.

POLICY_SRC   = $(wildcard ngx_unit_module/ngx_http_unit_policy*.c) \
               $(wildcard ngx_unit_module/ngx_http_unit_json*.c) \
               $(wildcard ngx_unit_module/ngx_http_unit_uri*.c) \
               ngx_unit_module/ngx_http_unit_code.c \
               ngx_unit_module/ngx_http_unit_crypto.c
POLICY_LIBS  = -ljansson -lcrypto
POLICY_TOOL  = tools/unit_policy.c tools/unit_policy_explain.c
POLICY_OBJ   = $(patsubst %.c,$(BUILD)/unit/policy/%.o, \
                   $(notdir $(POLICY_SRC)) ngx_stub.c policy_kit.c)
POLICY_TESTS = $(BUILD)/unit/test_policy $(BUILD)/unit/test_policy_load \
               $(BUILD)/unit/test_policy_body $(BUILD)/unit/test_policy_decide

UNIT_TESTS  += $(POLICY_TESTS)
TOOLS       += $(BUILD)/unit-policy

$(BUILD)/unit/policy/%.o: ngx_unit_module/%.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -c -o $@ $<

$(BUILD)/unit/policy/%.o: tools/%.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -c -o $@ $<

$(BUILD)/unit/policy/%.o: t/unit/%.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -c -o $@ $<

$(POLICY_OBJ): $(PURE_HDR) $(NGX)/objs/Makefile

$(POLICY_TESTS): $(BUILD)/unit/%: t/unit/%.c $(POLICY_OBJ)
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $< $(POLICY_OBJ) $(POLICY_LIBS)

$(BUILD)/unit-policy: $(POLICY_TOOL) $(POLICY_SRC)
	@mkdir -p $(@D)
	$(PURE_CC) -O2 -o $@.new $(POLICY_TOOL) $(POLICY_SRC) \
	    tools/ngx_stub.c $(POLICY_LIBS)
	mv $@.new $@

# FUZZ_RULES is in fuzz.mk, which is read before this file
$(eval $(call FUZZ_RULES,operations,$(POLICY_SRC),$(POLICY_LIBS)))
