
/*
 * Our verifier against libjwt, on a few thousand tokens that were changed at
 * random: bytes of good tokens, and headers and payloads that were changed
 * and signed again.  What libjwt refuses we must refuse; where we are
 * stricter, the reason must be true by a check of its own.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ctype.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/err.h>
#include "ngx_http_unit_jwt.h"
#include "tap.h"
#include "jwt_kit.h"


#define BYTES  4000     /* tokens with changed bytes */
#define TEXTS  2000     /* tokens signed after the change */


static EVP_PKEY              *key;
static char                  *pem;
static ngx_pool_t            *set_pool;
static ngx_http_unit_jwks_t  *set;

static unsigned               both, stricter, neither, laxer, unexplained;


static const char  *headers[] = {
    "{\"alg\":\"RS256\",\"kid\":\"k\"}",
    "{\"alg\":\"RS256\"}",
    "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k\",\"x\":[1,{\"y\":null}]}",
    "{\"alg\":\"rs256\",\"kid\":\"k\"}",
    "{\"alg\":\"RS256\",\"kid\":\"other\"}",
    "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}",
    "{\"alg\":\"RS256\",\"alg\":\"RS256\"}",
    "{\"alg\":\"RS256\",\"kid\":7}",
    "{\"alg\":\"RS384\",\"kid\":\"k\"}",
    "{\"alg\":\"HS256\",\"kid\":\"k\"}",
    "{\"alg\":\"none\"}",
    "{\"alg\":\"RS256\",\"typ\":\"at+jwt\"}"
};

static const char  *payloads[] = {
    "{\"iss\":\"i\",\"sub\":\"s\",\"exp\":2000000000}",
    "{\"iss\":\"i\",\"a\":[1,2.5e3,\"\\u00e4\\ud83d\\ude00\"],\"b\":{\"c\":1}}",
    "{}",
    "{\"a\":1,\"a\":2}"
};


/* One part, decoded leniently; *canonical says whether strictly too. */

static char *
lenient(const char *p, size_t len, size_t *n, int *canonical)
{
    char    *text, *again;
    u_char  *out;
    size_t   i, used;

    text = malloc(len + 5);
    used = 0;
    *canonical = 1;

    for (i = 0; i < len; i++) {

        if (isalnum((unsigned char) p[i])) {
            text[used++] = p[i];

        } else if (p[i] == '-' || p[i] == '_') {
            text[used++] = p[i] == '-' ? '+' : '/';

        } else {
            *canonical = 0;
        }
    }

    if (used % 4 == 1) {
        *canonical = 0;
        used--;
    }

    *n = used * 3 / 4;
    memset(text + used, 'A', 4);
    used = (used + 3) / 4 * 4;

    out = malloc(used + 4);
    EVP_DecodeBlock(out, (u_char *) text, (int) used);

    again = kit_base64url(out, *n);

    if (strlen(again) != len || memcmp(again, p, len) != 0 || len == 0) {
        *canonical = 0;
    }

    free(again);
    free(text);

    return (char *) out;
}


/* Is what we said of a token that libjwt takes true? */

