-- The gateway's warm path as it is written for nginx with Lua: a partner's JWT is
-- verified once (RS256, by OpenSSL through FFI) and remembered until it ends, as
-- is the token of the customer. With options.lru, each worker keeps what it has
-- looked up in a table of its own, too.

local ffi = require "ffi"
local cjson = require "cjson.safe"
local lrucache = require "resty.lrucache"

local C = ffi.C
local ngx = ngx
local match, gsub, lower, sub = string.match, string.gsub, string.lower, string.sub

ffi.cdef [[
typedef struct bio_st BIO;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_md_st EVP_MD;
typedef struct evp_md_ctx_st EVP_MD_CTX;
BIO *BIO_new_mem_buf(const void *buf, int len);
int BIO_free(BIO *bio);
EVP_PKEY *PEM_read_bio_PUBKEY(BIO *bio, EVP_PKEY **x, void *cb, void *u);
const EVP_MD *EVP_sha256(void);
EVP_MD_CTX *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(EVP_MD_CTX *ctx);
int EVP_DigestVerifyInit(EVP_MD_CTX *ctx, void **pctx, const EVP_MD *type, void *e, EVP_PKEY *pkey);
int EVP_DigestVerify(EVP_MD_CTX *ctx, const char *sig, size_t siglen, const char *tbs, size_t tbslen);
void ERR_clear_error(void);
]]

local EARLY = 30       -- a token of Unit is renewed so many seconds before its end
local LRU_TTL = 60     -- at most so long in the table of one worker
local BODY = '{"errors":[{"status":"%d","code":"%s","title":"%s"}]}'

local jwts, tokens, lru
local options, key, org_token

local _M = {}

local function slurp(name)
    local file = assert(io.open(name, "rb"))
    local text = assert(file:read("*a"))
    file:close()
    return text
end

-- once, before the workers start
function _M.init(opts)
    options = opts
    org_token = match(slurp(options.org_token_file), "^%S+")

    local pem = slurp(options.public_key)
    local bio = C.BIO_new_mem_buf(pem, #pem)
    key = C.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
    C.BIO_free(bio)
    assert(key ~= nil, "no public key")

    jwts, tokens = ngx.shared.jwts, ngx.shared.tokens
    lru = options.lru and assert(lrucache.new(options.lru))
end

local function base64url(text)
    return ngx.decode_base64((gsub(text, "[-_]", {["-"] = "+", ["_"] = "/"})) .. ("="):rep(-#text % 4))
end

local function signed(text, signature)
    local ctx = C.EVP_MD_CTX_new()
    if ctx == nil then
        return false
    end
    local ok = C.EVP_DigestVerifyInit(ctx, nil, C.EVP_sha256(), nil, key) == 1
        and C.EVP_DigestVerify(ctx, signature, #signature, text, #text) == 1
    C.EVP_MD_CTX_free(ctx)
    if not ok then
        C.ERR_clear_error()
    end
    return ok
end

local function has_audience(aud)
    if type(aud) ~= "table" then
        return aud == options.audience
    end
    for _, value in ipairs(aud) do
        if value == options.audience then
            return true
        end
    end
    return false
end

-- the customer of a JWT, and how long it is good; nil if it is not
local function verify(jwt)
    local text, head, payload, signature = match(jwt, "^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$")
    if not text then
        return nil
    end

    head = cjson.decode(base64url(head) or "")
    signature = base64url(signature)
    if type(head) ~= "table" or head.alg ~= "RS256" or head.crit ~= nil
        or not signature or not signed(text, signature)
    then
        return nil
    end

    local claims = cjson.decode(base64url(payload) or "")
    local now = ngx.time()
    if type(claims) ~= "table" or claims.iss ~= options.issuer or not has_audience(claims.aud)
        or type(claims.sub) ~= "string" or type(claims.exp) ~= "number" or claims.exp - now < 1
        or claims.nbf ~= nil and (type(claims.nbf) ~= "number" or claims.nbf > now)
        or type(claims.unitCustomerId) ~= "string" or not match(claims.unitCustomerId, "^%d+$")
    then
        return nil
    end
    return claims.unitCustomerId, claims.exp - now
end

-- The token of a customer, made at Unit. Without a lock: lua-resty-lock is not in Debian.
local function mint(customer)
    local answer = ngx.location.capture("/_unit/api/customers/" .. customer .. "/token", {
        method = ngx.HTTP_POST,
        body = '{"data":{"type":"customerToken","attributes":{"scope":"accounts"}}}',
        vars = {unit_authorization = "Bearer " .. org_token},
    })
    local document = answer.status == 201 and not answer.truncated and cjson.decode(answer.body)
    local attributes = document and document.data and document.data.attributes
    if type(attributes) ~= "table" or type(attributes.token) ~= "string"
        or type(attributes.expiresIn) ~= "number" or attributes.expiresIn <= EARLY
    then
        return nil
    end

    local bearer = "Bearer " .. attributes.token
    tokens:set(customer, bearer, attributes.expiresIn - EARLY)
    return bearer
end

local function refuse(status, code, title)
    ngx.status = status
    ngx.header["Content-Type"] = "application/vnd.api+json"
    if status == 401 then
        ngx.header["WWW-Authenticate"] = 'Bearer error="invalid_token"'
    end
    ngx.print(BODY:format(status, code, title))
    return ngx.exit(status)
end

-- access phase: sets the variable that goes on as Authorization
function _M.access()
    local var = ngx.var
    local header = var.http_authorization
    if not header then
        return refuse(401, "token_missing", "Unauthorized")
    end

    if lru then
        local bearer = lru:get(header)
        if bearer then
            var.unit_authorization = bearer
            return
        end
    end

    if lower(sub(header, 1, 7)) ~= "bearer " then
        return refuse(401, "token_invalid", "Unauthorized")
    end

    local jwt = sub(header, 8)
    local customer = jwts:get(jwt)
    local left

    if not customer then
        customer, left = verify(jwt)
        if not customer then
            return refuse(401, "token_invalid", "Unauthorized")
        end
        jwts:set(jwt, customer, left)
    end

    local bearer = tokens:get(customer) or mint(customer)
    if not bearer then
        return refuse(502, "upstream_unavailable", "Bad Gateway")
    end

    if lru then
        lru:set(header, bearer, math.min(LRU_TTL, jwts:ttl(jwt) or 0, tokens:ttl(customer) or 0))
    end
    var.unit_authorization = bearer
end

return _M
