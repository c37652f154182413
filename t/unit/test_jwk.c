
/*
 * Key sets: what makes a key unusable, what makes a set unusable, and which
 * key a token gets (DESIGN 5.1, P34).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/err.h>
#include "ngx_http_unit_jwk.h"
#include "ngx_stub.h"
#include "tap.h"
#include "jwt_kit.h"


static EVP_PKEY  *a, *b, *small;


static ngx_int_t
parse(ngx_pool_t *pool, const char *text, ngx_uint_t strict,
    ngx_http_unit_jwks_t **set, const char **reason)
{
    char       *copy;
    size_t      len;
    ngx_int_t   rc;

    /* without NUL at the end */

    len = strlen(text);
    copy = malloc(len + 1);
    memcpy(copy, text, len);
    copy = realloc(copy, len ? len : 1);

    rc = ngx_http_unit_jwks_parse(pool, (u_char *) copy, len, strict, set,
                                  reason);
    free(copy);

    if (ERR_peek_error() != 0) {
        ok(0, "error queue is empty");
        ERR_clear_error();
    }

    return rc;
}


/* A set that is refused as a whole.  Frees text. */

static void
refused(char *text, ngx_uint_t strict, const char *expected, const char *name)
{
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    pool = ngx_create_pool(4096, NULL);

    is(parse(pool, text, strict, &set, &reason), NGX_DECLINED, name);
    ok(set == NULL, "no set: %s", name);
    is_text(reason, reason ? strlen(reason) : 0, expected, name);

    ngx_destroy_pool(pool);
    free(text);
}


/* A set of one good key and a bad one, which is skipped.  Frees jwk. */

static void
skipped(char *jwk, const char *expected, const char *name)
{
    char                  *text, *good, *warning;
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    good = kit_jwk(b, ",\"kid\":\"good\"");
    text = kit_format("{\"keys\":[%s,%s,[]]}", good, jwk);
    warning = kit_format("key 2: %s", expected);

    pool = ngx_create_pool(4096, NULL);

    if (is(parse(pool, text, 0, &set, &reason), NGX_OK, name)) {
        is(set->total, 3, "three keys in all");
        is(set->nkeys, 1, "one is usable");
        is(set->skipped, 2, "two are skipped");
        is_text(set->warning.data, set->warning.len, warning, name);
        is_text(set->keys[0].kid.data, set->keys[0].kid.len, "good",
                "the good one stays");
    }

    ngx_destroy_pool(pool);
    free(warning);
    free(text);
    free(good);
    free(jwk);
}


/* A set of one key that is usable.  Frees jwk. */

static void
accepted(char *jwk, const char *kid, const char *name)
{
    char                  *text;
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    text = kit_format(" {\"x\":{},\"keys\":[%s]}\n", jwk);

    pool = ngx_create_pool(4096, NULL);

    if (is(parse(pool, text, 1, &set, &reason), NGX_OK, name)) {
        is(set->nkeys, 1, "usable");
        is(set->skipped, 0, "nothing skipped");
        is(set->warning.len, 0, "no warning");
        is_text(set->keys[0].kid.data, set->keys[0].kid.len, kid, "kid");
        ok(set->pool == pool, "the set has the pool");
    }

    ngx_destroy_pool(pool);
    free(text);
    free(jwk);
}


/* A JWK with the given texts for n and e, with quotes or without. */

static char *
numbers(const char *n, const char *e)
{
    return kit_format("{\"kty\":\"RSA\",\"n\":%s,\"e\":%s}", n, e);
}


static void
test_accepted(void)
{
    char    *n, *kid;
    size_t   len;
    u_char  *p, *zeros;

    accepted(kit_jwk(a, ""), "", "a bare key");
    accepted(kit_jwk(a, ",\"kid\":\"k\",\"use\":\"sig\",\"alg\":\"RS256\","
                        "\"key_ops\":[\"verify\"],\"x5c\":[\"AAAA\"]"),
             "k", "everything said");
    accepted(kit_jwk(a, ",\"key_ops\":[1,\"sign\",\"verify\"]"), "",
             "verify among other operations");
    accepted(kit_jwk(a, ",\"kid\":\"\\u00e4\\n\""), "\xc3\xa4\n",
             "an odd kid is a kid");

    kid = kit_format(",\"kid\":\"%0256d\"", 7);
    n = kit_format("%0256d", 7);
    accepted(kit_jwk(a, kid), n, "kid of 256 bytes");
    free(kid);
    free(n);

    /* zeros in front of the modulus */

    p = kit_modulus(a, &len);
    zeros = calloc(1, len + 3);
    memcpy(zeros + 3, p, len);
    n = kit_base64url(zeros, len + 3);
    kid = kit_format("\"%s\"", n);
    accepted(numbers(kid, "\"AQAB\""), "", "leading zeros");
    free(kid);
    free(n);
    free(zeros);
    free(p);
}


