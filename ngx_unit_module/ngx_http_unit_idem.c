
/*
 * Idempotency of one request, see ngx_http_unit_idem.h.  The body's side is in
 * _idem_body.c, the answer's in _idem_answer.c.
 */


#include "ngx_http_unit_header.h"
#include "ngx_http_unit_idem.h"


#define NGX_HTTP_UNIT_IDEM_UUID_LEN  36


static ngx_uint_t ngx_http_unit_idem_applies(ngx_http_unit_ctx_t *ctx,
    const ngx_http_unit_operation_t *op);
static ngx_http_unit_idem_t *ngx_http_unit_idem_create(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static void ngx_http_unit_idem_fields(ngx_http_unit_idem_t *idem,
    ngx_str_t *fields);
static ngx_int_t ngx_http_unit_idem_base(ngx_http_unit_idem_t *idem);
static ngx_int_t ngx_http_unit_idem_find(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem, ngx_http_unit_record_e *result);
static ngx_int_t ngx_http_unit_idem_generate(ngx_http_request_t *r,
    ngx_str_t *key);
static ngx_int_t ngx_http_unit_idem_begin(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static void ngx_http_unit_idem_renew(ngx_event_t *ev);
static void ngx_http_unit_idem_cleanup(void *data);


static ngx_uint_t
ngx_http_unit_idem_applies(ngx_http_unit_ctx_t *ctx,
    const ngx_http_unit_operation_t *op)
{
    /* uploads (PUT) are streamed: repeating one replaces it by itself */

    return ctx->ulcf->idempotency != NGX_HTTP_UNIT_IDEM_OFF
           && op->method != NGX_HTTP_UNIT_METHOD_GET
           && op->serve == NGX_HTTP_UNIT_SERVE_PROXY
           && (op->method != NGX_HTTP_UNIT_METHOD_PUT
               || ngx_http_unit_policy_needs_body(ctx->route));
}


ngx_int_t
ngx_http_unit_idem_head(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                         rc;
    ngx_table_elt_t                  *h;
    ngx_http_unit_idem_t             *idem;
    const ngx_http_unit_operation_t  *op;

    /* all operations of a route have one method */

    op = ngx_http_unit_policy_route_operation(ctx->route, 0);

    if (!ngx_http_unit_idem_applies(ctx, op)) {
        return NGX_OK;
    }

    rc = ngx_http_unit_header_single(r, "idempotency-key",
                                     sizeof("idempotency-key") - 1, &h);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID;

    if (rc == NGX_ABORT) {
        *reason = "idempotency_header_twice";
        return NGX_DECLINED;
    }

    idem = ngx_http_unit_idem_create(r, ctx);
    if (idem == NULL) {
        return NGX_ERROR;
    }

    *reason = "idempotency_header";

    return ngx_http_unit_idem_key_header(r->pool, &h->value, &idem->key);
}


static ngx_http_unit_idem_t *
ngx_http_unit_idem_create(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_http_cleanup_t    *cln;
    ngx_http_unit_idem_t  *idem;

    idem = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_idem_t));
    if (idem == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_unit_idem_cleanup;
    cln->data = idem;

    idem->ctx = ctx;
    ctx->idem = idem;

    return idem;
}


ngx_int_t
ngx_http_unit_idem(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                         rc;
    ngx_str_t                         key;
    ngx_http_unit_idem_t             *idem;
    const ngx_http_unit_operation_t  *op;

    op = ctx->operation;
    idem = ctx->idem;

    if (!ngx_http_unit_idem_applies(ctx, op)) {
        return NGX_OK;
    }

    if (ctx->json == NULL && idem == NULL) {
        return NGX_OK;
    }

    if (idem == NULL) {
        idem = ngx_http_unit_idem_create(r, ctx);
        if (idem == NULL) {
            return NGX_ERROR;
        }
    }

    if (ctx->json) {
        rc = ngx_http_unit_idem_scan(r, idem, &key, code, reason);

        if (rc != NGX_OK) {
            return rc;
        }

        if (idem->key.len && key.len
            && (idem->key.len != key.len
                || ngx_memcmp(idem->key.data, key.data, key.len) != 0))
        {
            *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID;
            *reason = "idempotency_two_keys";
            return NGX_DECLINED;
        }

        if (idem->key.len == 0) {
            idem->key = key;
        }
    }

    if (idem->key.len) {
        return ngx_http_unit_idem_begin(r, ctx, code, reason);
    }

    if (op->family.len == 0) {
        return NGX_OK;
    }

    if (ctx->ulcf->idempotency == NGX_HTTP_UNIT_IDEM_REQUIRE) {
        *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_MISSING;
        *reason = "idempotency_key_missing";
        return NGX_DECLINED;
    }

    /*
     * Nobody can ask for the answer again, so there is no record; a key of
     * ours makes our own retries safe
     */

    idem->status = NGX_HTTP_UNIT_IDEM_GENERATED;

    if (ngx_http_unit_idem_generate(r, &idem->key) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_unit_idem_base(idem);
}


/* a random UUIDv4 (RFC 9562 5.4) */

static ngx_int_t
ngx_http_unit_idem_generate(ngx_http_request_t *r, ngx_str_t *key)
{
    u_char      *p, random[16];
    ngx_uint_t   i;

    if (ngx_http_unit_random(random, sizeof(random)) != NGX_OK) {
        return NGX_ERROR;
    }

    random[6] = (random[6] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;

    p = ngx_pnalloc(r->pool, NGX_HTTP_UNIT_IDEM_UUID_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->data = p;
    key->len = NGX_HTTP_UNIT_IDEM_UUID_LEN;

    for (i = 0; i < sizeof(random); i++) {

        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        p = ngx_hex_dump(p, &random[i], 1);
    }

    return NGX_OK;
}


/* what a key counts for: six fields, the last one is the key itself */

static void
ngx_http_unit_idem_fields(ngx_http_unit_idem_t *idem, ngx_str_t *fields)
{
    ngx_http_unit_ctx_t  *ctx;

    ctx = idem->ctx;

    /* a write without a family of Unit's is its own */

    ngx_str_set(&fields[0], "idempotency");
    fields[1] = ctx->identity.partner->name;
    fields[2] = ctx->identity.subject;
    fields[3] = ctx->customer;
    fields[4] = ctx->operation->family.len ? ctx->operation->family
                                           : ctx->operation->name;
    fields[5] = idem->key;
}


/* of the keys that Unit gets */

static ngx_int_t
ngx_http_unit_idem_base(ngx_http_unit_idem_t *idem)
{
    ngx_str_t  fields[6];

    ngx_http_unit_idem_fields(idem, fields);

    idem->record.based = 1;

    return ngx_http_unit_idem_key_base(idem->ctx->umcf->idem_secret, fields, 5,
                                       idem->record.base);
}


/* the record of the key, or a new one: only that needs a base made */

static ngx_int_t
ngx_http_unit_idem_find(ngx_http_request_t *r, ngx_http_unit_idem_t *idem,
    ngx_http_unit_record_e *result)
{
    ngx_int_t             rc;
    ngx_str_t             fields[6];
    ngx_http_unit_shm_t  *shm;

    shm = idem->ctx->umcf->shm;

    ngx_http_unit_idem_fields(idem, fields);

    idem->record.owner = ngx_http_unit_record_owner(shm, &fields[1],
                                                    &fields[3]);

    if (ngx_http_unit_record_key(shm, fields, 6, idem->record.key) != NGX_OK
        || ngx_http_unit_idem_fingerprint(r, idem, idem->record.fingerprint)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_unit_record_begin(shm, r->pool, &idem->record, result);

    if (rc != NGX_OK || *result != NGX_HTTP_UNIT_RECORD_NONE) {
        return rc;
    }

    if (ngx_http_unit_idem_base(idem) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_unit_record_begin(shm, r->pool, &idem->record, result);
}


static ngx_int_t
ngx_http_unit_idem_begin(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_http_unit_idem_t    *idem;
    ngx_http_unit_record_e   result;

    idem = ctx->idem;

    if (ngx_http_unit_idem_find(r, idem, &result) != NGX_OK) {
        return NGX_ERROR;
    }

    idem->status = NGX_HTTP_UNIT_IDEM_CONFLICT;

    switch (result) {

    case NGX_HTTP_UNIT_RECORD_REPLAY:
        idem->status = NGX_HTTP_UNIT_IDEM_REPLAYED;
        return NGX_OK;

    case NGX_HTTP_UNIT_RECORD_IN_USE:
        *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_IN_USE;
        *reason = "idempotency_in_use";
        ctx->retry_after = 1;
        return NGX_DECLINED;

    case NGX_HTTP_UNIT_RECORD_REUSED:
        *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_REUSED;
        *reason = "idempotency_reused";
        return NGX_DECLINED;

    case NGX_HTTP_UNIT_RECORD_FULL:

        if (ctx->ulcf->idempotency_full == NGX_HTTP_UNIT_IDEM_PASS) {

            /* without a record, but Unit gets the same key each time */

            idem->status = NGX_HTTP_UNIT_IDEM_NONE;
            return NGX_OK;
        }

        *code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        *reason = "idempotency_zone_full";
        return NGX_DECLINED;

    case NGX_HTTP_UNIT_RECORD_BEGIN:
        break;

    default: /* NGX_HTTP_UNIT_RECORD_NONE: not with a base */
        return NGX_ERROR;
    }

    idem->status = NGX_HTTP_UNIT_IDEM_NEW;

    idem->event.handler = ngx_http_unit_idem_renew;
    idem->event.data = r->connection;
    idem->event.log = r->connection->log;

    ngx_add_timer(&idem->event, NGX_HTTP_UNIT_RECORD_RENEW);

    return NGX_OK;
}


static void
ngx_http_unit_idem_renew(ngx_event_t *ev)
{
    ngx_http_unit_idem_t  *idem;

    idem = (ngx_http_unit_idem_t *)
               ((u_char *) ev - offsetof(ngx_http_unit_idem_t, event));

    ngx_http_unit_record_renew(idem->ctx->umcf->shm, &idem->record);

    ngx_add_timer(ev, NGX_HTTP_UNIT_RECORD_RENEW);
}


void
ngx_http_unit_idem_release(ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (idem == NULL || idem->capture) {
        return;
    }

    if (idem->event.timer_set) {
        ngx_del_timer(&idem->event);
    }

    if (idem->record.lease == 0) {
        return;
    }

    if (idem->sent) {
        (void) ngx_http_unit_record_finish(ctx->umcf->shm, &idem->record,
                                           NULL);

    } else {
        ngx_http_unit_record_cancel(ctx->umcf->shm, &idem->record);
    }
}


static void
ngx_http_unit_idem_cleanup(void *data)
{
    ngx_http_unit_idem_t  *idem = data;

    idem->capture = 0;

    ngx_http_unit_idem_release(idem->ctx);
}


ngx_int_t
ngx_http_unit_idem_forward(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_http_unit_idem_t  *idem;

    idem = ctx->idem;

    if (idem == NULL || idem->key.len == 0) {
        return NGX_OK;
    }

    if (!idem->spliced) {

        if (ngx_http_unit_idem_splice(r, idem) != NGX_OK) {
            return NGX_ERROR;
        }

        idem->spliced = 1;
    }

    idem->sent = 1;

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_idem_repeatable(ngx_http_unit_ctx_t *ctx)
{
    if (ctx->operation->method == NGX_HTTP_UNIT_METHOD_GET) {
        return 1;
    }

    /* the key is in the body: Unit performs it once */

    return ctx->idem != NULL && ctx->idem->keyed;
}
