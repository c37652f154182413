
/*
 * The body's side of idempotency, see ngx_http_unit_idem.h: where keys are in
 * it, what it is without them, and what goes to Unit instead.
 */


#include "ngx_http_unit_idem.h"


/* elements of an array body, each with a key of its own at Unit */
#define NGX_HTTP_UNIT_IDEM_ELEMENTS  1000


static ngx_int_t ngx_http_unit_idem_places(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem);
static ngx_int_t ngx_http_unit_idem_elements(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem, ngx_str_t *key);
static ngx_int_t ngx_http_unit_idem_read(ngx_http_request_t *r,
    const ngx_http_unit_json_hit_t *hit, ngx_str_t *key);
static ngx_int_t ngx_http_unit_idem_derive(ngx_http_unit_idem_t *idem,
    ngx_uint_t n, u_char *text);
static ngx_int_t ngx_http_unit_idem_replace_body(ngx_http_request_t *r,
    ngx_str_t *body);


ngx_int_t
ngx_http_unit_idem_scan(ngx_http_request_t *r, ngx_http_unit_idem_t *idem,
    ngx_str_t *key, ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t  rc;

    ngx_str_null(key);

    rc = ngx_http_unit_idem_places(r, idem);

    if (rc == NGX_DECLINED) {
        *code = NGX_HTTP_UNIT_INVALID_BODY;
        *reason = "too_many_elements";
    }

    if (rc != NGX_OK || idem->nkeys == 0) {
        return rc;
    }

    *code = NGX_HTTP_UNIT_IDEMPOTENCY_KEY_INVALID;
    *reason = "idempotency_body";

    if (idem->array) {
        return ngx_http_unit_idem_elements(r, idem, key);
    }

    return ngx_http_unit_idem_read(r, idem->places[0].key, key);
}


static ngx_int_t
ngx_http_unit_idem_places(ngx_http_request_t *r, ngx_http_unit_idem_t *idem)
{
    ngx_uint_t                 i, n, elements, attributes, key;
    ngx_http_unit_json_t      *json;
    ngx_http_unit_splice_t    *place;
    ngx_http_unit_json_hit_t  *hit, *hits;

    json = idem->ctx->json;

    hit = ngx_http_unit_json_hit(json, NGX_HTTP_UNIT_WATCH_DATA, 0);

    idem->array = (hit && hit->type == NGX_HTTP_UNIT_JSON_ARRAY);

    attributes = idem->array ? NGX_HTTP_UNIT_WATCH_ITEM_ATTRIBUTES
                             : NGX_HTTP_UNIT_WATCH_ATTRIBUTES;
    key = idem->array ? NGX_HTTP_UNIT_WATCH_ITEM_KEY
                      : NGX_HTTP_UNIT_WATCH_KEY;

    hits = json->hits.elts;
    elements = idem->array ? 0 : 1;
    n = 0;

    for (i = 0; i < json->hits.nelts; i++) {

        if (hits[i].watch == NGX_HTTP_UNIT_WATCH_ITEM) {
            elements++;

        } else if (hits[i].watch == attributes
                   && hits[i].type == NGX_HTTP_UNIT_JSON_OBJECT)
        {
            n++;
        }
    }

    if (elements > NGX_HTTP_UNIT_IDEM_ELEMENTS) {
        return NGX_DECLINED;
    }

    idem->complete = (n == elements && n != 0);

    place = ngx_pcalloc(r->pool, (n + 1) * sizeof(ngx_http_unit_splice_t));
    if (place == NULL) {
        return NGX_ERROR;
    }

    idem->places = place;
    n = 0;

    /* a key comes after the object that it is in, and before the next one */

    for (i = 0; i < json->hits.nelts; i++) {

        if (hits[i].watch == attributes
            && hits[i].type == NGX_HTTP_UNIT_JSON_OBJECT)
        {
            place[n++].attributes = &hits[i];

        } else if (hits[i].watch == key
                   && n
                   && hits[i].object == place[n - 1].attributes->start)
        {
            place[n - 1].key = &hits[i];
            idem->nkeys++;
        }
    }

    idem->nplaces = n;

    return NGX_OK;
}