static void
test_skipped(void)
{
    char               *text;
    size_t              i;

    static const char  *private[] = { "d", "p", "q", "dp", "dq", "qi", "oth",
                                      "k" };

    skipped(kit_format("{}"), "\"kty\" is not \"RSA\"", "empty object");
    skipped(kit_format("null"), "not an object", "null");
    skipped(kit_format("[]"), "not an object", "array");
    skipped(kit_format("\"x\""), "not an object", "string");
    skipped(kit_format("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\","
                       "\"y\":\"AA\"}"),
            "\"kty\" is not \"RSA\"", "EC key");
    skipped(kit_format("{\"kty\":\"oct\",\"k\":\"AAAA\"}"),
            "\"kty\" is not \"RSA\"", "secret key");
    skipped(kit_format("{\"kty\":\"rsa\",\"n\":\"AA\",\"e\":\"AQAB\"}"),
            "\"kty\" is not \"RSA\"", "kty in small letters");
    skipped(kit_format("{\"kty\":[\"RSA\"]}"), "\"kty\" is not \"RSA\"",
            "kty in an array");

    skipped(kit_jwk(a, ",\"use\":\"enc\""), "\"use\" is not \"sig\"",
            "for encryption");
    skipped(kit_jwk(a, ",\"use\":null"), "\"use\" is not \"sig\"",
            "use is null");
    skipped(kit_jwk(a, ",\"use\":[\"sig\"]"), "\"use\" is not \"sig\"",
            "use is an array");
    skipped(kit_jwk(a, ",\"use\":\"Sig\""), "\"use\" is not \"sig\"",
            "use in another case");

    skipped(kit_jwk(a, ",\"alg\":\"RS512\""), "\"alg\" is not \"RS256\"",
            "for RS512");
    skipped(kit_jwk(a, ",\"alg\":\"PS256\""), "\"alg\" is not \"RS256\"",
            "for PS256");
    skipped(kit_jwk(a, ",\"alg\":\"rs256\""), "\"alg\" is not \"RS256\"",
            "alg in small letters");
    skipped(kit_jwk(a, ",\"alg\":null"), "\"alg\" is not \"RS256\"",
            "alg is null");

    skipped(kit_jwk(a, ",\"key_ops\":[\"encrypt\"]"),
            "\"key_ops\" has no \"verify\"", "other operations");
    skipped(kit_jwk(a, ",\"key_ops\":[]"), "\"key_ops\" has no \"verify\"",
            "no operation");
    skipped(kit_jwk(a, ",\"key_ops\":\"verify\""),
            "\"key_ops\" has no \"verify\"", "operations are a string");
    skipped(kit_jwk(a, ",\"key_ops\":null"), "\"key_ops\" has no \"verify\"",
            "operations are null");
    skipped(kit_jwk(a, ",\"key_ops\":{\"verify\":1}"),
            "\"key_ops\" has no \"verify\"", "operations are an object");

    for (i = 0; i < sizeof(private) / sizeof(private[0]); i++) {
        text = kit_format(",\"%s\":null", private[i]);
        skipped(kit_jwk(a, text), "a private key was published", private[i]);
        free(text);
    }

    skipped(kit_jwk(a, ",\"kid\":1"),
            "\"kid\" is not a string of 1 to 256 bytes", "kid is a number");
    skipped(kit_jwk(a, ",\"kid\":null"),
            "\"kid\" is not a string of 1 to 256 bytes", "kid is null");
    skipped(kit_jwk(a, ",\"kid\":\"\""),
            "\"kid\" is not a string of 1 to 256 bytes", "kid is empty");

    text = kit_format(",\"kid\":\"%0257d\"", 7);
    skipped(kit_jwk(a, text), "\"kid\" is not a string of 1 to 256 bytes",
            "kid of 257 bytes");
    free(text);
}


