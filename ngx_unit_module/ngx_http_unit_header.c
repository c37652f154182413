
/*
 * Request headers, see ngx_http_unit_header.h.
 */


#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_header.h"
#include "ngx_http_unit_list.h"
#include "ngx_http_unit_scrub.h"


typedef struct {
    ngx_uint_t  hash;
    ngx_str_t   lowcase;
} ngx_http_unit_header_name_t;


static void ngx_http_unit_header_type(ngx_http_unit_ctx_t *ctx,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_unit_header_allowed(ngx_http_unit_loc_conf_t *ulcf,
    ngx_uint_t hash, u_char *name, size_t len, ngx_uint_t lowcase);
static ngx_int_t ngx_http_unit_header_hops(ngx_http_request_t *r,
    ngx_http_unit_loc_conf_t *ulcf, u_char **hops);
static ngx_int_t ngx_http_unit_header_uri(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx);
static void ngx_http_unit_header_init(ngx_table_elt_t *h, const char *key,
    const char *lowcase);


ngx_str_t  ngx_http_unit_none = ngx_string("-");


/* of DESIGN section 13; X-Request-Id and Content-Length are made anew */
static ngx_str_t  ngx_http_unit_header_default[] = {
    ngx_string("accept"),
    ngx_string("accept-language"),
    ngx_string("content-type"),
    ngx_string("user-agent"),
    ngx_string("traceparent"),
    ngx_string("tracestate"),
    ngx_string("x-unit-sdk"),
    ngx_string("x-accept-version"),
    ngx_null_string
};


/* never passed, whatever unit_pass_header says */
static ngx_str_t  ngx_http_unit_header_never[] = {
    ngx_string("authorization"),
    ngx_string("proxy-authorization"),
    ngx_string("cookie"),
    ngx_string("host"),
    ngx_string("connection"),
    ngx_string("proxy-connection"),
    ngx_string("keep-alive"),
    ngx_string("te"),
    ngx_string("trailer"),
    ngx_string("transfer-encoding"),
    ngx_string("content-length"),
    ngx_string("upgrade"),
    ngx_string("expect"),
    ngx_string("x-request-id"),
    ngx_string("x-http-method"),
    ngx_string("x-http-method-override"),
    ngx_string("x-method-override"),
    ngx_string("unit-customer"),
    ngx_string("idempotency-key"),
    ngx_string("forwarded"),
    ngx_string("x-forwarded-for"),
    ngx_string("x-forwarded-host"),
    ngx_string("x-forwarded-proto"),
    ngx_string("x-real-ip"),
    ngx_null_string
};


static u_char           ngx_http_unit_header_prefix[16];
static uint64_t         ngx_http_unit_header_serial;

/* what is added to every request, but for the values */
static ngx_table_elt_t  ngx_http_unit_header_x_request_id;
static ngx_table_elt_t  ngx_http_unit_header_authorization;


ngx_int_t
ngx_http_unit_header_init_process(ngx_cycle_t *cycle)
{
    uint64_t  prefix;

    ngx_http_unit_header_init(&ngx_http_unit_header_x_request_id,
                              "X-Request-Id", "x-request-id");
    ngx_http_unit_header_init(&ngx_http_unit_header_authorization,
                              "Authorization", "authorization");

    if (ngx_http_unit_random((u_char *) &prefix, sizeof(uint64_t)) != NGX_OK
        || ngx_http_unit_random((u_char *) &ngx_http_unit_header_serial,
                                sizeof(uint64_t))
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                      "unit: no random bytes to be had");
        return NGX_ERROR;
    }

    ngx_hex_dump(ngx_http_unit_header_prefix, (u_char *) &prefix,
                 sizeof(uint64_t));

    return NGX_OK;
}