/*
 * The elements of an array have keys of their own, which count for them in
 * whatever array they come.  Together they are the key of the request: all of
 * them or none.
 */

static ngx_int_t
ngx_http_unit_idem_elements(ngx_http_request_t *r, ngx_http_unit_idem_t *idem,
    ngx_str_t *key)
{
    u_char      digest[NGX_HTTP_UNIT_SHA256_LEN];
    ngx_int_t   rc;
    ngx_uint_t  i;

    if (!idem->complete || idem->nkeys != idem->nplaces) {
        return NGX_DECLINED;
    }

    idem->own = ngx_palloc(r->pool, idem->nplaces * sizeof(ngx_str_t));
    if (idem->own == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < idem->nplaces; i++) {

        rc = ngx_http_unit_idem_read(r, idem->places[i].key, &idem->own[i]);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ngx_http_unit_sha256(idem->own, idem->nplaces, 0, digest) != NGX_OK) {
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
ngx_http_unit_idem_read(ngx_http_request_t *r,
    const ngx_http_unit_json_hit_t *hit, ngx_str_t *key)
{
    ngx_int_t  rc;

    rc = ngx_http_unit_json_string(r->pool, hit, key);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_unit_idem_key_valid(key) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_unit_idem_fingerprint(ngx_http_request_t *r,
    ngx_http_unit_idem_t *idem, u_char *fingerprint)
{
    ngx_str_t             fields[5];
    ngx_http_unit_ctx_t  *ctx;

    ctx = idem->ctx;

    ngx_str_set(&fields[0], "request");
    fields[1] = ctx->method_name;
    fields[2] = ctx->uri.path;
    fields[3] = r->args;
    fields[4] = ctx->body;

    if (idem->nkeys
        && ngx_http_unit_splice_cut(r->pool, &ctx->body, idem->places,
                                    idem->nplaces, &fields[4])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_unit_sha256(fields, 5, 0, fingerprint);
}


ngx_int_t
ngx_http_unit_idem_splice(ngx_http_request_t *r, ngx_http_unit_idem_t *idem)
{
    u_char                 *text;
    ngx_str_t               body;
    ngx_uint_t              i, n, family;
    ngx_http_unit_splice_t  *places;

    /*
     * Of a write that Unit does not promise to perform once, only a key that
     * is in the body already is replaced: no client's key reaches Unit as it
     * is.  Without an object of attributes there is no place for a key.
     */

    family = (idem->ctx->operation->family.len != 0);
    n = family ? idem->nplaces : idem->nkeys;

    idem->keyed = family && idem->complete;

    if (n == 0) {
        return NGX_OK;
    }

    text = ngx_pnalloc(r->pool, n * NGX_HTTP_UNIT_IDEM_KEY_DERIVED);
    if (text == NULL) {
        return NGX_ERROR;
    }

    places = idem->places;
    n = 0;

    for (i = 0; i < idem->nplaces; i++) {

        if (!family && places[i].key == NULL) {
            continue;
        }

        if (ngx_http_unit_idem_derive(idem, i, text) != NGX_OK) {
            return NGX_ERROR;
        }

        places[n] = places[i];
        places[n].value.data = text;
        places[n].value.len = NGX_HTTP_UNIT_IDEM_KEY_DERIVED;

        text += NGX_HTTP_UNIT_IDEM_KEY_DERIVED;
        n++;
    }

    if (ngx_http_unit_splice_put(r->pool, &idem->ctx->body, places, n, &body)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_unit_idem_replace_body(r, &body);
}


static ngx_int_t
ngx_http_unit_idem_derive(ngx_http_unit_idem_t *idem, ngx_uint_t n,
    u_char *text)
{
    u_char  *base;

    base = idem->record.base;

    if (!idem->array) {
        return ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_REQUEST,
                                             &idem->key, 0, text);
    }

    if (idem->own) {
        return ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_ELEMENT,
                                             &idem->own[n], 0, text);
    }

    return ngx_http_unit_idem_key_derive(base, NGX_HTTP_UNIT_IDEM_PLACE,
                                         &idem->key, n, text);
}


/* STYLE P9: everything that says how long the body is must agree */

static ngx_int_t
ngx_http_unit_idem_replace_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
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
