
/*
 * Claims of verified tokens.  Called from the access phase, after the
 * signature was found good; the rules of a partner are made when the
 * configuration is read.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json.h"
#include "ngx_http_unit_jwt.h"


#define NGX_HTTP_UNIT_CLAIMS_MAX_TEXT      255
#define NGX_HTTP_UNIT_CLAIMS_MAX_CUSTOMER  64


typedef struct {
    ngx_pool_t                       *pool;
    ngx_http_unit_json_t              json;      /* of the payload */
    const ngx_http_unit_jwt_rules_t  *rules;
    ngx_http_unit_jwt_claims_t       *out;
    int64_t                           exp;
    int64_t                           earliest;  /* now - leeway */
    int64_t                           latest;    /* now + leeway */
} ngx_http_unit_claims_ctx_t;


typedef struct {
    ngx_int_t                       (*check)(ngx_http_unit_claims_ctx_t *ctx);
    const char                       *reason;    /* when it declines */
} ngx_http_unit_claims_check_t;


static ngx_int_t ngx_http_unit_claims_issuer(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_exp(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_alive(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_nbf(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_iat(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_audience(
    ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_subject(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_customers(
    ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_session(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_role(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_auth_time(
    ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_amr(ngx_http_unit_claims_ctx_t *ctx);
static ngx_int_t ngx_http_unit_claims_begun(ngx_http_unit_claims_ctx_t *ctx,
    ngx_int_t id);
static ngx_int_t ngx_http_unit_claims_customer(
    ngx_http_unit_claims_ctx_t *ctx, const ngx_http_unit_json_hit_t *hit);
static ngx_int_t ngx_http_unit_claims_holds(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, const ngx_str_t *text);
static ngx_int_t ngx_http_unit_claims_items(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, ngx_http_unit_json_t *items);
static ngx_int_t ngx_http_unit_claims_text(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, ngx_str_t *text);
static ngx_http_unit_json_hit_t *ngx_http_unit_claims_find(
    ngx_http_unit_claims_ctx_t *ctx, ngx_int_t id);


static const ngx_http_unit_claims_check_t  ngx_http_unit_claims_checks[] = {
    { ngx_http_unit_claims_issuer, "jwt_iss" },
    { ngx_http_unit_claims_exp, "jwt_exp" },
    { ngx_http_unit_claims_alive, "jwt_expired" },
    { ngx_http_unit_claims_nbf, "jwt_nbf" },
    { ngx_http_unit_claims_iat, "jwt_iat" },
    { ngx_http_unit_claims_audience, "jwt_aud" },
    { ngx_http_unit_claims_subject, "jwt_sub" },
    { ngx_http_unit_claims_customers, "jwt_customer" },
    { ngx_http_unit_claims_session, "jwt_session" },
    { ngx_http_unit_claims_role, NULL },
    { ngx_http_unit_claims_auth_time, NULL },
    { ngx_http_unit_claims_amr, NULL },
    { NULL, NULL }
};


ngx_int_t
ngx_http_unit_jwt_rules_init(ngx_pool_t *pool,
    ngx_http_unit_jwt_rules_t *rules)
{
    ngx_uint_t         i;
    static ngx_str_t   item = ngx_string("[]");

    struct {
        ngx_str_t      name;
        ngx_int_t     *id;
    } claims[] = {
        { ngx_string("iss"), &rules->id_iss },
        { ngx_string("sub"), &rules->id_sub },
        { ngx_string("exp"), &rules->id_exp },
        { ngx_string("nbf"), &rules->id_nbf },
        { ngx_string("iat"), &rules->id_iat },
        { ngx_string("aud"), &rules->id_aud },
        { ngx_string("amr"), &rules->id_amr },
        { ngx_string("auth_time"), &rules->id_auth_time },
        { rules->customer_claim, &rules->id_customer },
        { rules->role_claim, &rules->id_role },
        { rules->session_claim, &rules->id_session }
    };

    rules->watch = ngx_http_unit_json_watch_create(pool, 0);
    if (rules->watch == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < sizeof(claims) / sizeof(claims[0]); i++) {

        *claims[i].id = NGX_ERROR;

        if (claims[i].name.len == 0) {
            continue;
        }

        *claims[i].id = ngx_http_unit_json_watch_member(rules->watch,
                                                        &claims[i].name);
        if (*claims[i].id == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    /*
     * The elements of a claim are found by scanning its value again, as a
     * text of its own: names of claims may hold dots and brackets, so there
     * is no path for them.  A payload is an object, where this never hits.
     */

    rules->id_item = ngx_http_unit_json_watch_add(rules->watch, &item);

    return rules->id_item == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_unit_jwt_claims(ngx_pool_t *pool, const ngx_http_unit_jwt_t *jwt,
    const ngx_http_unit_jwt_rules_t *rules, time_t now,
    ngx_http_unit_jwt_claims_t *out)
{
    ngx_int_t                            rc;
    ngx_http_unit_claims_ctx_t           ctx;
    const ngx_http_unit_claims_check_t  *check;

    ngx_memzero(out, sizeof(ngx_http_unit_jwt_claims_t));

    if (jwt->rules == rules) {
        ctx.json = jwt->json;
        rc = NGX_OK;

    } else {
        rc = ngx_http_unit_json_scan(pool, jwt->payload.data,
                                     jwt->payload.len, rules->watch,
                                     &ctx.json);
        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    if (rc != NGX_OK || ctx.json.type != NGX_HTTP_UNIT_JSON_OBJECT) {
        out->reason = "jwt_payload";
        return NGX_DECLINED;
    }

    ctx.pool = pool;
    ctx.rules = rules;
    ctx.out = out;
    ctx.exp = 0;
    ctx.earliest = (int64_t) now - rules->leeway;
    ctx.latest = (int64_t) now + rules->leeway;

    for (check = ngx_http_unit_claims_checks; check->check; check++) {
        rc = check->check(&ctx);

        if (rc == NGX_OK) {
            continue;
        }

        /* nobody shall use what was read of a refused token */

        ngx_memzero(out, sizeof(ngx_http_unit_jwt_claims_t));

        if (rc == NGX_DECLINED) {
            out->reason = check->reason;
        }

        return rc;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_issuer(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_iss);

    if (hit == NULL || !ngx_http_unit_json_equal(hit, &ctx->rules->issuer)) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_exp(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_exp);

    if (hit == NULL || ngx_http_unit_json_seconds(hit, &ctx->exp) != NGX_OK) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_alive(ngx_http_unit_claims_ctx_t *ctx)
{
    if (ctx->exp <= ctx->earliest) {
        return NGX_DECLINED;
    }

    /* time_t has 32 bits on some systems */

    ctx->out->exp = (time_t) ngx_min(ctx->exp, (int64_t) NGX_MAX_TIME_T_VALUE);

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_nbf(ngx_http_unit_claims_ctx_t *ctx)
{
    return ngx_http_unit_claims_begun(ctx, ctx->rules->id_nbf);
}


static ngx_int_t
ngx_http_unit_claims_iat(ngx_http_unit_claims_ctx_t *ctx)
{
    return ngx_http_unit_claims_begun(ctx, ctx->rules->id_iat);
}


static ngx_int_t
ngx_http_unit_claims_audience(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_http_unit_json_hit_t  *hit;

    if (ctx->rules->audience.len == 0) {
        return NGX_OK;
    }

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_aud);
    if (hit == NULL) {
        return NGX_DECLINED;
    }

    return ngx_http_unit_claims_holds(ctx, hit, &ctx->rules->audience);
}


static ngx_int_t
ngx_http_unit_claims_subject(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_sub);
    if (hit == NULL) {
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_claims_text(ctx, hit, &ctx->out->subject);
    if (rc != NGX_OK) {
        return rc;
    }

    return ctx->out->subject.len ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_unit_claims_customers(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_unit_json_t       items;
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_customer);

    if (hit == NULL || hit->type == NGX_HTTP_UNIT_JSON_NULL) {
        return NGX_OK;
    }

    if (hit->type != NGX_HTTP_UNIT_JSON_ARRAY) {
        return ngx_http_unit_claims_customer(ctx, hit);
    }

    rc = ngx_http_unit_claims_items(ctx, hit, &items);
    if (rc != NGX_OK) {
        return rc;
    }

    hit = items.hits.elts;

    for (i = 0; i < items.hits.nelts; i++) {
        rc = ngx_http_unit_claims_customer(ctx, &hit[i]);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_session(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_session);
    if (hit == NULL) {
        return NGX_OK;
    }

    return ngx_http_unit_claims_text(ctx, hit, &ctx->out->session);
}


static ngx_int_t
ngx_http_unit_claims_role(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_role);
    if (hit == NULL) {
        return NGX_OK;
    }

    /* of another type: present, but none that policy knows */

    ctx->out->has_role = 1;

    if (ngx_http_unit_json_string(ctx->pool, hit, &ctx->out->role)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_auth_time(ngx_http_unit_claims_ctx_t *ctx)
{
    int64_t                    value;
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_auth_time);

    /* a time in the future would be within every max_age for long */

    if (hit != NULL
        && ngx_http_unit_json_seconds(hit, &value) == NGX_OK
        && value > 0 && value <= ctx->latest)
    {
        ctx->out->auth_time = (time_t) value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_amr(ngx_http_unit_claims_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, ctx->rules->id_amr);

    if (hit == NULL || ctx->rules->amr_value.len == 0) {
        return NGX_OK;
    }

    rc = ngx_http_unit_claims_holds(ctx, hit, &ctx->rules->amr_value);
    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ctx->out->amr = (rc == NGX_OK);

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_begun(ngx_http_unit_claims_ctx_t *ctx, ngx_int_t id)
{
    int64_t                    value;
    ngx_http_unit_json_hit_t  *hit;

    hit = ngx_http_unit_claims_find(ctx, id);
    if (hit == NULL) {
        return NGX_OK;
    }

    if (ngx_http_unit_json_seconds(hit, &value) != NGX_OK
        || value > ctx->latest)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_claims_customer(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit)
{
    u_char      c;
    size_t      i;
    ngx_int_t   rc;
    ngx_str_t  *id;
    ngx_uint_t  number;

    if (ctx->out->ncustomers == NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS) {
        return NGX_DECLINED;
    }

    id = &ctx->out->customers[ctx->out->ncustomers];

    number = (hit->type == NGX_HTTP_UNIT_JSON_NUMBER);

    if (number) {
        id->data = hit->start;
        id->len = hit->end - hit->start;

    } else {
        rc = ngx_http_unit_json_string(ctx->pool, hit, id);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (id->len == 0 || id->len > NGX_HTTP_UNIT_CLAIMS_MAX_CUSTOMER) {
        return NGX_DECLINED;
    }

    for (i = 0; i < id->len; i++) {
        c = id->data[i];

        if (c >= '0' && c <= '9') {
            continue;
        }

        /* no sign, fraction or exponent in a number */

        if (number
            || !((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')
                 || c == '_' || c == '-'))
        {
            return NGX_DECLINED;
        }
    }

    ctx->out->ncustomers++;

    return NGX_OK;
}


/* Is the value that string, or an array of strings with it among them? */

static ngx_int_t
ngx_http_unit_claims_holds(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, const ngx_str_t *text)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i, found;
    ngx_http_unit_json_t       items;
    ngx_http_unit_json_hit_t  *item;

    if (hit->type != NGX_HTTP_UNIT_JSON_ARRAY) {
        return ngx_http_unit_json_equal(hit, text) ? NGX_OK : NGX_DECLINED;
    }

    rc = ngx_http_unit_claims_items(ctx, hit, &items);
    if (rc != NGX_OK) {
        return rc;
    }

    found = 0;
    item = items.hits.elts;

    for (i = 0; i < items.hits.nelts; i++) {

        if (item[i].type != NGX_HTTP_UNIT_JSON_STRING) {
            return NGX_DECLINED;
        }

        if (ngx_http_unit_json_equal(&item[i], text)) {
            found = 1;
        }
    }

    return found ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_unit_claims_items(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, ngx_http_unit_json_t *items)
{
    return ngx_http_unit_json_scan(ctx->pool, hit->start,
                                   hit->end - hit->start, ctx->rules->watch,
                                   items);
}


/* A string fit for keys and logs: short, no control characters. */

static ngx_int_t
ngx_http_unit_claims_text(ngx_http_unit_claims_ctx_t *ctx,
    const ngx_http_unit_json_hit_t *hit, ngx_str_t *text)
{
    u_char     *p;
    size_t      i;
    ngx_int_t   rc;

    rc = ngx_http_unit_json_string(ctx->pool, hit, text);
    if (rc != NGX_OK) {
        return rc;
    }

    if (text->len > NGX_HTTP_UNIT_CLAIMS_MAX_TEXT) {
        return NGX_DECLINED;
    }

    p = text->data;

    for (i = 0; i < text->len; i++) {

        if (p[i] < 0x20 || p[i] == 0x7f) {
            return NGX_DECLINED;
        }

        /* U+0080 to U+009F; valid UTF-8, so that there is a next byte */

        if (p[i] == 0xc2 && p[i + 1] < 0xa0) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


static ngx_http_unit_json_hit_t *
ngx_http_unit_claims_find(ngx_http_unit_claims_ctx_t *ctx, ngx_int_t id)
{
    /* a claim that was not configured has no id */

    if (id == NGX_ERROR) {
        return NULL;
    }

    return ngx_http_unit_json_hit(&ctx->json, id, 0);
}