static int
explained(const char *reason, const char *token)
{
    int           canonical, all, dots, true_reason;
    char         *header, *p, *part;
    json_t       *json, *strict;
    size_t        n, len;
    const char   *alg;
    json_error_t  error;

    all = 1;
    dots = 0;
    header = NULL;
    len = 0;

    for (p = (char *) token; ; p = strchr(p, '.') + 1) {
        part = lenient(p, strcspn(p, "."), &n, &canonical);
        all &= canonical;

        if (dots == 0) {
            header = part;
            len = n;

        } else {
            free(part);
        }

        if (strchr(p, '.') == NULL) {
            break;
        }

        dots++;
    }

    strict = json_loadb(header, len, JSON_REJECT_DUPLICATES, &error);
    json = json_loadb(header, len, JSON_DISABLE_EOF_CHECK, &error);
    alg = json_string_value(json_object_get(json, "alg"));
    part = (char *) json_string_value(json_object_get(json, "kid"));

    if (strcmp(reason, "jwt_too_long") == 0) {
        true_reason = strlen(token) > 8192;

    } else if (strcmp(reason, "jwt_malformed") == 0) {
        true_reason = !all || dots != 2;

    } else if (strcmp(reason, "jwt_header") == 0) {
        true_reason = strict == NULL;

    } else if (strcmp(reason, "jwt_alg") == 0) {
        true_reason = alg == NULL || strcmp(alg, "RS256") != 0;

    } else if (strcmp(reason, "jwt_crit") == 0) {
        true_reason = json_object_get(json, "crit") != NULL
                      || json_object_get(json, "b64") != NULL;

    } else if (strcmp(reason, "jwt_kid") == 0) {
        true_reason = json_object_get(json, "kid") != NULL
                      && (part == NULL || *part == '\0');

    } else if (strcmp(reason, "jwt_key_unknown") == 0) {
        true_reason = part != NULL && strcmp(part, "k") != 0;

    } else {

        /* jwt_signature: libjwt says the signature is good */
        true_reason = 0;
    }

    json_decref(json);
    json_decref(strict);
    free(header);

    return true_reason;
}


static int
theirs(const char *token)
{
    int     good;
    jwt_t  *jwt;

    jwt = NULL;

    if (jwt_decode(&jwt, token, (unsigned char *) pem, (int) strlen(pem))
        != 0)
    {
        ERR_clear_error();
        return 0;
    }

    good = jwt_get_alg(jwt) == JWT_ALG_RS256;

    jwt_free(jwt);
    ERR_clear_error();

    return good;
}


/*
 * What libjwt alone refuses without doubting the signature: a payload that is
 * not JSON (we have not read it yet), and a "typ" other than JWT, at which we
 * do not look.
 */

static int
harmless(ngx_http_unit_jwt_t *jwt)
{
    int            reason, canonical;
    char          *header;
    json_t        *json, *typ;
    size_t         n;
    const char    *dot;
    json_error_t   error;

    json = json_loadb((char *) jwt->payload.data, jwt->payload.len,
                      JSON_REJECT_DUPLICATES, &error);
    reason = json == NULL;
    json_decref(json);

    dot = memchr(jwt->signed_part.data, '.', jwt->signed_part.len);
    header = lenient((char *) jwt->signed_part.data,
                     dot - (char *) jwt->signed_part.data, &n, &canonical);

    json = json_loadb(header, n, 0, &error);
    typ = json_object_get(json, "typ");

    if (typ != NULL
        && (!json_is_string(typ) || strcmp(json_string_value(typ), "JWT")
                                    != 0))
    {
        reason = 1;
    }

    json_decref(json);
    free(header);

    return reason;
}


/* Takes the token. */

static void
compare(char *token)
{
    int                    good;
    ngx_int_t              rc;
    ngx_str_t              s;
    ngx_pool_t            *pool;
    ngx_http_unit_jwt_t    jwt;
    ngx_http_unit_jwk_t   *jwk;

    pool = ngx_create_pool(4096, NULL);

    s.len = strlen(token);
    s.data = ngx_pnalloc(pool, s.len);
    memcpy(s.data, token, s.len);

    rc = ngx_http_unit_jwt_split(pool, &s, &jwt);

    if (rc == NGX_OK) {
        rc = ngx_http_unit_jwt_verify(&jwt, set, &jwk);
    }

    good = theirs(token);

    if (rc == NGX_OK && good) {
        both++;

    } else if (rc == NGX_OK) {

        if (!harmless(&jwt)) {
            laxer++;
            diag("accepted by us alone: %s", token);
        }

    } else if (rc != NGX_DECLINED || jwt.reason == NULL) {
        unexplained++;
        diag("neither accepted nor declined: %s", token);

    } else if (good) {
        stricter++;

        if (!explained(jwt.reason, token)) {
            unexplained++;
            diag("%s is not true of %s", jwt.reason, token);
        }

    } else {
        neither++;
    }

    ngx_destroy_pool(pool);
    free(token);
}


