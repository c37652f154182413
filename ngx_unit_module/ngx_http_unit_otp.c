
/*
 * A token by one-time password, see ngx_http_unit_two_factor.h: the handle is
 * exchanged for Unit's verification token, the code put to Unit, and what that
 * earns is kept for the session that has earned it.
 */


#include "ngx_http_unit_metrics.h"
#include "ngx_http_unit_token.h"
#include "ngx_http_unit_two_factor.h"


#define NGX_HTTP_UNIT_OTP_CODE_LEN  6
#define NGX_HTTP_UNIT_OTP_SANDBOX   "000001"

/* of a token for the vault, in seconds */
#define NGX_HTTP_UNIT_OTP_HANDOFF   300


static ngx_uint_t ngx_http_unit_otp_is_code(ngx_str_t *otp);
static void ngx_http_unit_otp_life(ngx_http_unit_two_factor_t *tf);
static ngx_int_t ngx_http_unit_otp_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes, ngx_str_t *token);
static void ngx_http_unit_otp_done(ngx_http_unit_fetch_t *fetch);
static void ngx_http_unit_otp_count_wrong(ngx_http_unit_ctx_t *ctx,
    ngx_uint_t rv);
static ngx_http_unit_handle_outcome_e ngx_http_unit_otp_refused(
    ngx_http_unit_two_factor_t *tf);
static ngx_int_t ngx_http_unit_otp_granted(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *token, time_t seconds);
static ngx_int_t ngx_http_unit_otp_keep(ngx_http_unit_two_factor_t *tf,
    ngx_str_t *token, time_t seconds);


