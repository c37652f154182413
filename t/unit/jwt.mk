# Keys, key sets and tokens: unit tests, and the tool unit-jwt.

CRYPTO_SRC = ngx_unit_module/ngx_http_unit_crypto.c \
             ngx_unit_module/ngx_http_unit_rsa.c
JWK_SRC    = $(CRYPTO_SRC) ngx_unit_module/ngx_http_unit_jwk.c
JWT_SRC    = $(JWK_SRC) ngx_unit_module/ngx_http_unit_jwt.c \
             ngx_unit_module/ngx_http_unit_claims.c \
             $(wildcard ngx_unit_module/ngx_http_unit_json*.c)
UNIT_JWT   = tools/unit_jwt.c tools/unit_jwt_key.c tools/unit_jwt_mint.c \
             tools/unit_jwt_verify.c

TOOLS      += $(BUILD)/unit-jwt

$(BUILD)/unit-jwt: $(UNIT_JWT) $(JWT_SRC)
	@mkdir -p $(@D)
	$(PURE_CC) -O2 -o $@.new $(UNIT_JWT) $(JWT_SRC) tools/ngx_stub.c \
	    -ljwt -ljansson -lcrypto
	mv $@.new $@
