
/*
 * Hashing, random bytes, comparing, base64url.  Proves that base64url has one
 * text per value, and that nothing stays in OpenSSL's error queue (P33).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "ngx_http_unit_crypto.h"
#include "tap.h"
#include "jwt_kit.h"


#define is_clean(name)  ok(ERR_peek_error() == 0, "error queue empty: %s", name)


static const char  alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


static void
test_hash(void)
{
    u_char        out[32], again[32], expected[32], text[200], big[700];
    ngx_str_t     f[3], key;
    unsigned int  i, n;

    ngx_str_set(&f[0], "abc");

    is(ngx_http_unit_sha256(f, 1, 1, out), NGX_OK, "plain");

    EVP_Digest("abc", 3, expected, NULL, EVP_sha256(), NULL);
    ok(memcmp(out, expected, 32) == 0, "plain SHA-256 of one field");

    is(ngx_http_unit_sha256(f, 2, 1, out), NGX_ERROR, "plain of two fields");
    is(ngx_http_unit_sha256(f, 0, 1, out), NGX_ERROR, "plain of no field");

    memcpy(text, "\0\0\0\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1d", 28);
    EVP_Digest(text, 28, expected, NULL, EVP_sha256(), NULL);

    ngx_str_null(&f[1]);
    ngx_str_set(&f[2], "d");

    is(ngx_http_unit_sha256(f, 3, 0, out), NGX_OK, "three fields");
    ok(memcmp(out, expected, 32) == 0, "each field follows its length");

    is(ngx_http_unit_sha256(f, 3, 0, again), NGX_OK, "again");
    ok(memcmp(out, again, 32) == 0, "the context is reused cleanly");

    ngx_str_set(&f[0], "ab");
    ngx_str_set(&f[1], "c");
    is(ngx_http_unit_sha256(f, 3, 0, again), NGX_OK, "other split");
    ok(memcmp(out, again, 32) != 0, "another split is another hash");

    /* HMAC: short, empty, longer than a block, then the first one again */

    ngx_str_set(&f[0], "abc");
    ngx_str_null(&f[1]);

    ngx_str_set(&key, "k");
    HMAC(EVP_sha256(), "k", 1, text, 28, expected, &n);
    is(ngx_http_unit_hmac(&key, f, 3, out), NGX_OK, "HMAC");
    ok(memcmp(out, expected, 32) == 0, "HMAC with a short key");

    ngx_str_null(&key);
    HMAC(EVP_sha256(), "", 0, text, 28, expected, &n);
    is(ngx_http_unit_hmac(&key, f, 3, again), NGX_OK, "HMAC, empty key");
    ok(memcmp(again, expected, 32) == 0, "an empty key is not the last key");

    memset(text + 28, 'k', 150);
    key.data = text + 28;
    key.len = 150;
    HMAC(EVP_sha256(), key.data, 150, text, 28, expected, &n);
    is(ngx_http_unit_hmac(&key, f, 3, again), NGX_OK, "HMAC, long key");
    ok(memcmp(again, expected, 32) == 0, "HMAC with a long key");

    ngx_str_set(&key, "k");
    is(ngx_http_unit_hmac(&key, f, 3, again), NGX_OK, "HMAC again");
    ok(memcmp(again, out, 32) == 0, "HMAC is repeatable");

    is(ngx_http_unit_hmac(&key, f, 2, again), NGX_OK, "HMAC of two");
    ok(memcmp(again, out, 32) != 0, "HMAC covers every field");

    /* keys that are and are not known again, twice each and in turn */

    for (i = 0; i < 16; i++) {

        memset(big, 'x', sizeof(big));
        memcpy(big, "\0\0\0\0\0\0\2\x58", 8);
        f[0].data = big + 8;
        f[0].len = 600;

        memset(text, (i & 1) ? 'a' : 'b', sizeof(text));
        key.data = text + i / 2 % 2;
        key.len = 63 + i / 4;
        text[62] = (i & 1) ? 'c' : 'd';

        HMAC(EVP_sha256(), key.data, (int) key.len, big, 608, expected, &n);
        is(ngx_http_unit_hmac(&key, f, 1, again), NGX_OK, "HMAC of much");
        ok(memcmp(again, expected, 32) == 0, "HMAC %u, a key of %u", i,
           (unsigned int) key.len);
        is(ngx_http_unit_hmac(&key, f, 1, again), NGX_OK, "HMAC, key again");
        ok(memcmp(again, expected, 32) == 0, "HMAC %u with the same key", i);
    }

    is_clean("hashes");
}


/* fields that end before, at and behind the end of what is hashed at once */