ngx_int_t
ngx_http_unit_otp(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes,
    ngx_http_unit_code_e *code, const char **reason)
{
    json_t               *value;
    ngx_int_t             rc;
    ngx_str_t             otp, token;
    ngx_uint_t            sandbox, rv;
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (ctx->identity.partner->two_factor_jwt) {
        *code = NGX_HTTP_UNIT_OPERATION_NOT_ALLOWED;
        *reason = "two_factor_jwt";
        return NGX_DECLINED;
    }

    value = json_object_get(attributes, "verificationCode");
    otp.data = (u_char *) json_string_value(value);
    otp.len = json_string_length(value);

    if (!ngx_http_unit_otp_is_code(&otp)) {
        *code = NGX_HTTP_UNIT_INVALID_BODY;
        *reason = "verification_code";
        return NGX_DECLINED;
    }

    *code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
    *reason = "verification_failed";

    sandbox = (ngx_memcmp(otp.data, NGX_HTTP_UNIT_OTP_SANDBOX, otp.len) == 0);

    ngx_str_null(&token);

    value = json_object_get(attributes, "verificationToken");

    if (value == NULL) {

        /* what only Unit's sandbox knows */

        if (!sandbox || !ctx->ulcf->sandbox) {
            ngx_http_unit_metrics_count(ctx->umcf,
                                        NGX_HTTP_UNIT_METRICS_EXPIRED);
            return NGX_DECLINED;
        }

        return ngx_http_unit_otp_send(r, tf, attributes, &token);
    }

    tf->handle.len = json_string_length(value);
    tf->handle.data = ngx_pnalloc(r->pool, tf->handle.len);
    if (tf->handle.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(tf->handle.data, json_string_value(value), tf->handle.len);

    if (sandbox && !ctx->ulcf->sandbox) {
        rv = ngx_http_unit_handle_wrong(ctx->umcf->shm, tf->owner,
                                        &tf->handle);
        ngx_http_unit_otp_count_wrong(ctx, rv);
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_handle_take(ctx->umcf->shm, tf->owner, &tf->handle,
                                   r->pool, &token);

    if (rc == NGX_DECLINED) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_EXPIRED);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    tf->taken = 1;

    rc = ngx_http_unit_otp_send(r, tf, attributes, &token);

    ngx_explicit_memzero(token.data, token.len);

    if (rc == NGX_ERROR) {
        (void) ngx_http_unit_handle_return(ctx->umcf->shm, tf->owner,
                                           &tf->handle,
                                           NGX_HTTP_UNIT_HANDLE_UNSEEN);
    }

    return rc;
}


static ngx_uint_t
ngx_http_unit_otp_is_code(ngx_str_t *otp)
{
    size_t  i;

    if (otp->len != NGX_HTTP_UNIT_OTP_CODE_LEN) {
        return 0;
    }

    for (i = 0; i < otp->len; i++) {
        if (otp->data[i] < '0' || otp->data[i] > '9') {
            return 0;
        }
    }

    return 1;
}


/* how long a token is asked for, and whether it leaves the gateway */

static void
ngx_http_unit_otp_life(ngx_http_unit_two_factor_t *tf)
{
    time_t                     left;
    ngx_http_unit_ctx_t       *ctx;
    ngx_http_unit_loc_conf_t  *ulcf;

    ctx = tf->ctx;
    ulcf = ctx->ulcf;

    if (tf->expires_in == 0) {
        tf->expires_in = NGX_HTTP_UNIT_TWO_FACTOR_MAX_AGE;
    }

    if (ngx_http_unit_scopes_empty(&ulcf->handoff)
        || !ngx_http_unit_scopes_cover(&ulcf->handoff, &tf->scopes))
    {
        return;
    }

    /* nobody can take it back: it does not outlive the caller's session */

    left = ctx->identity.exp - ngx_time();
    left = ngx_min(left, NGX_HTTP_UNIT_OTP_HANDOFF);

    tf->handoff = 1;
    tf->expires_in = ngx_min(tf->expires_in, ngx_max(left, 1));
}


static ngx_int_t
ngx_http_unit_otp_send(ngx_http_request_t *r,
    ngx_http_unit_two_factor_t *tf, json_t *attributes, ngx_str_t *token)
{
    json_t               *body, *to, *resources;
    ngx_int_t             rc;
    ngx_str_t             names;
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (ngx_http_unit_token_names(r->pool, ctx->umcf->policy, &tf->scopes,
                                  &names)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_unit_otp_life(tf);

    to = json_pack("{s:s%, s:O, s:I}",
                   "scope", (char *) names.data, names.len,
                   "verificationCode",
                   json_object_get(attributes, "verificationCode"),
                   "expiresIn", (json_int_t) tf->expires_in);

    if (to && token->len
        && json_object_set_new(to, "verificationToken",
                               json_stringn((char *) token->data, token->len))
           != 0)
    {
        json_decref(to);
        return NGX_ERROR;
    }

    resources = json_object_get(attributes, "resources");

    if (to && resources && json_object_set(to, "resources", resources) != 0) {
        json_decref(to);
        return NGX_ERROR;
    }

    /* "o" takes the reference, also when it fails */

    body = json_pack("{s:{s:s, s:o}}",
                     "data", "type", "customerToken", "attributes", to);
    if (body == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_two_factor_send(r, tf, "/token", body,
                                       ngx_http_unit_otp_done);
    json_decref(body);

    return rc;
}


/* in the context of the subrequest: also when the client has gone */

static void
ngx_http_unit_otp_done(ngx_http_unit_fetch_t *fetch)
{
    time_t                           seconds;
    ngx_int_t                        rc;
    ngx_str_t                        token;
    ngx_uint_t                       ours;
    ngx_http_unit_ctx_t             *ctx;
    ngx_http_unit_two_factor_t      *tf;
    ngx_http_unit_handle_outcome_e   outcome;

    tf = fetch->data;
    ctx = tf->ctx;

    rc = NGX_DECLINED;
    outcome = NGX_HTTP_UNIT_HANDLE_USED;
    seconds = 0;

    if (fetch->error == NGX_HTTP_UNIT_FETCH_OK
        && (fetch->status == NGX_HTTP_CREATED || fetch->status == NGX_HTTP_OK))
    {
        rc = ngx_http_unit_token_read(ctx->request->pool, &fetch->answer,
                                      &token, &seconds);
    }

    if (rc == NGX_DECLINED) {
        outcome = ngx_http_unit_otp_refused(tf);
    }

    if (rc == NGX_ERROR) {
        outcome = NGX_HTTP_UNIT_HANDLE_UNSEEN;
    }

    ours = 1;

    if (tf->taken) {
        ours = ngx_http_unit_handle_return(ctx->umcf->shm, tf->owner,
                                           &tf->handle, outcome);
    }

    if (outcome == NGX_HTTP_UNIT_HANDLE_WRONG) {
        ngx_http_unit_otp_count_wrong(ctx, ours);
    }

    if (rc == NGX_OK) {

        if (ours) {
            rc = ngx_http_unit_otp_granted(tf, &token, seconds);

        } else {

            /* a session that was logged out meanwhile stays so */

            tf->code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
            tf->reason = "verification_failed";
        }

        ngx_explicit_memzero(token.data, token.len);
    }

    if (rc == NGX_ERROR) {
        tf->code = NGX_HTTP_UNIT_INTERNAL_ERROR;

    } else if (!tf->code) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_VERIFIED);
    }

    if (fetch->body.len) {
        ngx_explicit_memzero(fetch->body.data, fetch->body.len);
    }
}


/* rv is what became of the handle */

static void
ngx_http_unit_otp_count_wrong(ngx_http_unit_ctx_t *ctx, ngx_uint_t rv)
{
    ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_WRONG_CODE);

    if (rv == NGX_HTTP_UNIT_HANDLE_LOCKED) {
        ngx_http_unit_metrics_count(ctx->umcf, NGX_HTTP_UNIT_METRICS_LOCKED);
    }
}


