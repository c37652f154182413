
/*
 * Idempotency of one request, see ngx_http_unit_idem.h.  The answer's side is
 * in _idem_answer.c.
 */


#include "ngx_http_unit_header.h"
#include "ngx_http_unit_idem.h"
#include "ngx_http_unit_splice.h"


/* elements of an array body, each with a key of its own */
#define NGX_HTTP_UNIT_IDEM_ITEMS  1000


static ngx_int_t ngx_http_unit_idem_header_key(ngx_http_request_t *r,
    ngx_str_t *key, const char **reason);
static ngx_int_t ngx_http_unit_idem_body_key(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *key, const char **reason);
static ngx_int_t ngx_http_unit_idem_item_keys(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_str_t *key);
static ngx_int_t ngx_http_unit_idem_places(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_splice_t **places,
    ngx_uint_t *n);
static ngx_int_t ngx_http_unit_idem_fingerprint(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static ngx_int_t ngx_http_unit_idem_derive(ngx_http_unit_ctx_t *ctx,
    ngx_uint_t which, ngx_str_t *key, ngx_uint_t item, u_char *digest,
    u_char *text);
static ngx_int_t ngx_http_unit_idem_begin(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code,
    const char **reason);
static void ngx_http_unit_idem_renew(ngx_event_t *ev);
static void ngx_http_unit_idem_cleanup(void *data);
static ngx_int_t ngx_http_unit_idem_replace_body(ngx_http_request_t *r,
    ngx_str_t *body);


ngx_uint_t
ngx_http_unit_idem_needs_body(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    ngx_table_elt_t                  *h;
    const ngx_http_unit_operation_t  *op;

    op = ngx_http_unit_policy_route_operation(ctx->route, 0);

    /* uploads (PUT) are streamed: repeating one replaces it by itself */

    if (ctx->ulcf->idempotency == NGX_HTTP_UNIT_IDEM_OFF
        || op->method == NGX_HTTP_UNIT_METHOD_GET
        || op->method == NGX_HTTP_UNIT_METHOD_PUT
        || op->serve != NGX_HTTP_UNIT_SERVE_PROXY)
    {
        return 0;
    }

    return ngx_http_unit_header_single(r, "idempotency-key",
                                       sizeof("idempotency-key") - 1, &h)
           != NGX_DECLINED;
}


ngx_int_t
ngx_http_unit_idem(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    u_char                            random[16];
    ngx_int_t                         rc;
    ngx_str_t                         header, body;
    ngx_http_cleanup_t               *cln;
    ngx_http_unit_idem_t             *idem;
    const ngx_http_unit_operation_t  *op;

    op = ctx->operation;

    if (ctx->ulcf->idempotency == NGX_HTTP_UNIT_IDEM_OFF
        || op->method == NGX_HTTP_UNIT_METHOD_GET
        || op->serve != NGX_HTTP_UNIT_SERVE_PROXY
        || (op->method == NGX_HTTP_UNIT_METHOD_PUT && ctx->json == NULL))
    {
        return NGX_OK;
    }

    *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID;

    rc = ngx_http_unit_idem_header_key(r, &header, reason);

    if (rc == NGX_OK) {
        rc = ngx_http_unit_idem_body_key(r, ctx, &body, reason);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (header.len && body.len
        && (header.len != body.len
            || ngx_memcmp(header.data, body.data, body.len) != 0))
    {
        *reason = "idempotency_two_keys";
        return NGX_DECLINED;
    }

    if (header.len == 0) {
        header = body;
    }

    if (header.len == 0) {

        if (op->family.len
            && ctx->ulcf->idempotency == NGX_HTTP_UNIT_IDEM_REQUIRE)
        {
            *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_MISSING;
            *reason = "idempotency_key_missing";
            return NGX_DECLINED;
        }

        if (op->family.len == 0) {
            return NGX_OK;
        }
    }

    idem = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_idem_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (idem == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_idem_cleanup;
    cln->data = idem;

    idem->ctx = ctx;
    idem->client_key = header;

    ctx->idem = idem;

    if (header.len) {
        return ngx_http_unit_idem_begin(r, ctx, code, reason);
    }

    /*
     * No key, so nobody can ask for the answer again; one of ours makes our
     * own retries safe (DESIGN: a random UUIDv4)
     */

    if (ngx_http_unit_random(random, sizeof(random)) != NGX_OK) {
        return NGX_ERROR;
    }

    idem->client_key.data = ngx_pnalloc(r->pool, 36);
    if (idem->client_key.data == NULL) {
        return NGX_ERROR;
    }

    random[6] = (random[6] & 0x0f) | 0x40;
    random[8] = (random[8] & 0x3f) | 0x80;

    idem->client_key.len = ngx_sprintf(idem->client_key.data,
                               "%02xd%02xd%02xd%02xd-%02xd%02xd-%02xd%02xd-"
                               "%02xd%02xd-%02xd%02xd%02xd%02xd%02xd%02xd",
                               random[0], random[1], random[2], random[3],
                               random[4], random[5], random[6], random[7],
                               random[8], random[9], random[10], random[11],
                               random[12], random[13], random[14],
                               random[15])
                           - idem->client_key.data;

    idem->status = NGX_HTTP_UNIT_IDEM_GENERATED;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_idem_header_key(ngx_http_request_t *r, ngx_str_t *key,
    const char **reason)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *h;

    ngx_str_null(key);

    rc = ngx_http_unit_header_single(r, "idempotency-key",
                                     sizeof("idempotency-key") - 1, &h);

    if (rc == NGX_DECLINED) {
        return NGX_OK;
    }

    if (rc == NGX_ABORT) {
        *reason = "idempotency_header_twice";
        return NGX_DECLINED;
    }

    *reason = "idempotency_header";

    return ngx_http_unit_idem_key_header(r->pool, &h->value, key);
}


static ngx_int_t
ngx_http_unit_idem_body_key(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *key, const char **reason)
{
    ngx_int_t                  rc;
    ngx_http_unit_json_hit_t  *hit;

    ngx_str_null(key);

    if (ctx->json == NULL) {
        return NGX_OK;
    }

    *reason = "idempotency_body";

    hit = ngx_http_unit_json_hit(ctx->json, NGX_HTTP_UNIT_WATCH_KEY, 0);

    if (hit == NULL) {
        return ngx_http_unit_idem_item_keys(r, ctx, key);
    }

    rc = ngx_http_unit_json_string(r->pool, hit, key);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_unit_idem_key_valid(key) ? NGX_OK : NGX_DECLINED;
}


/*
 * The elements of an array body have keys of their own.  Together they are
 * the key of the request: all of them or none.
 */

static ngx_int_t
ngx_http_unit_idem_item_keys(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_str_t *key)
{
    u_char                     digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_int_t                  rc;
    ngx_str_t                 *field;
    ngx_uint_t                 n;
    ngx_array_t                fields;
    ngx_http_unit_json_hit_t  *hit;

    if (ngx_http_unit_json_hit(ctx->json, NGX_HTTP_UNIT_WATCH_ITEM_KEY, 0)
        == NULL)
    {
        return NGX_OK;
    }

    if (ngx_array_init(&fields, r->pool, 8, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    for (n = 0; /* void */; n++) {

        hit = ngx_http_unit_json_hit(ctx->json, NGX_HTTP_UNIT_WATCH_ITEM_KEY,
                                     n);
        if (hit == NULL) {
            break;
        }

        if (n == NGX_HTTP_UNIT_IDEM_ITEMS) {
            return NGX_DECLINED;
        }

        field = ngx_array_push(&fields);
        if (field == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_unit_json_string(r->pool, hit, field);

        if (rc != NGX_OK) {
            return rc;
        }

        if (!ngx_http_unit_idem_key_valid(field)) {
            return NGX_DECLINED;
        }
    }

    if (ngx_http_unit_json_hit(ctx->json, NGX_HTTP_UNIT_WATCH_ITEM, n)) {

        /* an element without one */
        return NGX_DECLINED;
    }

    if (ngx_http_unit_sha256(fields.elts, fields.nelts, 0, digest) != NGX_OK) {
        return NGX_ERROR;
    }

    key->data = ngx_pnalloc(r->pool, NGX_HTTP_UNIT_IDEM_KEY_DERIVED);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    key->len = ngx_http_unit_base64url_encode(key->data, digest,
                                              sizeof(digest));

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_idem_begin(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_uint_t               which;
    ngx_http_unit_shm_t     *shm;
    ngx_http_unit_idem_t    *idem;
    ngx_http_unit_record_e   result;

    idem = ctx->idem;
    shm = ctx->umcf->shm;

    if (ngx_http_unit_idem_fingerprint(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a record of the time before the secret was changed goes on counting */

    for (which = ctx->umcf->secrets->n; which-- > 0; /* void */) {

        if (ngx_http_unit_idem_derive(ctx, which, &idem->client_key, 0,
                                      idem->key, NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (which == 0 || ngx_http_unit_record_exists(shm, idem->key)) {
            break;
        }
    }

    idem->secret = which;

    if (ngx_http_unit_record_begin(shm, r->pool, idem->key, idem->fingerprint,
                                   &result, &idem->lease, &idem->answer)
        != NGX_OK)
    {
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
        *code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        *reason = "zone_full";
        return NGX_DECLINED;

    default: /* NGX_HTTP_UNIT_RECORD_BEGIN */
        break;
    }

    idem->status = NGX_HTTP_UNIT_IDEM_NEW;

    idem->event.handler = ngx_http_unit_idem_renew;
    idem->event.data = r->connection;
    idem->event.log = r->connection->log;

    ngx_add_timer(&idem->event, NGX_HTTP_UNIT_RECORD_RENEW);

    return NGX_OK;
}


/* of everything but the key, wherever that was given */

static ngx_int_t
ngx_http_unit_idem_fingerprint(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx)
{
    ngx_str_t                fields[5], body;
    ngx_uint_t               n;
    ngx_http_unit_splice_t  *places;

    body = ctx->body;

    if (ctx->json) {

        if (ngx_http_unit_idem_places(r, ctx, &places, &n) != NGX_OK
            || ngx_http_unit_splice_cut(r->pool, &ctx->body, places, n, &body)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&fields[0], "request");
    fields[1] = ctx->method_name;
    fields[2] = ctx->uri.path;
    fields[3] = r->args;
    fields[4] = body;

    return ngx_http_unit_sha256(fields, 5, 0, ctx->idem->fingerprint);
}


static ngx_int_t
ngx_http_unit_idem_places(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_splice_t **out, ngx_uint_t *n)
{
    ngx_uint_t                 i, id, attributes;
    ngx_http_unit_json_t      *json;
    ngx_http_unit_json_hit_t  *hit, *hits;
    ngx_http_unit_splice_t    *place;

    json = ctx->json;

    hit = ngx_http_unit_json_hit(json, NGX_HTTP_UNIT_WATCH_DATA, 0);

    if (hit && hit->type == NGX_HTTP_UNIT_JSON_ARRAY) {
        attributes = NGX_HTTP_UNIT_WATCH_ITEM_ATTRIBUTES;
        id = NGX_HTTP_UNIT_WATCH_ITEM_KEY;

    } else {
        attributes = NGX_HTTP_UNIT_WATCH_ATTRIBUTES;
        id = NGX_HTTP_UNIT_WATCH_KEY;
    }

    hits = json->hits.elts;
    *n = 0;

    for (i = 0; i < json->hits.nelts; i++) {
        if (hits[i].watch == attributes
            && hits[i].type == NGX_HTTP_UNIT_JSON_OBJECT)
        {
            (*n)++;
        }
    }

    place = ngx_pcalloc(r->pool, (*n + 1) * sizeof(ngx_http_unit_splice_t));
    if (place == NULL) {
        return NGX_ERROR;
    }

    *out = place;
    place--;

    /* a key comes after the object that it is in, and before the next one */

    for (i = 0; i < json->hits.nelts; i++) {

        if (hits[i].watch == attributes
            && hits[i].type == NGX_HTTP_UNIT_JSON_OBJECT)
        {
            place++;
            place->attributes = &hits[i];

        } else if (hits[i].watch == id
                   && place >= *out
                   && hits[i].object == place->attributes->start)
        {
            place->key = &hits[i];
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_idem_derive(ngx_http_unit_ctx_t *ctx, ngx_uint_t which,
    ngx_str_t *key, ngx_uint_t item, u_char *digest, u_char *text)
{
    u_char            n[4];
    ngx_str_t         fields[7];
    const ngx_str_t  *family;

    /* a write without a family of Unit's is its own */

    family = ctx->operation->family.len ? &ctx->operation->family
                                        : &ctx->operation->name;

    n[0] = (u_char) (item >> 24);
    n[1] = (u_char) (item >> 16);
    n[2] = (u_char) (item >> 8);
    n[3] = (u_char) item;

    ngx_str_set(&fields[0], "idempotency");
    fields[1] = ctx->identity.partner->name;
    fields[2] = ctx->identity.subject;
    fields[3] = ctx->customer;
    fields[4] = *family;
    fields[5] = *key;
    fields[6].data = n;
    fields[6].len = sizeof(n);

    return ngx_http_unit_idem_key_derive(ctx->umcf->secrets, which, fields, 7,
                                         digest, text);
}


static void
ngx_http_unit_idem_renew(ngx_event_t *ev)
{
    ngx_http_unit_idem_t  *idem;

    idem = (ngx_http_unit_idem_t *)
               ((u_char *) ev - offsetof(ngx_http_unit_idem_t, event));

    ngx_http_unit_record_renew(idem->ctx->umcf->shm, idem->key, idem->lease);

    ngx_add_timer(ev, NGX_HTTP_UNIT_RECORD_RENEW);
}


static void
ngx_http_unit_idem_cleanup(void *data)
{
    ngx_http_unit_idem_t  *idem = data;

    if (idem->event.timer_set) {
        ngx_del_timer(&idem->event);
    }

    if (idem->lease == 0) {
        return;
    }

    if (idem->sent) {
        ngx_http_unit_record_finish(idem->ctx->umcf->shm, idem->key,
                                    idem->fingerprint, idem->lease, NULL);

    } else {
        ngx_http_unit_record_cancel(idem->ctx->umcf->shm, idem->key,
                                    idem->lease);
    }

    idem->lease = 0;
}


ngx_int_t
ngx_http_unit_idem_forward(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char                   digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_str_t                body, value;
    ngx_uint_t               i, n;
    ngx_http_unit_idem_t    *idem;
    ngx_http_unit_splice_t  *places;

    idem = ctx->idem;

    if (idem == NULL) {
        return NGX_OK;
    }

    idem->sent = 1;

    if (idem->spliced || ctx->operation->family.len == 0 || ctx->json == NULL)
    {
        return NGX_OK;
    }

    if (ngx_http_unit_idem_places(r, ctx, &places, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        value.data = ngx_pnalloc(r->pool, NGX_HTTP_UNIT_IDEM_KEY_DERIVED);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        value.len = NGX_HTTP_UNIT_IDEM_KEY_DERIVED;

        if (ngx_http_unit_idem_derive(ctx, idem->secret, &idem->client_key,
                                      i, digest, value.data)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        places[i].value = value;
    }

    /* without "attributes" there is no place for a key, and Unit refuses */

    if (n) {
        if (ngx_http_unit_splice_put(r->pool, &ctx->body, places, n, &body)
            != NGX_OK
            || ngx_http_unit_idem_replace_body(r, &body) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    idem->spliced = 1;

    return NGX_OK;
}


/* STYLE P9: everything that says how long the body is must agree */

static ngx_int_t
ngx_http_unit_idem_replace_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_calloc_buf(r->pool);
    cl = ngx_alloc_chain_link(r->pool);

    if (b == NULL || cl == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->start = b->pos;
    b->end = b->last;
    b->memory = 1;
    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    /* the old buffers stay as they are: they may hold the next request, too */

    r->request_body->bufs = cl;
    r->request_body->temp_file = NULL;

    r->headers_in.content_length_n = body->len;
    r->headers_in.chunked = 0;

    return NGX_OK;
}


ngx_uint_t
ngx_http_unit_idem_repeatable(ngx_http_unit_ctx_t *ctx)
{
    if (ctx->operation->method == NGX_HTTP_UNIT_METHOD_GET) {
        return 1;
    }

    /* the key is in the body: Unit performs it once */

    return ctx->operation->family.len != 0
           && ctx->idem != NULL && ctx->idem->spliced;
}