static void
test_fields(void)
{
    u_char        out[32], expected[32], text[2048], *p;
    size_t        len;
    ngx_str_t     f[3], key;
    unsigned int  i, j, n;

    static u_char  big[700];

    memset(big, 'x', sizeof(big));
    ngx_str_set(&key, "secret");

    for (i = 480; i < 520; i++) {

        f[0].len = i;
        f[1].len = i % 3 ? 5 : 600;
        f[2].len = i % 2;

        for (p = text, j = 0; j < 3; j++) {
            f[j].data = big;
            len = f[j].len;

            memset(p, 0, 6);
            p[6] = (u_char) (len >> 8);
            p[7] = (u_char) len;
            memcpy(p + 8, big, len);
            p += 8 + len;
        }

        EVP_Digest(text, p - text, expected, NULL, EVP_sha256(), NULL);
        ok(ngx_http_unit_sha256(f, 3, 0, out) == NGX_OK
           && memcmp(out, expected, 32) == 0, "%u bytes and more", i);

        HMAC(EVP_sha256(), "secret", 6, text, p - text, expected, &n);
        ok(ngx_http_unit_hmac(&key, f, 3, out) == NGX_OK
           && memcmp(out, expected, 32) == 0, "HMAC of %u and more", i);
    }

    is_clean("fields");
}


static void
test_random_equal(void)
{
    u_char  a[32], b[32];

    memset(a, 0, 32);
    memset(b, 0, 32);

    is(ngx_http_unit_random(a, 32), NGX_OK, "random");
    is(ngx_http_unit_random(b, 32), NGX_OK, "random again");
    ok(memcmp(a, b, 32) != 0, "two random numbers differ");
    is(ngx_http_unit_random(a, 0), NGX_OK, "no random bytes");
    is(ngx_http_unit_random(a, (size_t) INT_MAX + 1), NGX_ERROR,
       "more than OpenSSL can count");

    is(ngx_http_unit_equal((u_char *) "abc", 3, (u_char *) "abc", 3), 1,
       "equal");
    is(ngx_http_unit_equal((u_char *) "abc", 3, (u_char *) "abd", 3), 0,
       "different byte");
    is(ngx_http_unit_equal((u_char *) "abc", 3, (u_char *) "abc", 2), 0,
       "different length");
    is(ngx_http_unit_equal((u_char *) "", 0, NULL, 0), 1, "both empty");

    is_clean("random");
}


static void
test_base64url_ends(void)
{
    size_t       n;
    u_char       out[8], back[8], text[4];
    ngx_uint_t   good, wrong, a, b, c;

    /* one text per value: all texts of two and of three characters */

    good = 0;
    wrong = 0;

    for (a = 0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            text[0] = (u_char) a;
            text[1] = (u_char) b;

            if (ngx_http_unit_base64url_decode(out, text, 2) != 1) {
                continue;
            }

            good++;

            n = ngx_http_unit_base64url_encode(back, out, 1);

            if (n != 2 || memcmp(back, text, 2) != 0) {
                wrong++;
            }
        }
    }

    is(good, 256, "two characters have 256 good texts");
    is(wrong, 0, "which are the ones that encoding makes");

    good = 0;
    wrong = 0;

    for (a = 0; a < 64; a++) {
        for (b = 0; b < 64; b++) {
            for (c = 0; c < 64; c++) {
                text[0] = alphabet[a];
                text[1] = alphabet[b];
                text[2] = alphabet[c];

                if (ngx_http_unit_base64url_decode(out, text, 3) != 2) {
                    continue;
                }

                good++;

                if (ngx_http_unit_base64url_encode(back, out, 2) != 3
                    || memcmp(back, text, 3) != 0)
                {
                    wrong++;
                }
            }
        }
    }

    is(good, 65536, "three characters have 65536 good texts");
    is(wrong, 0, "which are the ones that encoding makes");
}


static void
test_base64url(void)
{
    char        *s;
    size_t       len, n;
    u_char       in[80], out[120], back[80], text[4];
    ngx_uint_t   wrong, a, b;

    for (len = 0; len < 80; len++) {
        in[len] = (u_char) kit_random(256);
    }

    wrong = 0;

    for (len = 0; len < 80; len++) {
        s = kit_base64url(in, len);

        n = ngx_http_unit_base64url_encode(out, in, len);

        if (n != strlen(s) || memcmp(out, s, n) != 0
            || n != (4 * len + 2) / 3
            || ngx_http_unit_base64url_decode(back, out, n) != (ssize_t) len
            || memcmp(back, in, len) != 0)
        {
            wrong++;
        }

        free(s);
    }

    is(wrong, 0, "all lengths to and fro");

    /* every byte at every place of a full group */

    wrong = 0;

    for (a = 0; a < 4; a++) {
        for (b = 0; b < 256; b++) {
            memcpy(text, "AAAA", 4);
            text[a] = (u_char) b;

            if ((ngx_http_unit_base64url_decode(out, text, 4) == 3)
                != (memchr(alphabet, (int) b, 64) != NULL))
            {
                wrong++;
            }
        }
    }

    is(wrong, 0, "exactly the alphabet is accepted");

    is(ngx_http_unit_base64url_decode(out, (u_char *) "", 0), 0, "empty");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "A", 1), NGX_DECLINED,
       "one character");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "AAAAA", 5),
       NGX_DECLINED, "five characters");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "AA==", 4),
       NGX_DECLINED, "padding");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "AAA=", 4),
       NGX_DECLINED, "padding of one");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "AA+/", 4),
       NGX_DECLINED, "the other alphabet");
    is(ngx_http_unit_base64url_decode(out, (u_char *) "AA\nA", 4),
       NGX_DECLINED, "line feed");
}


int
main(void)
{
    test_hash();
    test_fields();
    test_random_equal();
    test_base64url_ends();
    test_base64url();

    return done_testing();
}
