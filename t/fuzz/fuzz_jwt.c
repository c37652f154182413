
/*
 * Fuzz target: tokens.  An input that starts with "{" or a space is a header
 * text, a line feed and a payload text, which are made a token here; any
 * other is a token itself.  What is accepted is compared with what jansson
 * and libjwt read in it; what is refused must be wrong in the way that the
 * reason says.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <math.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/err.h>
#include "ngx_http_unit_jwt.h"
#include "ngx_stub.h"
#include "fuzz.h"


#define NOW       1000000000
#define MAX_SURE  4503599627370496    /* 2^52: doubles are exact below */


/* RFC 7515, appendix A.2: one of the seeds verifies with it */

static char  fuzz_keys[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\""
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJ"
    "rcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo"
    "9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapH"
    "g665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_"
    "h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}]}";

static ngx_pool_t                 *fuzz_pool;
static ngx_http_unit_jwks_t       *fuzz_set;
static ngx_http_unit_jwt_rules_t   fuzz_rules;


static void
fuzz_init(void)
{
    const char  *reason;

    if (fuzz_pool != NULL) {
        return;
    }

    fuzz_pool = ngx_create_pool(4096, NULL);

    fuzz_assert(ngx_http_unit_jwks_parse(fuzz_pool, (u_char *) fuzz_keys,
                                         sizeof(fuzz_keys) - 1, 1, &fuzz_set,
                                         &reason)
                == NGX_OK);

    ngx_str_set(&fuzz_rules.issuer, "i");
    ngx_str_set(&fuzz_rules.audience, "gw");
    ngx_str_set(&fuzz_rules.customer_claim, "c[].d");
    ngx_str_set(&fuzz_rules.role_claim, "role");
    ngx_str_set(&fuzz_rules.session_claim, "sid");
    ngx_str_set(&fuzz_rules.amr_value, "mfa");
    fuzz_rules.leeway = 30;

    fuzz_assert(ngx_http_unit_jwt_rules_init(fuzz_pool, &fuzz_rules)
                == NGX_OK);
}


static int
fuzz_is(json_t *json, ngx_str_t *s)
{
    return json_is_string(json) && json_string_length(json) == s->len
           && memcmp(json_string_value(json), s->data, s->len) == 0;
}


/*
 * 1: a number, 0: none, -1: too close to the edge to say.  Whole seconds are
 * *value or, where a double may have been rounded up to it, *value - *less.
 */

static int
fuzz_seconds(json_t *json, int64_t *value, int64_t *less)
{
    double  d;

    if (!json_is_number(json)) {
        return 0;
    }

    d = floor(json_number_value(json));

    if (fabs(d) >= MAX_SURE) {
        return -1;
    }

    *value = (int64_t) d;
    *less = json_is_real(json) && d == json_number_value(json);

    return 1;
}


/* sure: without what a double leaves open */

static int
fuzz_begun(json_t *json, int sure)
{
    int      rc;
    int64_t  value, less;

    if (json == NULL) {
        return 1;
    }

    rc = fuzz_seconds(json, &value, &less);

    return rc == 1 ? value - (sure ? 0 : less) <= NOW + 30 : rc;
}


static int
fuzz_holds(json_t *json, const char *text)
{
    int      found;
    json_t  *item;
    size_t   i;

    if (json_is_string(json)) {
        return strcmp(json_string_value(json), text) == 0;
    }

    found = 0;

    json_array_foreach(json, i, item) {

        if (!json_is_string(item)) {
            return 0;
        }

        found |= strcmp(json_string_value(item), text) == 0;
    }

    return found;
}


/* The value of claims that were accepted, by another parser. */

static void
fuzz_accepted(json_t *json, ngx_http_unit_jwt_claims_t *claims)
{
    char        number[32];
    json_t     *value, *item;
    int64_t     exp, less;
    ngx_str_t   s;
    ngx_uint_t  i;

    fuzz_assert(fuzz_is(json_object_get(json, "iss"), &fuzz_rules.issuer));
    fuzz_assert(fuzz_is(json_object_get(json, "sub"), &claims->subject));
    fuzz_assert(claims->subject.len > 0 && claims->subject.len <= 255);
    fuzz_assert(fuzz_holds(json_object_get(json, "aud"), "gw"));
    fuzz_assert(fuzz_begun(json_object_get(json, "nbf"), 0) == 1);
    fuzz_assert(fuzz_begun(json_object_get(json, "iat"), 0) == 1);

    switch (fuzz_seconds(json_object_get(json, "exp"), &exp, &less)) {

    case 0:
        fuzz_assert(0);
        break;

    case 1:
        fuzz_assert((exp == claims->exp || exp - less == claims->exp)
                    && claims->exp > NOW - 30);
    }

    value = json_object_get(json, "role");
    fuzz_assert(claims->has_role == (value != NULL));
    fuzz_assert(json_is_string(value) ? fuzz_is(value, &claims->role)
                                      : claims->role.len == 0);

    value = json_object_get(json, "sid");
    fuzz_assert(value ? fuzz_is(value, &claims->session)
                      : claims->session.len == 0);

    fuzz_assert(claims->amr
                == (ngx_uint_t) fuzz_holds(json_object_get(json, "amr"),
                                           "mfa"));

    value = json_object_get(json, "c[].d");

    if (value == NULL || json_is_null(value)) {
        fuzz_assert(claims->ncustomers == 0);
        return;
    }

    fuzz_assert(claims->ncustomers
                == (json_is_array(value) ? json_array_size(value) : 1));

    for (i = 0; i < claims->ncustomers; i++) {
        item = json_is_array(value) ? json_array_get(value, i) : value;
        s = claims->customers[i];

        if (json_is_integer(item)) {
            sprintf(number, "%lld", (long long) json_integer_value(item));
            fuzz_assert(s.len == strlen(number)
                        && memcmp(s.data, number, s.len) == 0);

        } else {
            fuzz_assert(fuzz_is(item, &s));
        }

        fuzz_assert(s.len > 0 && s.len <= 64);
    }
}


/* What a refusal says must be so. */

static void
fuzz_refused(json_t *json, const char *reason)
{
    int      rc;
    json_t  *sub;
    int64_t  exp, less;

    sub = json_object_get(json, "sub");
    rc = fuzz_seconds(json_object_get(json, "exp"), &exp, &less);

    if (strcmp(reason, "jwt_iss") == 0) {
        fuzz_assert(!fuzz_is(json_object_get(json, "iss"),
                             &fuzz_rules.issuer));

    } else if (strcmp(reason, "jwt_exp") == 0) {
        fuzz_assert(rc != 1);

    } else if (strcmp(reason, "jwt_expired") == 0) {
        fuzz_assert(rc == -1 || (rc == 1 && exp - less <= NOW - 30));

    } else if (strcmp(reason, "jwt_nbf") == 0) {
        fuzz_assert(fuzz_begun(json_object_get(json, "nbf"), 1) != 1);

    } else if (strcmp(reason, "jwt_iat") == 0) {
        fuzz_assert(fuzz_begun(json_object_get(json, "iat"), 1) != 1);

    } else if (strcmp(reason, "jwt_aud") == 0) {
        fuzz_assert(!fuzz_holds(json_object_get(json, "aud"), "gw"));

    } else if (strcmp(reason, "jwt_sub") == 0) {
        fuzz_assert(!json_is_string(sub) || json_string_length(sub) == 0
                    || json_string_length(sub) > 255
                    || strpbrk(json_string_value(sub),
                               "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20\21"
                               "\22\23\24\25\26\27\30\31\32\33\34\35\36\37"
                               "\177\xc2"));

    } else if (strcmp(reason, "jwt_customer") == 0) {
        fuzz_assert(json_object_get(json, "c[].d") != NULL);

    } else {
        fuzz_assert(strcmp(reason, "jwt_session") == 0
                    && json_object_get(json, "sid") != NULL);
    }
}


/*
 * libjwt can read what we can, but it wants "typ" to be JWT or absent; and it
 * reads the same claims (accepted is NULL when ours refused them).
 */

static void
fuzz_libjwt(ngx_pool_t *pool, const char *token,
    ngx_http_unit_jwt_claims_t *accepted)
{
    jwt_t         *jwt;
    u_char        *p;
    json_t        *json, *typ;
    ssize_t        n;
    int64_t        sure;
    const char    *text;
    json_error_t   error;

    /* a constant is compared in vain where time_t has 32 bits */
    sure = MAX_SURE;

    n = strchr(token, '.') - token;
    p = ngx_pnalloc(pool, n + 3);
    n = ngx_http_unit_base64url_decode(p, (u_char *) token, n);

    json = json_loadb((char *) p, n, 0, &error);
    typ = json_object_get(json, "typ");

    if (typ == NULL || (json_is_string(typ) && fuzz_holds(typ, "JWT"))) {
        fuzz_assert(jwt_decode(&jwt, token, NULL, 0) == 0);
        fuzz_assert(strcmp(jwt_get_header(jwt, "alg"), "RS256") == 0);

        if (accepted) {
            text = jwt_get_grant(jwt, "iss");
            fuzz_assert(text != NULL && strcmp(text, "i") == 0);

            text = jwt_get_grant(jwt, "sub");
            fuzz_assert(text != NULL
                        && strlen(text) == accepted->subject.len
                        && memcmp(text, accepted->subject.data, strlen(text))
                           == 0);

            /* 0: not an integer */
            fuzz_assert(jwt_get_grant_int(jwt, "exp") == 0
                        || jwt_get_grant_int(jwt, "exp") == accepted->exp
                        || sure <= accepted->exp);
        }

        jwt_free(jwt);
    }

    json_decref(json);
}


static void
fuzz_claims(ngx_pool_t *pool, ngx_http_unit_jwt_t *jwt, const char *token)
{
    json_t                      *json;
    ngx_int_t                    rc, issued;
    ngx_str_t                    issuer;
    json_error_t                 error;
    ngx_http_unit_jwt_claims_t   claims, again;

    rc = ngx_http_unit_jwt_claims(pool, jwt, &fuzz_rules, NOW, &claims);
    fuzz_assert(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_assert((rc == NGX_OK) == (claims.reason == NULL));

    json = json_loadb((char *) jwt->payload.data, jwt->payload.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (rc != NGX_OK && strcmp(claims.reason, "jwt_payload") == 0) {
        fuzz_assert(claims.exp == 0 && claims.subject.len == 0);

    } else {
        fuzz_assert(json_is_object(json));

        if (rc == NGX_OK) {
            fuzz_accepted(json, &claims);

        } else {
            fuzz_refused(json, claims.reason);
        }

        fuzz_libjwt(pool, token, rc == NGX_OK ? &claims : NULL);
    }

    /* the second scan of the claims is spared, and changes nothing */

    issued = ngx_http_unit_jwt_issuer_unsafe(pool, jwt, &fuzz_rules, &issuer);

    fuzz_assert(ngx_http_unit_jwt_claims(pool, jwt, &fuzz_rules, NOW, &again)
                == rc);
    fuzz_assert(again.ncustomers == claims.ncustomers
                && again.exp == claims.exp
                && again.subject.len == claims.subject.len
                && (claims.subject.len == 0
                    || memcmp(again.subject.data, claims.subject.data,
                              claims.subject.len)
                       == 0));

    if (issued == NGX_OK) {
        fuzz_assert(fuzz_is(json_object_get(json, "iss"), &issuer));

    } else {
        fuzz_assert(rc != NGX_OK);
    }

    json_decref(json);
}


/* A token that was split: it has one spelling, and this is it. */

static void
fuzz_split(ngx_pool_t *pool, ngx_http_unit_jwt_t *jwt, ngx_str_t *token)
{
    u_char        *dot, *p;
    json_t        *json, *value;
    ssize_t        n;
    ngx_str_t      parts;
    json_error_t   error;

    fuzz_assert(token->len <= NGX_HTTP_UNIT_JWT_MAX_LEN);
    fuzz_assert(jwt->signed_part.data == token->data);

    dot = memchr(token->data, '.', token->len);
    fuzz_assert(dot != NULL);

    p = ngx_pnalloc(pool, token->len);
    n = ngx_http_unit_base64url_decode(p, token->data, dot - token->data);
    fuzz_assert(n > 0);

    json = json_loadb((char *) p, n, JSON_REJECT_DUPLICATES, &error);
    fuzz_assert(json_is_object(json));
    fuzz_assert(fuzz_holds(json_object_get(json, "alg"), "RS256")
                && json_is_string(json_object_get(json, "alg")));
    fuzz_assert(json_object_get(json, "crit") == NULL);
    fuzz_assert(json_object_get(json, "b64") == NULL);

    value = json_object_get(json, "kid");
    fuzz_assert(jwt->has_kid == (value != NULL));
    fuzz_assert(value ? fuzz_is(value, &jwt->kid) && jwt->kid.len > 0
                      : jwt->kid.len == 0);
    json_decref(json);

    /* written again it is the same */

    parts.data = ngx_pnalloc(pool, token->len + 8);
    parts.len = ngx_http_unit_base64url_encode(parts.data, p, n);
    parts.data[parts.len++] = '.';
    parts.len += ngx_http_unit_base64url_encode(parts.data + parts.len,
                                                jwt->payload.data,
                                                jwt->payload.len);
    fuzz_assert(parts.len == jwt->signed_part.len);
    parts.data[parts.len++] = '.';
    parts.len += ngx_http_unit_base64url_encode(parts.data + parts.len,
                                                jwt->signature.data,
                                                jwt->signature.len);
    fuzz_assert(parts.len == token->len
                && memcmp(parts.data, token->data, token->len) == 0);
}


/* one part in canonical base64url: not empty, no bits left over */

static int
fuzz_part(const uint8_t *p, size_t len)
{
    size_t       i;
    uint8_t      left;
    const char  *digit;

    static const char  *alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    if (len == 0 || len % 4 == 1) {
        return 0;
    }

    left = 0;

    for (i = 0; i < len; i++) {
        digit = p[i] ? strchr(alphabet, p[i]) : NULL;

        if (digit == NULL) {
            return 0;
        }

        left = digit - alphabet;
    }

    return len % 4 == 0 || (left & (len % 4 == 2 ? 15 : 3)) == 0;
}


/* The header of a well-formed token that was refused: is it so? */

static void
fuzz_header(ngx_pool_t *pool, uint8_t *data, size_t len, const char *reason)
{
    u_char        *p;
    json_t        *json, *value;
    ssize_t        n;
    json_error_t   error;

    p = ngx_pnalloc(pool, len + 3);
    n = ngx_http_unit_base64url_decode(p, data, len);
    fuzz_assert(n >= 0);

    json = json_loadb((char *) p, n, JSON_REJECT_DUPLICATES, &error);

    if (strcmp(reason, "jwt_header") == 0) {

        /* jansson allows more depth, and loses a NUL after a number */

        fuzz_assert(!json_is_object(json) || memchr(p, '\0', n) != NULL
                    || n > 2 * NGX_HTTP_UNIT_JSON_MAX_DEPTH);

    } else if (strcmp(reason, "jwt_alg") == 0) {
        value = json_object_get(json, "alg");
        fuzz_assert(!json_is_string(value) || !fuzz_holds(value, "RS256"));

    } else if (strcmp(reason, "jwt_crit") == 0) {
        fuzz_assert(json_object_get(json, "crit") != NULL
                    || json_object_get(json, "b64") != NULL);

    } else {
        value = json_object_get(json, "kid");
        fuzz_assert(strcmp(reason, "jwt_kid") == 0 && value != NULL);
        fuzz_assert(!json_is_string(value) || json_string_length(value) == 0
                    || json_string_length(value) > NGX_HTTP_UNIT_JWK_MAX_KID);
    }

    json_decref(json);
}


/* Refused by its form: nothing else may be, and that must be. */

static void
fuzz_form(ngx_pool_t *pool, uint8_t *data, size_t len, const char *reason)
{
    int       good;
    uint8_t  *last, *one, *two;

    last = data + len;
    one = memchr(data, '.', len);
    two = one ? memchr(one + 1, '.', last - one - 1) : NULL;

    good = two != NULL && fuzz_part(data, one - data)
           && fuzz_part(one + 1, two - one - 1)
           && fuzz_part(two + 1, last - two - 1);

    if (len > NGX_HTTP_UNIT_JWT_MAX_LEN) {
        fuzz_assert(reason != NULL && strcmp(reason, "jwt_too_long") == 0);
        return;
    }

    if (!good) {
        fuzz_assert(reason != NULL && strcmp(reason, "jwt_malformed") == 0);
        return;
    }

    if (reason != NULL) {
        fuzz_header(pool, data, one - data, reason);
    }
}


static void
fuzz_token(ngx_pool_t *pool, uint8_t *data, size_t len)
{
    char                 *text;
    ngx_int_t             rc;
    ngx_str_t             token;
    ngx_http_unit_jwt_t   jwt;
    ngx_http_unit_jwk_t  *key;

    token.data = data;
    token.len = len;

    rc = ngx_http_unit_jwt_split(pool, &token, &jwt);

    fuzz_assert(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_assert((rc == NGX_OK) == (jwt.reason == NULL));

    fuzz_form(pool, data, len, jwt.reason);

    if (rc != NGX_OK) {
        return;
    }

    fuzz_split(pool, &jwt, &token);

    text = malloc(len + 1);
    memcpy(text, data, len);
    text[len] = '\0';

    fuzz_claims(pool, &jwt, text);

    rc = ngx_http_unit_jwt_verify(&jwt, fuzz_set, &key);

    fuzz_assert(rc == NGX_OK || rc == NGX_DECLINED);
    fuzz_assert((rc == NGX_OK) == (key != NULL));
    fuzz_assert(ERR_peek_error() == 0);

    /* nobody but the RFC's authors had the key; a signature has one form */

    fuzz_assert(rc != NGX_OK
                || (len == 458
                    && strstr(text, "eyJhbGciOiJSUzI1NiJ9."
                                    "eyJpc3MiOiJqb2UiLA0K") == text));
    free(text);
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    u_char      *token, *payload;
    size_t       n, hlen;
    ngx_pool_t  *pool;

    fuzz_init();

    pool = ngx_create_pool(4096, NULL);

    if (len == 0 || (data[0] != '{' && data[0] != ' ')) {
        fuzz_token(pool, data, len);
        ngx_destroy_pool(pool);
        return;
    }

    payload = memchr(data, '\n', len);
    hlen = payload ? (size_t) (payload - data) : len;
    payload = payload ? payload + 1 : data + len;

    token = malloc(4 * len / 3 + 16);
    n = ngx_http_unit_base64url_encode(token, data, hlen);
    token[n++] = '.';
    n += ngx_http_unit_base64url_encode(token + n, payload,
                                        data + len - payload);
    token[n++] = '.';
    memcpy(token + n, "AAAA", 4);

    fuzz_token(pool, token, n + 4);

    free(token);
    ngx_destroy_pool(pool);
}
