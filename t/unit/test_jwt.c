
/*
 * Tokens: splitting, the header, the key, the signature (DESIGN 5.1 and 13,
 * P34).  Every reason word that ngx_http_unit_jwt_split() and
 * ngx_http_unit_jwt_verify() have is met here.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/err.h>
#include "ngx_http_unit_jwt.h"
#include "ngx_stub.h"
#include "tap.h"
#include "jwt_kit.h"


#define PAYLOAD  "{\"iss\":\"i\",\"sub\":\"s\",\"exp\":2000000000}"


/* Split a token; its bytes have no NUL behind them. */

static ngx_int_t
split(ngx_pool_t *pool, const char *text, ngx_http_unit_jwt_t *jwt,
    ngx_str_t *token)
{
    token->len = strlen(text);
    token->data = ngx_pnalloc(pool, token->len);
    memcpy(token->data, text, token->len);

    return ngx_http_unit_jwt_split(pool, token, jwt);
}


/* reason is NULL for tokens that can be split */

static void
token(const char *text, const char *reason, const char *name)
{
    ngx_str_t             s;
    ngx_int_t             rc;
    ngx_pool_t           *pool;
    ngx_http_unit_jwt_t   jwt;

    pool = ngx_create_pool(4096, NULL);
    rc = split(pool, text, &jwt, &s);

    if (reason == NULL) {
        is(rc, NGX_OK, name);
        ok(jwt.reason == NULL, "no reason: %s", name);

    } else {
        is(rc, NGX_DECLINED, name);
        is_text(jwt.reason, jwt.reason ? strlen(jwt.reason) : 0, reason,
                name);
    }

    ngx_destroy_pool(pool);
}


static void
header_n(const char *json, size_t len, const char *reason, const char *name)
{
    char  *h, *text;

    h = kit_base64url(json, len);
    text = kit_format("%s.e30.AAAA", h);

    token(text, reason, name);

    free(text);
    free(h);
}


static void
header(const char *json, const char *reason)
{
    header_n(json, strlen(json), reason, json);
}


static void
test_shape(void)
{
    char    *text;
    size_t   n;

    /* {"alg":"RS256"} and {} */

#define H  "eyJhbGciOiJSUzI1NiJ9"

    token(H ".e30.AAAA", NULL, "three parts");
    token("", "jwt_malformed", "nothing");
    token(".", "jwt_malformed", "a dot");
    token("..", "jwt_malformed", "two dots");
    token("...", "jwt_malformed", "three dots");
    token(H, "jwt_malformed", "one part");
    token(H ".e30", "jwt_malformed", "two parts");
    token(H ".e30.", "jwt_malformed", "no signature");
    token(H "..AAAA", "jwt_malformed", "no payload");
    token(".e30.AAAA", "jwt_malformed", "no header");
    token(H ".e30.AAAA.", "jwt_malformed", "a dot behind it");
    token(H ".e30.AAAA.AAAA", "jwt_malformed", "four parts");
    token(H ".AA.AA.AA.AA", "jwt_malformed", "five parts (JWE)");
    token("." H ".e30.AAAA", "jwt_malformed", "a dot before it");
    token(" " H ".e30.AAAA", "jwt_malformed", "a space before it");
    token(H ".e30.AAAA ", "jwt_malformed", "a space behind it");
    token(H ".e30.AAAA\n", "jwt_malformed", "a line feed behind it");
    token(H ".e30\t.AAAA", "jwt_malformed", "a tab in it");
    token(H ".e30=.AAAA", "jwt_malformed", "padded payload");
    token(H ".e30.AA==", "jwt_malformed", "padded signature");
    token(H ".e30.A", "jwt_malformed", "impossible length");
    token(H ".e30.AAAAA", "jwt_malformed", "another impossible length");
    token(H ".e31.AAAA", "jwt_malformed", "bits left over in the payload");
    token(H ".e30.AB", "jwt_malformed", "bits left over in the signature");
    token(H ".e30.AAB", "jwt_malformed", "fewer bits left over");
    token(H ".e30.++//", "jwt_malformed", "the other alphabet");
    token(H ".e30.AA\xc3\xa4", "jwt_malformed", "not ASCII");

    text = malloc(8300);
    n = sprintf(text, "%s.", H);
    memset(text + n, 'A', 8300 - n);

    text[8192 - 5] = '.';
    text[8192] = '\0';
    token(text, NULL, "8192 bytes");

    text[8192] = 'A';
    text[8193] = '\0';
    token(text, "jwt_too_long", "8193 bytes");
    free(text);
}