static ngx_http_unit_handle_outcome_e
ngx_http_unit_otp_refused(ngx_http_unit_two_factor_t *tf)
{
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (ngx_http_unit_two_factor_failed(tf)) {

        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "unit verification: not finished, status %ui, id: %V",
                      tf->fetch.status, &ctx->request_id);

        return NGX_HTTP_UNIT_HANDLE_UNSEEN;
    }

    /* Unit does not say that the code was wrong, but it has seen it */

    tf->code = NGX_HTTP_UNIT_VERIFICATION_FAILED;
    tf->reason = "verification_failed";

    return NGX_HTTP_UNIT_HANDLE_WRONG;
}


static ngx_int_t
ngx_http_unit_otp_granted(ngx_http_unit_two_factor_t *tf, ngx_str_t *token,
    time_t seconds)
{
    ngx_http_unit_ctx_t  *ctx;

    ctx = tf->ctx;

    if (!tf->handoff) {
        seconds = ngx_min(seconds, tf->expires_in);

        if (ngx_http_unit_otp_keep(tf, token, seconds) != NGX_OK) {

            /* a session that is said to be verified has to be so */

            tf->code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
            tf->reason = "zone_full";

            return NGX_OK;
        }

        return ngx_http_unit_session_answer(tf, &ctx->bearer, seconds);
    }

    if (seconds > tf->expires_in) {

        /* longer than was asked for: not with our help */

        tf->code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        tf->reason = "handoff_life";

        return NGX_OK;
    }

    return ngx_http_unit_session_answer(tf, token, seconds);
}


/*
 * Never refreshed, never beyond a day of the verification.  NGX_OK, or
 * NGX_ERROR when the zone has no room.
 */

static ngx_int_t
ngx_http_unit_otp_keep(ngx_http_unit_two_factor_t *tf, ngx_str_t *token,
    time_t seconds)
{
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t   req;

    ctx = tf->ctx;

    if (ngx_http_unit_token_key(ctx, 1, ctx->token_key) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memzero(&req, sizeof(ngx_http_unit_store_req_t));

    req.class = NGX_HTTP_UNIT_SHM_TOKEN;
    req.key = ctx->token_key;
    req.scopes = tf->scopes;
    req.value = *token;
    req.secret = 1;

    /* a moment less, so that it reaches Unit alive */

    req.ttl = (ngx_msec_t) seconds * 1000;
    req.ttl -= ngx_min(req.ttl / 10, 10000);

    if (ctx->umcf->store->put(ctx->umcf->shm, &req) != NGX_OK
        || ctx->umcf->store->survey(ctx->umcf->shm, &req) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_unit_scopes_cover(&req.scopes, &tf->scopes) ? NGX_OK
                                                                : NGX_ERROR;
}
