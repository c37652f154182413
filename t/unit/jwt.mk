# Keys, key sets and tokens: unit tests, and the tool unit-jwt.

CRYPTO_SRC = ngx_unit_module/ngx_http_unit_crypto.c \
             ngx_unit_module/ngx_http_unit_rsa.c
JWK_SRC    = $(CRYPTO_SRC) ngx_unit_module/ngx_http_unit_jwk.c
JWT_SRC    = $(JWK_SRC) ngx_unit_module/ngx_http_unit_jwt.c \
             ngx_unit_module/ngx_http_unit_claims.c \
             $(wildcard ngx_unit_module/ngx_http_unit_json*.c)
UNIT_JWT   = tools/unit_jwt.c tools/unit_jwt_key.c tools/unit_jwt_mint.c \
             tools/unit_jwt_verify.c

UNIT_TESTS += $(BUILD)/unit/test_crypto $(BUILD)/unit/test_rsa \
              $(BUILD)/unit/test_rs256 $(BUILD)/unit/test_jwk
TOOLS      += $(BUILD)/unit-jwt

$(BUILD)/unit-jwt: $(UNIT_JWT) $(JWT_SRC)
	@mkdir -p $(@D)
	$(PURE_CC) -O2 -o $@.new $(UNIT_JWT) $(JWT_SRC) tools/ngx_stub.c \
	    -ljwt -ljansson -lcrypto
	mv $@.new $@

$(BUILD)/unit/test_crypto: t/unit/test_crypto.c t/unit/jwt_kit.c $(CRYPTO_SRC) \
    tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -lcrypto

$(BUILD)/unit/test_rsa: t/unit/test_rsa.c t/unit/jwt_kit.c $(CRYPTO_SRC) \
    tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -lcrypto

$(BUILD)/unit/test_rs256: t/unit/test_rs256.c t/unit/jwt_kit.c $(CRYPTO_SRC) \
    tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -lcrypto

$(BUILD)/unit/test_jwk: t/unit/test_jwk.c t/unit/jwt_kit.c $(JWK_SRC) \
    tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -ljansson -lcrypto

JWT_TESTS = $(BUILD)/unit/test_jwt $(BUILD)/unit/test_claims \
            $(BUILD)/unit/test_jwt_diff

UNIT_TESTS += $(JWT_TESTS)

$(JWT_TESTS): $(BUILD)/unit/%: t/unit/%.c t/unit/jwt_kit.c $(JWT_SRC) \
    tools/ngx_stub.c
	@mkdir -p $(@D)
	$(PURE_CC) $(SAN) -o $@ $(filter %.c,$^) -ljwt -ljansson -lcrypto

$(eval $(call FUZZ_RULES,jwt,$(JWT_SRC),-ljwt -ljansson -lcrypto -lm))
$(eval $(call FUZZ_RULES,jwks,$(JWK_SRC),-ljansson -lcrypto))