static void
test_header(void)
{
    char               *text;
    size_t              i;

    static const char  *good[] = {
        "{\"alg\":\"RS256\"}",
        " { \"typ\" : \"JWT\" ,\r\n\t\"alg\" : \"RS256\" } ",
        "{\"alg\":\"RS256\",\"typ\":null}",
        "{\"alg\":\"RS256\",\"typ\":\"at+jwt\",\"cty\":1}",
        "{\"alg\":\"RS256\",\"jku\":\"https://evil.example/\"}",
        "{\"alg\":\"RS256\",\"x5u\":\"https://evil.example/\"}",
        "{\"alg\":\"RS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"}}",
        "{\"alg\":\"RS256\",\"x5c\":[\"AA\"],\"x5t\":\"AA\"}",
        "{\"\\u0061lg\":\"\\u0052S256\"}",
        "{\"alg\":\"RS256\",\"ALG\":\"none\",\"Crit\":[]}",
        "{\"alg\":\"RS256\",\"x\":{\"crit\":[\"x\"],\"alg\":\"none\"}}"
    };

    static const char  *bad_alg[] = {
        "{}", "{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
        "{\"alg\":\"HS256\"}", "{\"alg\":\"RS384\"}", "{\"alg\":\"RS512\"}",
        "{\"alg\":\"PS256\"}", "{\"alg\":\"ES256\"}", "{\"alg\":\"EdDSA\"}",
        "{\"alg\":\"rs256\"}", "{\"alg\":\"RS256 \"}", "{\"alg\":\"RS25\"}",
        "{\"alg\":\"RS2566\"}", "{\"alg\":\"\"}", "{\"alg\":null}",
        "{\"alg\":256}", "{\"alg\":true}", "{\"alg\":[\"RS256\"]}",
        "{\"alg\":{\"RS256\":1}}", "{\"ALG\":\"RS256\"}",
        "{\"x\":{\"alg\":\"RS256\"}}"
    };

    static const char  *bad_json[] = {
        "x", "[]", "null", "1", "\"RS256\"", "[{\"alg\":\"RS256\"}]",
        "{\"alg\":\"RS256\"", "{\"alg\":\"RS256\"}}",
        "{\"alg\":\"RS256\"} x", "{\"alg\":\"RS256\",}",
        "{'alg':'RS256'}", "{alg:\"RS256\"}",
        "{\"alg\":\"none\",\"alg\":\"RS256\"}",
        "{\"alg\":\"RS256\",\"\\u0061lg\":\"RS256\"}",
        "{\"alg\":\"RS256\",\"kid\":\"a\",\"kid\":\"a\"}",
        "{\"alg\":\"RS256\",\"x\":{\"a\":1,\"a\":2}}",
        "{\"alg\":\"RS256\",\"kid\":\"a\\u0000\"}",
        "{\"alg\":\"RS256\",\"x\":\"\\ud800\"}",
        "{\"alg\":\"RS256\",\"x\":\"\xff\"}",
        "\xef\xbb\xbf{\"alg\":\"RS256\"}",
        "{\"alg\":\"RS256\"/**/}"
    };

    static const char  *bad_crit[] = {
        "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"RS256\",\"crit\":[\"exp\"],\"exp\":1}",
        "{\"alg\":\"RS256\",\"crit\":[]}", "{\"alg\":\"RS256\",\"crit\":null}",
        "{\"alg\":\"RS256\",\"crit\":\"\"}", "{\"alg\":\"RS256\",\"crit\":{}}",
        "{\"alg\":\"RS256\",\"crit\":0}", "{\"alg\":\"RS256\",\"crit\":false}",
        "{\"\\u0063rit\":[],\"alg\":\"RS256\"}",
        "{\"alg\":\"RS256\",\"b64\":false}", "{\"alg\":\"RS256\",\"b64\":true}",
        "{\"alg\":\"RS256\",\"b64\":null}"
    };

    static const char  *bad_kid[] = {
        "{\"alg\":\"RS256\",\"kid\":\"\"}", "{\"alg\":\"RS256\",\"kid\":null}",
        "{\"alg\":\"RS256\",\"kid\":1}", "{\"alg\":\"RS256\",\"kid\":true}",
        "{\"alg\":\"RS256\",\"kid\":[\"a\"]}",
        "{\"alg\":\"RS256\",\"kid\":{\"a\":\"a\"}}"
    };

