
/*
 * POST /customers/ID/token/verification: Unit sends a code to the user's
 * phone; the client gets a handle instead of Unit's verification token.
 */


#include "ngx_http_unit_budget.h"
#include "ngx_http_unit_limit.h"
#include "ngx_http_unit_metrics.h"
#include "ngx_http_unit_two_factor.h"


#define NGX_HTTP_UNIT_VERIFICATION_APP_HASH  11

/* when there is no room, in seconds */
#define NGX_HTTP_UNIT_VERIFICATION_FULL      60


static ngx_uint_t ngx_http_unit_verification_valid(json_t *attributes,
    const char **reason);
static ngx_uint_t ngx_http_unit_verification_phone(json_t *phone);
static ngx_uint_t ngx_http_unit_verification_digits(json_t *value,
    size_t min, size_t max);
static ngx_uint_t ngx_http_unit_verification_app_hash(json_t *value);
static ngx_int_t ngx_http_unit_verification_begin(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason);
static void ngx_http_unit_verification_undo(ngx_http_unit_two_factor_t *tf,
    ngx_uint_t address);
static ngx_int_t ngx_http_unit_verification_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes);
static void ngx_http_unit_verification_refused(
    ngx_http_unit_two_factor_t *tf);
static void ngx_http_unit_verification_done(ngx_http_unit_fetch_t *fetch);
static ngx_int_t ngx_http_unit_verification_token(ngx_http_unit_fetch_t *fetch,
    ngx_str_t *token);
static ngx_int_t ngx_http_unit_verification_answer(
    ngx_http_unit_two_factor_t *tf);


static const char  *ngx_http_unit_verification_attributes[] = {
    "channel", "phone", "appHash", "language", NULL
};


/* of Unit's OpenAPI description */
static const char  *ngx_http_unit_verification_languages[] = {
    "af", "ar", "ca", "cs", "da", "de", "el", "en", "en-GB", "es", "et", "fi",
    "fr", "he", "hi", "hr", "hu", "id", "it", "ja", "kn", "ko", "mr", "ms",
    "nb", "nl", "pl", "pt", "pt-BR", "ro", "ru", "sk", "sv", "te", "th", "tl",
    "tr", "vi", "zh", "zh-CN", "zh-HK", NULL
};