/* Change a text a little.  Takes it. */

static char *
mutate(char *text, const char *alphabet)
{
    char    *p, c;
    size_t   len, at, n;

    len = strlen(text);
    p = malloc(2 * len + 16);
    memcpy(p, text, len + 1);
    free(text);

    at = len ? kit_random((unsigned) len) : 0;
    c = alphabet[kit_random((unsigned) strlen(alphabet))];

    switch (kit_random(len ? 7 : 1)) {

    case 0: /* insert */
        memmove(p + at + 1, p + at, len - at + 1);
        p[at] = c;
        break;

    case 1: /* remove */
        memmove(p + at, p + at + 1, len - at);
        break;

    case 2: /* append */
        p[len] = c;
        p[len + 1] = '\0';
        break;

    case 3: /* cut off */
        p[len - kit_random(len > 4 ? 4 : (unsigned) len)] = '\0';
        break;

    case 4: /* repeat a piece */
        n = kit_random((unsigned) (len - at)) + 1;
        memmove(p + at + n, p + at, len - at + 1);
        break;

    default: /* replace */
        p[at] = c;
    }

    return p;
}


static void
changed_bytes(void)
{
    char      *tokens[4], *token;
    unsigned   i, n;

    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        "..==+/ \n\t%{\"\x7f\xc3";

    for (i = 0; i < 4; i++) {
        tokens[i] = kit_token(key, headers[i % 3], payloads[i % 2]);
        compare(kit_format("%s", tokens[i]));
    }

    is(both, 4, "good tokens are good for both");

    for (i = 0; i < BYTES; i++) {
        token = kit_format("%s", tokens[i % 4]);

        /* the last characters hold bits that no byte uses */

        if (i % 8 == 0) {
            token[strlen(token) - 1] = alphabet[kit_random(64)];

        } else {

            for (n = kit_random(3) + 1; n; n--) {
                token = mutate(token, alphabet);
            }
        }

        compare(token);
    }

    for (i = 0; i < 4; i++) {
        free(tokens[i]);
    }
}


static void
changed_texts(void)
{
    char      *h, *p;
    unsigned   i, n;

    static const char  alphabet[] = "{}[]\",:\\u0aeE+-.19 \n\t\x7f\xc3\xa4kRS";

    for (i = 0; i < TEXTS; i++) {
        h = kit_format("%s", headers[kit_random(12)]);
        p = kit_format("%s", payloads[kit_random(4)]);

        for (n = kit_random(3); n; n--) {

            if (kit_random(4) != 0) {
                h = mutate(h, alphabet);

            } else {
                p = mutate(p, alphabet);
            }
        }

        compare(kit_token(key, h, p));

        free(h);
        free(p);
    }
}


int
main(void)
{
    char        *jwk, *text;
    const char  *reason;

    key = kit_rsa(2048, 65537);
    pem = kit_pem(key);
    jwk = kit_jwk(key, ",\"kid\":\"k\"");
    text = kit_format("{\"keys\":[%s]}", jwk);

    set_pool = ngx_create_pool(4096, NULL);

    if (!is(ngx_http_unit_jwks_parse(set_pool, (u_char *) text, strlen(text),
                                     1, &set, &reason),
            NGX_OK, "key set"))
    {
        return done_testing();
    }

    changed_bytes();
    changed_texts();

    diag("both accept %u, both refuse %u, we alone refuse %u", both, neither,
         stricter);

    is(laxer, 0, "we accept no signature that libjwt refuses");
    is(unexplained, 0, "where we are stricter the reason is true");
    ok(both > 100, "many were good for both");
    ok(neither > 1000, "many were bad for both");
    ok(stricter > 100, "we were stricter often enough to prove something");

    free(jwk);
    free(text);
    free(pem);
    EVP_PKEY_free(key);
    ngx_destroy_pool(set_pool);

    return done_testing();
}