#define each(list, reason)                                                    \
    for (i = 0; i < sizeof(list) / sizeof(list[0]); i++) {                    \
        header(list[i], reason);                                              \
    }

    each(good, NULL);
    each(bad_alg, "jwt_alg");
    each(bad_json, "jwt_header");
    each(bad_crit, "jwt_crit");
    each(bad_kid, "jwt_kid");

    header_n("{\"alg\":\"RS256\"}\0", 16, "jwt_header", "NUL behind it");
    header_n("{\"alg\":\"RS256\0\"}", 16, "jwt_header", "NUL in a value");
    header_n("{\"alg\0\":\"none\",\"alg\":\"RS256\"}", 29, "jwt_header",
             "NUL in a name");

    text = kit_format("{\"alg\":\"RS256\",\"kid\":\"%0256d\"}", 1);
    header_n(text, strlen(text), NULL, "kid of 256 bytes");
    free(text);

    text = kit_format("{\"alg\":\"RS256\",\"kid\":\"%0257d\"}", 1);
    header_n(text, strlen(text), "jwt_kid", "kid of 257 bytes");
    free(text);
}


static void
test_split(EVP_PKEY *key)
{
    char                       *text, *dot;
    ngx_str_t                   s, issuer;
    ngx_pool_t                 *pool;
    ngx_http_unit_jwt_t         jwt;
    ngx_http_unit_jwt_rules_t   rules;

    pool = ngx_create_pool(4096, NULL);

    memset(&rules, 0, sizeof(ngx_http_unit_jwt_rules_t));
    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "rules");

    text = kit_token(key, "{\"alg\":\"RS256\",\"kid\":\"\\u0061b\"}", PAYLOAD);
    dot = strrchr(text, '.');

    is(split(pool, text, &jwt, &s), NGX_OK, "a token");
    is(jwt.has_kid, 1, "has a kid");
    is_text(jwt.kid.data, jwt.kid.len, "ab", "kid is decoded");
    is_text(jwt.payload.data, jwt.payload.len, PAYLOAD, "payload");
    is(jwt.signature.len, 256, "signature");

    *dot = '\0';
    is_text(jwt.signed_part.data, jwt.signed_part.len, text, "signed part");
    ok(jwt.signed_part.data == s.data, "signed part is not a copy");
    free(text);

    is(ngx_http_unit_jwt_issuer_unsafe(pool, &jwt, &rules, &issuer),
       NGX_OK, "issuer");
    is_text(issuer.data, issuer.len, "i", "issuer");

#define no_issuer(json, name)                                                 \
    ngx_str_set(&jwt.payload, json);                                          \
    is(ngx_http_unit_jwt_issuer_unsafe(pool, &jwt, &rules, &issuer),          \
       NGX_DECLINED, name);                                                   \
    is(issuer.len, 0, name)

    no_issuer("{}", "no issuer");
    no_issuer("{\"iss\":1}", "issuer is a number");
    no_issuer("{\"iss\":null}", "issuer is null");
    no_issuer("{\"iss\":[\"i\"]}", "issuer is an array");
    no_issuer("{\"iss\":\"i\",\"iss\":\"i\"}", "issuer twice");
    no_issuer("[{\"iss\":\"i\"}]", "payload is an array");
    no_issuer("{\"iss\":\"i\"", "payload is cut off");
    no_issuer("\"iss\"", "payload is a string");

    ngx_destroy_pool(pool);
}


static void
verified(const ngx_http_unit_jwks_t *set, const char *text,
    const char *reason, ngx_int_t key, const char *name)
{
    ngx_int_t             rc;
    ngx_str_t             s;
    ngx_pool_t           *pool;
    ngx_http_unit_jwt_t   jwt;
    ngx_http_unit_jwk_t  *jwk;

    pool = ngx_create_pool(4096, NULL);

    is(split(pool, text, &jwt, &s), NGX_OK, name);

    rc = ngx_http_unit_jwt_verify(&jwt, set, &jwk);

    if (reason == NULL) {
        is(rc, NGX_OK, name);
        is(jwk ? jwk - set->keys : -1, key, name);

    } else {
        is(rc, NGX_DECLINED, name);
        ok(jwk == NULL, "no key: %s", name);
        is_text(jwt.reason, jwt.reason ? strlen(jwt.reason) : 0, reason,
                name);
    }

    ok(ERR_peek_error() == 0, "error queue empty: %s", name);

    ngx_destroy_pool(pool);
}