static void
test_numbers(void)
{
    char  *text, *n;

    text = kit_jwk(a, "");
    n = strstr(text, "\"n\":") + 4;
    *(strchr(n + 1, '"') + 1) = '\0';

#define NOT_NUMBER  "\"n\" or \"e\" is not a base64url number"

    skipped(kit_format("{\"kty\":\"RSA\",\"e\":\"AQAB\"}"), NOT_NUMBER,
            "no n");
    skipped(kit_format("{\"kty\":\"RSA\",\"n\":%s}", n), NOT_NUMBER, "no e");
    skipped(numbers(n, "65537"), NOT_NUMBER, "e is a number");
    skipped(numbers(n, "\"\""), NOT_NUMBER, "e is empty");
    skipped(numbers("\"\"", "\"AQAB\""), NOT_NUMBER, "n is empty");
    skipped(numbers(n, "\"AQAB=\""), NOT_NUMBER, "e with padding");
    skipped(numbers(n, "\"AR\""), NOT_NUMBER, "e with bits left over");
    skipped(numbers(n, "\"AQ AB\""), NOT_NUMBER, "e with a space");
    skipped(numbers(n, "\"AQA\\u0042=\""), NOT_NUMBER, "e with padding again");
    skipped(numbers(n, "\"AQ\""), "RSA exponent is smaller than 3", "e is 1");
    skipped(numbers(n, "\"BA\""), "RSA exponent is even", "e is 4");
    skipped(numbers(n, "\"AQAAAAAAAAAB\""),
            "RSA exponent is larger than 64 bits", "e has 65 bits");

    free(text);

    text = malloc(1500);
    memset(text, 'B', 1499);
    text[0] = '"';
    text[1410] = '"';
    text[1411] = '\0';
    skipped(numbers(text, "\"AQAB\""), NOT_NUMBER, "n is far too long");
    text[1401] = '"';
    text[1402] = '\0';
    skipped(numbers(text, "\"AQAB\""), "RSA modulus is larger than 8192 bits",
            "n of 8394 bits");
    free(text);

    skipped(kit_jwk(small, ""), "RSA modulus is smaller than 2048 bits",
            "1024 bits");
}


static void
test_refused(void)
{
    char                  *good, *text, *p;
    size_t                 i;
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    good = kit_jwk(a, "");

    refused(kit_format("%s", ""), 0, "not valid JSON", "empty");
    refused(kit_format("{"), 0, "not valid JSON", "cut off");
    refused(kit_format("{\"keys\":[%s]}x", good), 0, "not valid JSON",
            "trailing bytes");
    refused(kit_format("{\"keys\":[%s],\"keys\":[%s]}", good, good), 0,
            "not valid JSON", "keys twice");
    refused(kit_format("{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"RSA\"}]}"), 0,
            "not valid JSON", "a member of a key twice");
    refused(kit_format("{\"keys\":[{\"kid\":\"a\\u0000b\"},%s]}", good), 0,
            "not valid JSON", "NUL in a string");
    refused(kit_format("[%s]", good), 0, "no object with a \"keys\" array",
            "an array");
    refused(kit_format("%s", good), 0, "no object with a \"keys\" array",
            "a bare key");
    refused(kit_format("{\"keys\":{\"a\":%s}}", good), 0,
            "no object with a \"keys\" array", "keys is an object");
    refused(kit_format("{\"keys\":null}"), 0,
            "no object with a \"keys\" array", "keys is null");
    refused(kit_format("{\"keys\":[]}"), 0, "no usable RS256 key", "no key");
    refused(kit_format("{\"keys\":[{},{}]}"), 0, "no usable RS256 key",
            "no usable key");

    text = kit_jwk(small, "");
    refused(kit_format("{\"keys\":[%s]}", text), 0, "no usable RS256 key",
            "only a small key");
    refused(kit_format("{\"keys\":[%s,%s]}", good, text), 1,
            "RSA modulus is smaller than 2048 bits", "strict: a small key");
    free(text);

    refused(kit_format("{\"keys\":[%s,{\"kty\":\"RSA\",\"n\":\"AAAB\","
                       "\"e\":\"AQAB\"}]}", good), 1,
            "RSA modulus is smaller than 2048 bits", "strict: a tiny key");

    /* a kid twice: usable or not, and however it is written */

    refused(kit_format("{\"keys\":[{\"kid\":\"x\"},%s,{\"kid\":\"x\"}]}",
                       good),
            0, "duplicate \"kid\"", "kid twice among unusable keys");
    refused(kit_format("{\"keys\":[%s,{\"kid\":\"ab\"},{\"kid\":\"a\\u0062\"}"
                       "]}", good),
            0, "duplicate \"kid\"", "kid twice, escaped once");

    text = kit_jwk(b, ",\"kid\":\"x\"");
    refused(kit_format("{\"keys\":[%s,{\"kid\":\"x\",\"kty\":\"EC\"}]}", text),
            0, "duplicate \"kid\"", "kid of a usable and an unusable key");
    free(text);

    /* 65 members */

    text = malloc(8192);
    p = text + sprintf(text, "{\"keys\":[%s", good);

    for (i = 1; i < NGX_HTTP_UNIT_JWK_MAX_KEYS; i++) {
        p += sprintf(p, ",{}");
    }

    strcpy(p, "]}");

    pool = ngx_create_pool(4096, NULL);
    is(parse(pool, text, 0, &set, &reason), NGX_OK, "64 members");
    ngx_destroy_pool(pool);

    strcpy(p, ",{}]}");
    refused(text, 0, "too many keys", "65 members");

    free(good);
}