void
ngx_http_unit_header_request_id(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx)
{
    u_char            ch, *p;
    size_t            i;
    uint64_t          n;
    ngx_table_elt_t  *h;

    ctx->request_id.data = ctx->id;
    ctx->request_id.len = sizeof(ctx->id);

    if (ngx_http_unit_header_single(r, "x-request-id",
                                    sizeof("x-request-id") - 1, &h)
        == NGX_OK
        && h->value.len >= 16 && h->value.len <= 64)
    {
        for (i = 0; i < h->value.len; i++) {
            ch = h->value.data[i];

            if (!((ch >= '0' && ch <= '9') || ch == '-'
                  || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z')))
            {
                break;
            }
        }

        if (i == h->value.len) {
            ctx->request_id = h->value;
            return;
        }
    }

    /* unique is enough: an id proves nothing and guards nothing */

    n = ++ngx_http_unit_header_serial * 0x9e3779b97f4a7c15;

    p = ngx_cpymem(ctx->id, ngx_http_unit_header_prefix,
                   sizeof(ngx_http_unit_header_prefix));

    ngx_hex_dump(p, (u_char *) &n, sizeof(uint64_t));
}


ngx_array_t *
ngx_http_unit_header_list(ngx_conf_t *cf, ngx_array_t *names)
{
    ngx_str_t                    *name, *never;
    ngx_uint_t                    i;
    ngx_array_t                  *list;
    ngx_http_unit_name_t         *word;
    ngx_http_unit_header_name_t  *hn;

    list = ngx_array_create(cf->pool, 16, sizeof(ngx_http_unit_header_name_t));
    if (list == NULL) {
        return NULL;
    }

    for (name = ngx_http_unit_header_default; name->len; name++) {

        hn = ngx_array_push(list);
        if (hn == NULL) {
            return NULL;
        }

        hn->lowcase = *name;
        hn->hash = ngx_hash_key(name->data, name->len);
    }

    if (names == NULL) {
        return list;
    }

    word = names->elts;

    for (i = 0; i < names->nelts; i++) {

        hn = ngx_array_push(list);
        if (hn == NULL) {
            return NULL;
        }

        hn->lowcase.len = word[i].name.len;
        hn->lowcase.data = ngx_pnalloc(cf->pool, word[i].name.len);
        if (hn->lowcase.data == NULL) {
            return NULL;
        }

        hn->hash = ngx_hash_strlow(hn->lowcase.data, word[i].name.data,
                                   word[i].name.len);

        for (never = ngx_http_unit_header_never; never->len; never++) {

            if (never->len == hn->lowcase.len
                && ngx_memcmp(never->data, hn->lowcase.data, never->len) == 0)
            {
                ngx_http_unit_conf_error_at(cf, &word[i],
                              "\"unit_pass_header\" may not pass \"%V\"");
                return NULL;
            }
        }
    }

    return list;
}


ngx_int_t
ngx_http_unit_header_single(ngx_http_request_t *r, const char *lowcase,
    size_t len, ngx_table_elt_t **out)
{
    ngx_table_elt_t            *h;
    ngx_http_unit_list_walk_t   walk;

    *out = NULL;

    for (h = ngx_http_unit_list_first(&r->headers_in.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->key.len != len
            || ngx_memcmp(h->lowcase_key, lowcase, len) != 0)
        {
            continue;
        }

        if (*out) {
            return NGX_ABORT;
        }

        *out = h;
    }

    return *out ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_http_unit_header_forward(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char                     *hops;
    ngx_int_t                   n;
    ngx_list_t                  list;
    ngx_table_elt_t            *h, *to;
    ngx_http_unit_list_walk_t   walk;

    if (ctx->authorization) {

        /* a replay: only the token is new */

        ctx->authorization->value = ctx->token;
        return ngx_http_unit_header_uri(r, ctx);
    }

    if (ngx_http_unit_header_hops(r, ctx->ulcf, &hops) != NGX_OK
        || ngx_list_init(&list, r->pool, 12, sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (h = ngx_http_unit_list_first(&r->headers_in.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        n = ngx_http_unit_header_allowed(ctx->ulcf, h->hash, h->lowcase_key,
                                         h->key.len, 1);

        if (n < 0 || (hops && hops[n])) {
            continue;
        }

        to = ngx_list_push(&list);
        if (to == NULL) {
            return NGX_ERROR;
        }

        *to = *h;

        if (ctx->json && h == r->headers_in.content_type) {
            ngx_http_unit_header_type(ctx, to);
        }
    }

    to = ngx_list_push(&list);
    if (to == NULL) {
        return NGX_ERROR;
    }

    *to = ngx_http_unit_header_x_request_id;
    to->value = ctx->request_id;

    to = ngx_list_push(&list);
    if (to == NULL) {
        return NGX_ERROR;
    }

    *to = ngx_http_unit_header_authorization;
    to->value = ctx->token;

    if (ngx_http_unit_scrub_add(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    ctx->authorization = to;

    /* the list points into itself, so it is moved with care */

    r->headers_in.headers = list;

    if (list.last == &list.part) {
        r->headers_in.headers.last = &r->headers_in.headers.part;
    }

    r->headers_in.authorization = to;
    r->headers_in.user.len = 0;
    r->headers_in.passwd.len = 0;

    return ngx_http_unit_header_uri(r, ctx);
}


/*
 * Bodies that policy reads may be called application/json; Unit answers 415 to
 * that unless the operation takes it
 */

static void
ngx_http_unit_header_type(ngx_http_unit_ctx_t *ctx, ngx_table_elt_t *h)
{
    if (!ctx->operation->plain_json
        && h->value.len >= sizeof("application/json") - 1
        && ngx_strncasecmp(h->value.data, (u_char *) "application/json",
                           sizeof("application/json") - 1)
           == 0)
    {
        ngx_str_set(&h->value, "application/vnd.api+json");
    }
}


/* the index in the location's allow-list of a name, lowcase or not, or -1 */

static ngx_int_t
ngx_http_unit_header_allowed(ngx_http_unit_loc_conf_t *ulcf, ngx_uint_t hash,
    u_char *name, size_t len, ngx_uint_t lowcase)
{
    ngx_uint_t                    i;
    ngx_http_unit_header_name_t  *hn;

    hn = ulcf->headers->elts;

    for (i = 0; i < ulcf->headers->nelts; i++) {

        if (hn[i].hash == hash
            && hn[i].lowcase.len == len
            && (lowcase ? ngx_memcmp(hn[i].lowcase.data, name, len)
                        : ngx_strncasecmp(hn[i].lowcase.data, name, len))
               == 0)
        {
            return (ngx_int_t) i;
        }
    }

    return -1;
}


/*
 * Which of the allowed names are in Connection, hence for this hop only (RFC
 * 9110 7.6.1): a byte for each in *hops, or NULL when none is.
 */

static ngx_int_t
ngx_http_unit_header_hops(ngx_http_request_t *r,
    ngx_http_unit_loc_conf_t *ulcf, u_char **hops)
{
    u_char                     *p, *last, *token;
    ngx_int_t                   n;
    ngx_uint_t                  hash;
    ngx_table_elt_t            *h;
    ngx_http_unit_list_walk_t   walk;

    *hops = NULL;

    /* there is no r->headers_in.connection before nginx 1.23 */

    for (h = ngx_http_unit_list_first(&r->headers_in.headers, &walk);
         h;
         h = ngx_http_unit_list_next(h, &walk))
    {
        if (h->key.len != sizeof("Connection") - 1
            || ngx_memcmp(h->lowcase_key, "connection",
                          sizeof("connection") - 1)
               != 0)
        {
            continue;
        }

        p = h->value.data;
        last = p + h->value.len;

        while (p < last) {

            while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
                p++;
            }

            token = p;
            hash = 0;

            while (p < last && *p != ' ' && *p != '\t' && *p != ',') {
                hash = ngx_hash(hash, ngx_tolower(*p));
                p++;
            }

            n = ngx_http_unit_header_allowed(ulcf, hash, token, p - token, 0);

            if (n < 0) {
                continue;
            }

            if (*hops == NULL) {
                *hops = ngx_pcalloc(r->pool, ulcf->headers->nelts);
                if (*hops == NULL) {
                    return NGX_ERROR;
                }
            }

            (*hops)[n] = 1;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_header_uri(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx)
{
    u_char     *p;
    size_t      len;
    ngx_str_t   user;

    /*
     * proxy_pass without a URI would send the raw request line; what was
     * authorised is sent instead (STYLE P38)
     */

    r->uri = ctx->uri.path;
    r->valid_unparsed_uri = 0;

    if (ctx->attempts) {

        /* once more: whatever else has touched it meanwhile */

        r->args = ctx->query;
        return NGX_OK;
    }

    if (!ctx->verdict.pin_user || ctx->pinned) {
        ctx->query = r->args;
        return NGX_OK;
    }

    if (ngx_http_unit_uri_escape(r->pool, &ctx->identity.subject, &user)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = r->args.len + sizeof("&filter[userId]=") - 1 + user.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    user.len = ngx_snprintf(p, len, "%V%sfilter[userId]=%V", &r->args,
                            r->args.len ? "&" : "", &user)
               - p;

    r->args.data = p;
    r->args.len = user.len;

    ctx->query = r->args;
    ctx->pinned = 1;

    return NGX_OK;
}


/* all that a header needs (STYLE P21), hashed once and not per request */

static void
ngx_http_unit_header_init(ngx_table_elt_t *h, const char *key,
    const char *lowcase)
{
    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
}
