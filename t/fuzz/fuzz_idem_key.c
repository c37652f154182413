
/*
 * Fuzz target: idempotency keys.  The input is the value of the header; the
 * verdict and the key are compared with those of a second reading of RFC 8941
 * 3.3.3 (sf-string) and of our rule for bare keys, written as a table of
 * states.  Every key that is accepted survives being written as a structured
 * field and read again.  The input is also tried as the file of the secret.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_idem_key.h"
#include "ngx_stub.h"
#include "fuzz.h"


enum {
    FUZZ_START = 0,
    FUZZ_BARE,
    FUZZ_INSIDE,
    FUZZ_ESCAPE,
    FUZZ_CLOSED,
    FUZZ_WRONG
};


/* by state: what a quote, a backslash and any other character lead to */

static const uint8_t  fuzz_next[][3] = {
    { FUZZ_INSIDE, FUZZ_BARE,   FUZZ_BARE },
    { FUZZ_BARE,   FUZZ_BARE,   FUZZ_BARE },
    { FUZZ_CLOSED, FUZZ_ESCAPE, FUZZ_INSIDE },
    { FUZZ_INSIDE, FUZZ_INSIDE, FUZZ_WRONG },
    { FUZZ_WRONG,  FUZZ_WRONG,  FUZZ_WRONG },
    { FUZZ_WRONG,  FUZZ_WRONG,  FUZZ_WRONG }
};


/* the length of the key, 0 when there is none */

static size_t
fuzz_read(const uint8_t *data, size_t len, uint8_t *key)
{
    size_t   i, n;
    uint8_t  state, next;

    n = 0;
    state = FUZZ_START;

    for (i = 0; i < len; i++) {

        if (data[i] < 0x20 || data[i] >= 0x7f) {
            return 0;
        }

        next = fuzz_next[state][data[i] == '"' ? 0 : data[i] == '\\' ? 1 : 2];

        if (next == FUZZ_BARE
            || (next == FUZZ_INSIDE && state != FUZZ_START))
        {
            key[n++] = data[i];
        }

        state = next;
    }

    if (state != FUZZ_BARE && state != FUZZ_CLOSED) {
        return 0;
    }

    return n <= 255 ? n : 0;
}


static void
fuzz_again(ngx_pool_t *pool, ngx_str_t *key)
{
    size_t     i;
    u_char    *p;
    ngx_str_t  text, second;

    text.data = ngx_pnalloc(pool, 2 * key->len + 2);
    p = text.data;
    *p++ = '"';

    for (i = 0; i < key->len; i++) {
        if (key->data[i] == '"' || key->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = key->data[i];
    }

    *p++ = '"';
    text.len = p - text.data;

    fuzz_assert(ngx_http_unit_idem_key_header(pool, &text, &second) == NGX_OK);
    fuzz_assert(second.len == key->len
                && memcmp(second.data, key->data, key->len) == 0);
}


/* the same key twice, other kinds and places: same and other, and plain */

static void
fuzz_derive(ngx_str_t *key)
{
    u_char      base[NGX_HTTP_UNIT_SHA256_LEN], text[5][64];
    ngx_str_t   field;
    ngx_uint_t  i, k;

    static ngx_http_unit_idem_secret_t  secret = { 32, "0123456789abcdef"
                                                       "0123456789abcdef" };

    ngx_str_set(&field, "alice");

    fuzz_assert(ngx_http_unit_idem_key_base(&secret, &field, 1, base)
                == NGX_OK);

    for (i = 0; i < 5; i++) {
        ngx_memset(text[i], '#', 64);

        fuzz_assert(ngx_http_unit_idem_key_derive(base, i / 2, key, i % 2,
                                                  text[i])
                    == NGX_OK);
        fuzz_assert(text[i][NGX_HTTP_UNIT_IDEM_KEY_DERIVED] == '#');
        fuzz_assert(strspn((char *) text[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                           "abcdefghijklmnopqrstuvwxyz0123456789-_")
                    == NGX_HTTP_UNIT_IDEM_KEY_DERIVED);

        for (k = 0; k < i; k++) {
            fuzz_assert(memcmp(text[i], text[k], 43) != 0);
        }
    }

    fuzz_assert(ngx_http_unit_idem_key_derive(base, 0, key, 0, text[1])
                == NGX_OK);
    fuzz_assert(memcmp(text[0], text[1], 43) == 0);
}


static void
fuzz_secret(uint8_t *data, size_t len)
{
    size_t                        i, line, found;
    ngx_int_t                     rc;
    ngx_uint_t                    lines;
    const char                   *reason;
    ngx_http_unit_idem_secret_t   secret;

    reason = NULL;
    ngx_memset(&secret, 0, sizeof(secret));

    rc = ngx_http_unit_idem_key_load(&secret, data, len, 1, &reason);

    /* lines that are not empty once their end is cut */

    lines = 0;
    found = 0;
    line = 0;

    for (i = 0; i <= len; i++) {

        if (i < len && data[i] != '\n') {
            line++;
            continue;
        }

        if (line && data[i - 1] == '\r') {
            line--;
        }

        if (line) {
            lines++;
            found = line;
        }

        line = 0;
    }

    fuzz_assert(rc == (lines == 1 && found >= 32 && found <= 256
                       ? NGX_OK : NGX_DECLINED));
    fuzz_assert((rc == NGX_OK) == (reason == NULL));
    fuzz_assert(secret.len == (rc == NGX_OK ? found : 0));
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    size_t       n;
    uint8_t     *want;
    ngx_int_t    rc;
    ngx_str_t    value, key;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(1024, NULL);
    want = ngx_pnalloc(pool, len);

    value.data = data;
    value.len = len;

    rc = ngx_http_unit_idem_key_header(pool, &value, &key);
    n = fuzz_read(data, len, want);

    fuzz_assert(rc == (n ? NGX_OK : NGX_DECLINED));

    if (rc == NGX_OK) {
        fuzz_assert(key.len == n && memcmp(key.data, want, n) == 0);
        fuzz_assert(ngx_http_unit_idem_key_valid(&key));
        fuzz_again(pool, &key);
        fuzz_derive(&key);
    }

    fuzz_secret(data, len);

    ngx_destroy_pool(pool);
}