static ngx_http_unit_jwks_t *
key_set(ngx_pool_t *pool, EVP_PKEY *a, const char *akid, EVP_PKEY *b,
    const char *bkid)
{
    char                  *ja, *jb, *text;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    ja = kit_jwk(a, akid);
    jb = b ? kit_jwk(b, bkid) : kit_format("%s", "");
    text = kit_format("{\"keys\":[%s%s%s]}", ja, b ? "," : "", jb);

    is(ngx_http_unit_jwks_parse(pool, (u_char *) text, strlen(text), 1, &set,
                                &reason),
       NGX_OK, "key set");

    free(ja);
    free(jb);
    free(text);

    return set;
}


static void
test_verify(EVP_PKEY *a, EVP_PKEY *b)
{
    char                  *text, *other, *mixed, *no_kid;
    ngx_pool_t            *pool;
    ngx_http_unit_jwks_t  *one, *two;

    pool = ngx_create_pool(4096, NULL);

    one = key_set(pool, a, ",\"kid\":\"a\"", NULL, NULL);
    two = key_set(pool, a, ",\"kid\":\"a\"", b, ",\"kid\":\"b\"");

    text = kit_token(a, "{\"alg\":\"RS256\",\"kid\":\"a\"}", PAYLOAD);
    verified(one, text, NULL, 0, "one key, its kid");
    verified(two, text, NULL, 0, "two keys, the first");

    /* the signature of one token under another: same key, same lengths */

    other = kit_token(a, "{\"alg\":\"RS256\",\"kid\":\"a\"}",
                      "{\"iss\":\"i\",\"sub\":\"t\",\"exp\":2000000000}");
    mixed = kit_format("%.*s%s", (int) (strrchr(text, '.') - text), text,
                       strrchr(other, '.'));
    verified(one, mixed, "jwt_signature", -1, "another token's signature");
    free(mixed);
    free(other);

    mixed = kit_format("%.*s", (int) strlen(text) - 6, text);
    verified(one, mixed, "jwt_signature", -1, "four bytes cut off");
    free(mixed);

    mixed = kit_format("%sAAAA", text);
    verified(one, mixed, "jwt_signature", -1, "bytes behind the signature");
    free(mixed);

    mixed = kit_format("%.*s.AA", (int) (strrchr(text, '.') - text), text);
    verified(one, mixed, "jwt_signature", -1, "a signature of one byte");
    free(mixed);
    free(text);

    text = kit_token(b, "{\"alg\":\"RS256\",\"kid\":\"b\"}", PAYLOAD);
    verified(two, text, NULL, 1, "two keys, the second");
    verified(one, text, "jwt_key_unknown", -1, "unknown kid");
    free(text);

    text = kit_token(b, "{\"alg\":\"RS256\",\"kid\":\"a\"}", PAYLOAD);
    verified(two, text, "jwt_signature", -1,
             "signed by a key of the set, but not the one it names");
    free(text);

    no_kid = kit_token(a, "{\"alg\":\"RS256\"}", PAYLOAD);
    verified(one, no_kid, NULL, 0, "no kid, one key");
    verified(two, no_kid, "jwt_key_unknown", -1, "no kid, two keys");
    free(no_kid);

    no_kid = kit_token(b, "{\"alg\":\"RS256\"}", PAYLOAD);
    verified(one, no_kid, "jwt_signature", -1, "no kid, wrong key");
    free(no_kid);

    ngx_destroy_pool(pool);
}


/* each allocation fails in turn; text is freed */

static void
memory(char *text, const ngx_http_unit_jwt_rules_t *rules, ngx_uint_t least)
{
    ngx_int_t             rc;
    ngx_str_t             s, issuer;
    ngx_pool_t           *pool;
    ngx_uint_t            n, total;
    ngx_http_unit_jwt_t   jwt;

    for (n = 0, total = 1; n <= total; n++) {
        pool = ngx_create_pool(4096, NULL);

        s.data = (u_char *) text;
        s.len = strlen(text);

        ngx_stub_fail(n);

        rc = ngx_http_unit_jwt_split(pool, &s, &jwt);

        if (rc == NGX_OK) {
            rc = ngx_http_unit_jwt_issuer_unsafe(pool, &jwt, rules, &issuer);
        }

        if (n == 0) {
            total = ngx_stub_allocations();
            is(rc, NGX_OK, "enough memory");

        } else {
            ok(rc == NGX_ERROR, "allocation %d fails", (int) n);
        }

        ngx_stub_fail(0);
        ngx_destroy_pool(pool);
    }

    ok(total >= least, "%d allocations to fail", (int) total);
    free(text);
}


