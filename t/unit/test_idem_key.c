
/*
 * Idempotency keys: what a header may hold, how the keys that Unit gets are
 * derived, and the file with the secret.  Holds STYLE P22 (odd bytes).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "ngx_http_unit_idem_key.h"
#include "ngx_stub.h"
#include "tap.h"


#define T(text)  text, sizeof(text) - 1


typedef struct {
    const char  *header;
    size_t       len;
    const char  *key;        /* NULL: refused */
} test_header_t;


static const test_header_t  test_headers[] = {

    { T("k"), "k" },
    { T("8e03978e-40d5-43dd-bc93-6894a57f9324"),
      "8e03978e-40d5-43dd-bc93-6894a57f9324" },
    { T("a b"), "a b" },
    { T("a,b;c=d"), "a,b;c=d" },
    { T("a\"b"), "a\"b" },
    { T("a\\b"), "a\\b" },
    { T("~!@#$%^&*()_+"), "~!@#$%^&*()_+" },
    { T("'k'"), "'k'" },
    { T(":YWJj:"), ":YWJj:" },

    { T("\"k\""), "k" },
    { T("\"a b\""), "a b" },
    { T("\" \""), " " },
    { T("\"a\\\"b\""), "a\"b" },
    { T("\"a\\\\\""), "a\\" },
    { T("\"\\\\\\\"\""), "\\\"" },
    { T("\"a;b=c,d\""), "a;b=c,d" },

    { T(""), NULL },
    { T("\""), NULL },
    { T("\"\""), NULL },
    { T("\"a"), NULL },
    { T("\"a\\"), NULL },
    { T("\"a\\\""), NULL },
    { T("\"a\\b\""), NULL },
    { T("\"a\\\0\""), NULL },
    { T("\"a\"b"), NULL },
    { T("\"a\"\""), NULL },
    { T("\"a\" "), NULL },
    { T("\"a\";b"), NULL },
    { T("\"a\";b=\"c\""), NULL },
    { T("\"a\", \"b\""), NULL },

    { T("\0"), NULL },
    { T("a\0"), NULL },
    { T("a\tb"), NULL },
    { T("\"a\tb\""), NULL },
    { T("\x1f"), NULL },
    { T("\x7f"), NULL },
    { T("a\x7f"), NULL },
    { T("\"\x7f\""), NULL },
    { T("a\xc3\xa4"), NULL },
    { T("\"\xc3\xa4\""), NULL },
    { T("\x80"), NULL },
    { T("\xff"), NULL }
};


static void
test_header(ngx_pool_t *pool)
{
    size_t               i, n;
    u_char               copy[600], *own;
    ngx_int_t            rc;
    ngx_str_t            value, key;
    const test_header_t  *t;

    for (i = 0; i < sizeof(test_headers) / sizeof(test_headers[0]); i++) {

        t = &test_headers[i];

        /* of its own, so that one byte too far is seen */

        own = ngx_pnalloc(pool, t->len ? t->len : 1);
        ngx_memcpy(own, t->header, t->len);

        value.data = own;
        value.len = t->len;

        rc = ngx_http_unit_idem_key_header(pool, &value, &key);

        if (t->key == NULL) {
            is(rc, NGX_DECLINED, t->len ? t->header : "(empty)");
            continue;
        }

        if (is(rc, NGX_OK, t->header)) {
            is_text(key.data, key.len, t->key, t->header);
        }

        ok(memcmp(own, t->header, t->len) == 0, "the header is untouched");
    }

    for (n = 254; n <= 257; n++) {

        ngx_memset(copy, 'x', sizeof(copy));
        value.data = copy;
        value.len = n;

        is(ngx_http_unit_idem_key_header(pool, &value, &key),
           n <= 255 ? NGX_OK : NGX_DECLINED, "bare, about 255 characters");

        copy[0] = '"';
        copy[n + 1] = '"';
        value.len = n + 2;

        is(ngx_http_unit_idem_key_header(pool, &value, &key),
           n <= 255 ? NGX_OK : NGX_DECLINED, "quoted, about 255 characters");

        /* escapes count as the character they stand for */

        ngx_memset(copy, '\\', sizeof(copy));
        copy[0] = '"';
        copy[2 * n + 1] = '"';
        value.len = 2 * n + 2;

        is(ngx_http_unit_idem_key_header(pool, &value, &key),
           n <= 255 ? NGX_OK : NGX_DECLINED, "escaped, about 255 characters");
    }

    for (n = 0; n < 256; n++) {

        copy[0] = 'a';
        copy[1] = (u_char) n;
        value.data = copy;
        value.len = 2;

        rc = (n >= 0x20 && n <= 0x7e) ? NGX_OK : NGX_DECLINED;

        if (ngx_http_unit_idem_key_header(pool, &value, &key) != rc) {
            break;
        }
    }

    is(n, 256, "each byte: printable ASCII and nothing else");
}


static void
test_memory(ngx_pool_t *pool)
{
    ngx_str_t  value, key;

    ngx_str_set(&value, "\"quoted\"");

    ngx_stub_fail(1);

    is(ngx_http_unit_idem_key_header(pool, &value, &key), NGX_ERROR,
       "out of memory");

    ngx_stub_fail(0);
}


static size_t
test_text(char *dst, const u_char *digest)
{
    size_t              i, n;
    static const char   set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789-_";
    u_char              bits[34];

    ngx_memzero(bits, sizeof(bits));
    ngx_memcpy(bits, digest, 32);

    for (i = 0, n = 0; i < 43; i++) {
        dst[n++] = set[((bits[i * 6 / 8] << 8 | bits[i * 6 / 8 + 1])
                        >> (10 - i * 6 % 8)) & 63];
    }

    dst[n] = '\0';

    return n;
}