static void
find(const ngx_http_unit_jwks_t *set, const char *kid, ngx_int_t expected,
    const char *name)
{
    ngx_str_t             s;
    ngx_http_unit_jwk_t  *key;

    s.data = (u_char *) kid;
    s.len = kid ? strlen(kid) : 0;

    key = ngx_http_unit_jwks_find(set, &s, kid != NULL);

    is(key ? key - set->keys : -1, expected, name);
}


static void
test_find(void)
{
    char                  *one, *two, *bare, *text;
    u_char                 none[32];
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    pool = ngx_create_pool(4096, NULL);
    one = kit_jwk(a, ",\"kid\":\"one\"");
    two = kit_jwk(b, ",\"kid\":\"two\"");
    bare = kit_jwk(b, "");
    memset(none, 0, 32);

    text = kit_format("{\"keys\":[%s,{\"kid\":\"zero\"},%s]}", one, two);

    if (is(parse(pool, text, 0, &set, &reason), NGX_OK, "two keys")) {
        find(set, "one", 0, "the first one");
        find(set, "two", 1, "the second one");
        find(set, "zero", -1, "an unusable one");
        find(set, "three", -1, "an unknown one");
        find(set, "ONE", -1, "in another case");
        find(set, "on", -1, "a prefix");
        find(set, "one ", -1, "something longer");
        find(set, "", -1, "an empty kid");
        find(set, NULL, -1, "no kid, two keys");

        ok(ngx_http_unit_jwks_find_thumbprint(set,
               ngx_http_unit_rsa_thumbprint(set->keys[1].rsa))
           == &set->keys[1],
           "by thumbprint");
        ok(ngx_http_unit_jwks_find_thumbprint(set, none) == NULL,
           "unknown thumbprint");
    }

    free(text);

    text = kit_format("{\"keys\":[%s]}", one);

    if (is(parse(pool, text, 0, &set, &reason), NGX_OK, "one key with kid")) {
        find(set, "one", 0, "its kid");
        find(set, "two", -1, "another kid");
        find(set, NULL, 0, "no kid, one key");
    }

    free(text);

    text = kit_format("{\"keys\":[%s,{\"kty\":\"EC\"}]}", one);

    if (is(parse(pool, text, 0, &set, &reason), NGX_OK, "one key of two")) {
        find(set, "one", 0, "its kid");
        find(set, NULL, -1, "no kid, two members of which one is usable");
    }

    free(text);

    text = kit_format("{\"keys\":[%s]}", bare);

    if (is(parse(pool, text, 0, &set, &reason), NGX_OK, "a key without kid"))
    {
        find(set, NULL, 0, "no kid, no kid");
        find(set, "", -1, "an empty kid is not no kid");
        find(set, "one", -1, "a kid");
    }

    free(text);
    free(one);
    free(two);
    free(bare);
    ngx_destroy_pool(pool);
}


static void
test_memory(void)
{
    char                  *one, *text;
    ngx_int_t              rc;
    ngx_uint_t             n, total;
    ngx_pool_t            *pool;
    const char            *reason;
    ngx_http_unit_jwks_t  *set;

    one = kit_jwk(a, ",\"kid\":\"one\"");
    text = kit_format("{\"keys\":[{},%s]}", one);

    pool = ngx_create_pool(4096, NULL);
    ngx_stub_fail(0);
    is(parse(pool, text, 0, &set, &reason), NGX_OK, "enough memory");
    total = ngx_stub_allocations();
    ngx_destroy_pool(pool);

    ok(total > 4, "allocations to fail");

    for (n = 1; n <= total; n++) {
        pool = ngx_create_pool(4096, NULL);

        ngx_stub_fail(n);
        rc = parse(pool, text, 0, &set, &reason);
        ngx_stub_fail(0);

        ok(rc == NGX_ERROR && set == NULL, "allocation %d fails", (int) n);

        ngx_destroy_pool(pool);
    }

    free(text);
    free(one);
}


int
main(void)
{
    a = kit_rsa(2048, 65537);
    b = kit_rsa(2048, 65537);
    small = kit_rsa(1024, 65537);

    test_accepted();
    test_skipped();
    test_numbers();
    test_refused();
    test_find();
    test_memory();

    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
    EVP_PKEY_free(small);

    return done_testing();
}