static void
test_memory(EVP_PKEY *key)
{
    char                       *text, padding[500], header[600];
    ngx_str_t                   s;
    ngx_pool_t                 *pool;
    ngx_http_unit_jwt_t         jwt;
    ngx_http_unit_jwt_rules_t   rules;

    pool = ngx_create_pool(4096, NULL);
    memset(&rules, 0, sizeof(ngx_http_unit_jwt_rules_t));
    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "rules");

    /* a header too long to be known again, and one that is */

    memset(padding, 'x', sizeof(padding) - 1);
    padding[sizeof(padding) - 1] = '\0';

    snprintf(header, sizeof(header),
             "{\"alg\":\"RS256\",\"kid\":\"\\u0061\",\"x\":\"%s\"}",
             padding);

    memory(kit_token(key, header, "{\"iss\":\"\\u0069\"}"), &rules, 7);

    text = kit_token(key, "{\"alg\":\"RS256\",\"kid\":\"\\u0061\"}",
                     "{\"iss\":\"\\u0069\"}");
    s.data = (u_char *) text;
    s.len = strlen(text);
    is(ngx_http_unit_jwt_split(pool, &s, &jwt), NGX_OK, "a header to know");

    memory(text, &rules, 4);

    ngx_destroy_pool(pool);
}


/* a header that was seen in the token before: what is read is the same */

static void
test_same_header(EVP_PKEY *key)
{
    size_t                i;
    char                 *text;
    ngx_str_t             s;
    ngx_pool_t           *pool;
    ngx_http_unit_jwt_t   jwt;

    static const struct {
        const char       *header;
        ngx_int_t         rc;
        const char       *kid;
    } tokens[] = {
        { "{\"alg\":\"RS256\",\"kid\":\"one\"}", NGX_OK, "one" },
        { "{\"alg\":\"RS256\",\"kid\":\"two\"}", NGX_OK, "two" },
        { "{\"alg\":\"RS256\",\"kid\":\"two\"}", NGX_OK, "two" },
        { "{\"alg\":\"RS256\"}", NGX_OK, NULL },
        { "{\"alg\":\"RS256\"}", NGX_OK, NULL },
        { "{\"alg\":\"none\",\"kid\":\"one\"}", NGX_DECLINED, NULL },
        { "{\"alg\":\"none\",\"kid\":\"one\"}", NGX_DECLINED, NULL },
        { "{\"alg\":\"RS256\",\"crit\":[]}", NGX_DECLINED, NULL },
        { "{\"alg\":\"RS256\",\"crit\":[]}", NGX_DECLINED, NULL },
        { "{\"alg\":\"RS256\",\"kid\":\"one\"}", NGX_OK, "one" }
    };

    for (i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        pool = ngx_create_pool(4096, NULL);
        text = kit_token(key, tokens[i].header, PAYLOAD);

        s.data = (u_char *) text;
        s.len = strlen(text);

        is(ngx_http_unit_jwt_split(pool, &s, &jwt), tokens[i].rc,
           tokens[i].header);

        if (tokens[i].rc == NGX_OK) {
            is(jwt.has_kid, tokens[i].kid != NULL, tokens[i].header);
        }

        if (tokens[i].kid) {
            is_text(jwt.kid.data, jwt.kid.len, tokens[i].kid, "its kid");
        }

        /* the parts around it are not taken for granted */

        s.len--;
        text[s.len - 1] = '!';
        is(ngx_http_unit_jwt_split(pool, &s, &jwt), NGX_DECLINED,
           "a signature that is none");

        free(text);
        ngx_destroy_pool(pool);
    }
}


int
main(void)
{
    EVP_PKEY  *a, *b;

    a = kit_rsa(2048, 65537);
    b = kit_rsa(2048, 65537);

    test_shape();
    test_header();
    test_split(a);
    test_verify(a, b);
    test_memory(a);
    test_same_header(a);

    EVP_PKEY_free(a);
    EVP_PKEY_free(b);

    return done_testing();
}