/* against OpenSSL, called as the header describes it */

static void
test_derive(void)
{
    u_char                       base[32], digest[32], text[43], other[43];
    u_char                       input[64];
    char                         expected[44];
    ngx_str_t                    fields[2], key, longer;
    ngx_uint_t                   i;
    unsigned int                 len;
    ngx_http_unit_idem_secret_t  secret;

    secret.len = 40;
    ngx_memset(secret.data, 's', secret.len);

    ngx_str_set(&fields[0], "ab");
    ngx_str_set(&fields[1], "c");

    is(ngx_http_unit_idem_key_base(&secret, fields, 2, base), NGX_OK, "base");

    HMAC(EVP_sha256(), secret.data, 40,
         (const u_char *) "\0\0\0\0\0\0\0\2" "ab" "\0\0\0\0\0\0\0\1" "c", 19,
         digest, &len);

    ok(memcmp(base, digest, 32) == 0, "the base is the HMAC of the fields");

    ngx_str_set(&fields[0], "a");
    ngx_str_set(&fields[1], "bc");
    (void) ngx_http_unit_idem_key_base(&secret, fields, 2, digest);
    ok(memcmp(base, digest, 32) != 0, "fields do not run into each other");

    secret.data[39] ^= 1;
    ngx_str_set(&fields[0], "ab");
    ngx_str_set(&fields[1], "c");
    (void) ngx_http_unit_idem_key_base(&secret, fields, 2, digest);
    ok(memcmp(base, digest, 32) != 0, "each byte of the secret counts");

    ngx_str_set(&key, "key-1");

    is(ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_PLACE, &key,
                                     0x01020304, text),
       NGX_OK, "derive");

    ngx_memcpy(input, "\0\0\0\0\0\0\0\5\2\1\2\3\4\0\0\0\0\0\0\0\5key-1", 26);

    HMAC(EVP_sha256(), base, 32, input, 26, digest, &len);
    test_text(expected, digest);

    is_text(text, 43, expected, "the key is HMAC and base64url");

    /* nothing that tells two writes apart is lost */

    ngx_str_set(&longer, "key-11");

    for (i = 0; i < 5; i++) {

        (void) ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_REQUEST,
                                             &key, 0, text);
        base[0] ^= (i == 4);
        (void) ngx_http_unit_idem_key_derive(base,
                            i == 0 ? NGX_HTTP_UNIT_IDEM_ELEMENT
                            : i == 1 ? NGX_HTTP_UNIT_IDEM_PLACE
                            : NGX_HTTP_UNIT_IDEM_REQUEST,
                            i == 2 ? &longer : &key, i == 3, other);
        base[0] ^= (i == 4);

        ok(memcmp(text, other, 43) != 0, "another %s, another key",
           i < 2 ? "kind" : i == 2 ? "text" : i == 3 ? "place" : "base");
    }

    (void) ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_REQUEST,
                                         &key, 0, other);
    ok(memcmp(text, other, 43) == 0, "the same again, the same key");
}


static ngx_int_t
test_load(ngx_http_unit_idem_secret_t *secret, const char *text, size_t len)
{
    u_char      *own;
    ngx_int_t    rc;
    const char  *reason;

    own = malloc(len ? len : 1);
    ngx_memcpy(own, text, len);

    reason = NULL;
    rc = ngx_http_unit_idem_key_load(secret, own, len, 1, &reason);

    free(own);

    if (rc != NGX_OK && reason == NULL) {
        return NGX_ABORT;
    }

    return rc;
}


static void
test_file(void)
{
    size_t                       i;
    char                         big[300];
    ngx_http_unit_idem_secret_t  secret;

    static const char  s32[] = "0123456789abcdef0123456789abcdef";

    static const struct {
        const char  *text;
        size_t       len;
        ngx_int_t    rc;
    } t[] = {
        { T("0123456789abcdef0123456789abcdef"), NGX_OK },
        { T("0123456789abcdef0123456789abcdef\n"), NGX_OK },
        { T("0123456789abcdef0123456789abcdef\r\n"), NGX_OK },
        { T("\n\n0123456789abcdef0123456789abcdef\n\r\n\n"), NGX_OK },
        { T(""), NGX_DECLINED },
        { T("\n"), NGX_DECLINED },
        { T("0123456789abcdef0123456789abcde"), NGX_DECLINED },
        { T("0123456789abcdef\n0123456789abcdef\n"), NGX_DECLINED },
        { T("0123456789abcdef0123456789abcdef\nx"), NGX_DECLINED },
        { T("0123456789abcdef0123456789abcdef\n"
            "0123456789abcdef0123456789abcdef\n"), NGX_DECLINED }
    };

    for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {

        secret.len = 1;
        secret.data[0] = 'o';

        is(test_load(&secret, t[i].text, t[i].len), t[i].rc, "file");

        if (t[i].rc == NGX_OK) {
            is_text(secret.data, secret.len, s32, "its secret");

        } else {
            is_text(secret.data, secret.len, "o", "the old one stays");
        }
    }

    memset(big, 'b', sizeof(big));

    is(test_load(&secret, big, 256), NGX_OK, "256 bytes");
    is(secret.len, 256, "all of them");
    is(test_load(&secret, big, 257), NGX_DECLINED, "257 bytes");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);

    test_header(pool);
    test_memory(pool);
    test_derive();
    test_file();

    ngx_destroy_pool(pool);

    return done_testing();
}