ngx_int_t
ngx_http_unit_verification(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason)
{
    json_t               *root, *attributes;
    ngx_int_t             rc;
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (ctx->identity.partner->two_factor_jwt) {
        *code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
        *reason = "two_factor_jwt";
        return NGX_DECLINED;
    }

    attributes = ngx_http_unit_two_factor_attributes(ctx,
                                      "customerTokenVerification",
                                      ngx_http_unit_verification_attributes,
                                      &root, code, reason);
    if (attributes == NULL) {
        return NGX_DECLINED;
    }

    if (!ngx_http_unit_verification_valid(attributes, reason)) {
        json_decref(root);
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_verification_begin(r, tf, code, reason);

    if (rc == NGX_OK) {

        rc = ngx_http_unit_verification_send(r, tf, attributes);

        if (rc == NGX_ERROR) {
            ngx_http_unit_verification_undo(tf, 1);
        }
    }

    json_decref(root);

    return rc;
}


/* count the start, and make room for what comes of it */

static ngx_int_t
ngx_http_unit_verification_begin(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, ngx_http_unit_code_e *code,
    const char **reason)
{
    ngx_int_t             rc;
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    *code = NGX_HTTP_UNIT_TWO_FACTOR_LIMITED;

    if (ctx->ulcf->limits != NGX_HTTP_UNIT_LIMITS_OFF) {
        rc = ngx_http_unit_limit_start(ctx->umcf->shm, &ctx->customer,
                                       r->connection->sockaddr,
                                       &ctx->retry_after);
        if (rc != NGX_OK) {
            *reason = "verification_starts";
            return rc;
        }
    }

    rc = ngx_http_unit_handle_reserve(ctx->umcf->shm, tf->owner, tf->reserved);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (ctx->ulcf->limits != NGX_HTTP_UNIT_LIMITS_OFF) {
        ngx_http_unit_limit_undo(ctx->umcf->shm, &ctx->customer,
                                 r->connection->sockaddr);
    }

    ctx->retry_after = NGX_HTTP_UNIT_VERIFICATION_FULL;
    *reason = "zone_full";

    return rc;
}


/*
 * No message was sent: the user may try again.
 *
 *   address  0: it goes on counting for the client's address
 */

static void
ngx_http_unit_verification_undo(ngx_http_unit_two_factor_t *tf,
    ngx_uint_t address)
{
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    ngx_http_unit_handle_drop(ctx->umcf->shm, tf->owner, tf->reserved);

    if (ctx->ulcf->limits != NGX_HTTP_UNIT_LIMITS_OFF) {
        ngx_http_unit_limit_undo(ctx->umcf->shm, &ctx->customer,
                               address ? ctx->request->connection->sockaddr
                                       : NULL);
    }
}


static ngx_uint_t
ngx_http_unit_verification_valid(json_t *attributes, const char **reason)
{
    json_t       *value;
    ngx_uint_t    sms;
    const char   *s, **language;

    value = json_object_get(attributes, "channel");
    s = json_string_value(value);

    sms = (s && ngx_strcmp(s, "sms") == 0);

    if (!sms && (s == NULL || ngx_strcmp(s, "call") != 0)) {
        *reason = "verification_channel";
        return 0;
    }

    value = json_object_get(attributes, "phone");

    if (value && !ngx_http_unit_verification_phone(value)) {
        *reason = "verification_phone";
        return 0;
    }

    value = json_object_get(attributes, "appHash");

    if (value && (!sms || !ngx_http_unit_verification_app_hash(value))) {
        *reason = "verification_app_hash";
        return 0;
    }

    value = json_object_get(attributes, "language");

    if (value == NULL) {
        return 1;
    }

    s = json_string_value(value);

    for (language = ngx_http_unit_verification_languages;
         s && *language;
         language++)
    {
        if (ngx_strcmp(*language, s) == 0) {
            return 1;
        }
    }

    *reason = "verification_language";

    return 0;
}


static ngx_uint_t
ngx_http_unit_verification_phone(json_t *phone)
{
    return json_is_object(phone)
           && json_object_size(phone) == 2
           && ngx_http_unit_verification_digits(
                                 json_object_get(phone, "countryCode"), 1, 3)
           && ngx_http_unit_verification_digits(
                                 json_object_get(phone, "number"), 4, 15);
}


static ngx_uint_t
ngx_http_unit_verification_digits(json_t *value, size_t min, size_t max)
{
    size_t       i, len;
    const char  *s;

    s = json_string_value(value);
    len = json_string_length(value);

    if (s == NULL || len < min || len > max) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return 0;
        }
    }

    return 1;
}


/*
 * 11 characters of base64.  They become part of the message: whatever could
 * be read as an address of the web has no place in it.
 */

static ngx_uint_t
ngx_http_unit_verification_app_hash(json_t *value)
{
    size_t       i;
    const char  *s;

    s = json_string_value(value);

    if (s == NULL
        || json_string_length(value) != NGX_HTTP_UNIT_VERIFICATION_APP_HASH)
    {
        return 0;
    }

    for (i = 0; i < NGX_HTTP_UNIT_VERIFICATION_APP_HASH; i++) {

        if (!((s[i] >= '0' && s[i] <= '9')
              || ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z')
              || s[i] == '+' || s[i] == '/' || s[i] == '-' || s[i] == '_'
              || s[i] == '='))
        {
            return 0;
        }
    }

    return 1;
}


/* what was checked, and nothing else that the client's document may hold */

static ngx_int_t
ngx_http_unit_verification_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes)
{
    json_t     *body;
    ngx_int_t   rc;

    body = json_pack("{s:{s:s, s:O}}",
                     "data", "type", "customerTokenVerification",
                     "attributes", attributes);
    if (body == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_two_factor_send(r, tf, "/token/verification", body,
                                       ngx_http_unit_verification_done);
    json_decref(body);

    return rc;
}


/* in the context of the subrequest: also when the client has gone */

static void
ngx_http_unit_verification_done(ngx_http_unit_fetch_t *fetch)
{
    ngx_int_t                    rc;
    ngx_str_t                    token;
    ngx_http_unit_ctx_t         *ctx;
    ngx_http_unit_two_factor_t  *tf;

    tf = fetch->data;
    ctx = tf->ctx;

    rc = NGX_DECLINED;

    if (fetch->error == NGX_HTTP_UNIT_FETCH_OK
        && (fetch->status == NGX_HTTP_CREATED || fetch->status == NGX_HTTP_OK))
    {
        rc = ngx_http_unit_verification_token(fetch, &token);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_unit_verification_refused(tf);
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_STARTED);

        rc = ngx_http_unit_handle_keep(ctx->umcf->shm, tf->owner,
                                       tf->reserved, &token);

        ngx_explicit_memzero(token.data, token.len);

        if (rc == NGX_DECLINED) {

            /* a session that was logged out meanwhile stays so */

            tf->code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
            tf->reason = "verification_failed";
            return;
        }
    }

    if (rc != NGX_OK || ngx_http_unit_verification_answer(tf) != NGX_OK) {
        tf->code = NGX_HTTP_UNIT_INTERNAL_ERROR;
    }
}


static void
ngx_http_unit_verification_refused(ngx_http_unit_two_factor_t *tf)
{
    ngx_http_unit_ctx_t    *ctx;
    ngx_http_unit_fetch_t  *fetch;

    ctx = tf->ctx;
    fetch = &tf->fetch;

    if (!ngx_http_unit_two_factor_failed(tf)) {

        if (fetch->status == NGX_HTTP_FORBIDDEN) {

            /* nothing a client could ask for is forbidden, our token is */

            tf->code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;

        } else {

            /* a phone that is not the customer's, say */

            tf->code = NGX_HTTP_UNIT_INVALID_BODY;
            tf->reason = "verification_refused";
        }
    }

    if (tf->code != NGX_HTTP_UNIT_INVALID_BODY) {

        /* that one is the client's and logged as any refusal */

        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "unit verification: not started, status %ui, id: %V",
                      fetch->status, &ctx->request_id);
    }

    if ((fetch->error != NGX_HTTP_UNIT_FETCH_OK && fetch->sent)
        || (fetch->error == NGX_HTTP_UNIT_FETCH_OK
            && fetch->status < NGX_HTTP_BAD_REQUEST))
    {
        /* nobody knows: a message may be under way, so it counts */

        ngx_http_unit_handle_drop(ctx->umcf->shm, tf->owner, tf->reserved);
        return;
    }

    /*
     * What can be the client's doing, or can have sent a message after all,
     * goes on counting for the address: else it could be repeated without
     * end, to guess at phone numbers for one.
     */

    ngx_http_unit_verification_undo(tf,
                           tf->code != NGX_HTTP_UNIT_INVALID_BODY
                           && fetch->status < NGX_HTTP_INTERNAL_SERVER_ERROR);
}


static ngx_int_t
ngx_http_unit_verification_token(ngx_http_unit_fetch_t *fetch,
    ngx_str_t *token)
{
    size_t                       len;
    json_t                      *root, *value;
    ngx_int_t                    rc;
    json_error_t                 error;
    ngx_http_unit_two_factor_t  *tf;

    tf = fetch->data;

    root = json_loadb((char *) fetch->answer.data, fetch->answer.len,
                      JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return NGX_DECLINED;
    }

    value = json_object_get(json_object_get(json_object_get(root, "data"),
                                            "attributes"),
                            "verificationToken");

    len = json_string_length(value);
    rc = NGX_DECLINED;

    if (json_is_string(value) && len && len <= NGX_HTTP_UNIT_HANDLE_TOKEN) {

        rc = NGX_ERROR;
        token->data = ngx_pnalloc(tf->ctx->request->pool, len);

        if (token->data) {
            ngx_memcpy(token->data, json_string_value(value), len);
            token->len = len;
            rc = NGX_OK;
        }

        ngx_explicit_memzero((void *) json_string_value(value), len);
    }

    json_decref(root);

    ngx_explicit_memzero(fetch->answer.data, fetch->answer.len);

    return rc;
}


static ngx_int_t
ngx_http_unit_verification_answer(ngx_http_unit_two_factor_t *tf)
{
    u_char  *p;

    static const char  head[] =
        "{\"data\":{\"type\":\"customerTokenVerification\",\"attributes\":"
        "{\"verificationToken\":\"";
    static const char  tail[] = "\"}}}";

    p = ngx_pnalloc(tf->ctx->request->pool,
                    sizeof(head) + NGX_HTTP_UNIT_HANDLE_LEN + sizeof(tail));
    if (p == NULL) {
        return NGX_ERROR;
    }

    tf->answer.data = p;

    p = ngx_cpymem(p, head, sizeof(head) - 1);
    p = ngx_cpymem(p, tf->reserved, NGX_HTTP_UNIT_HANDLE_LEN);
    p = ngx_cpymem(p, tail, sizeof(tail) - 1);

    tf->answer.len = p - tf->answer.data;

    return NGX_OK;
}
