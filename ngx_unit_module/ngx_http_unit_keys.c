
/*
 * Key sets at run time, see ngx_http_unit_keys.h.  A remote set travels
 * through the store as text; each process parses it when it changes.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_keys.h"


#define NGX_HTTP_UNIT_KEYS_MAX_SIZE   (48 * 1024)

/* all in ms; "kept" is for how long an outage is bridged */
#define NGX_HTTP_UNIT_KEYS_KEPT       (24 * 3600 * 1000)
#define NGX_HTTP_UNIT_KEYS_UNKNOWN    (30 * 1000)
#define NGX_HTTP_UNIT_KEYS_RETRY      (5 * 1000)

/* life time of a set, in seconds: bounds for Cache-Control, and without it */
#define NGX_HTTP_UNIT_KEYS_MIN_AGE    60
#define NGX_HTTP_UNIT_KEYS_MAX_AGE    (12 * 3600)
#define NGX_HTTP_UNIT_KEYS_AGE        3600


static ngx_int_t ngx_http_unit_keys_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason);
static void ngx_http_unit_keys_free(void *data);
static ngx_http_unit_flight_t *ngx_http_unit_keys_flight(
    ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner, const u_char *key);
static ngx_int_t ngx_http_unit_keys_prepare(ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_keys_parse(ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_keys_parse_unknown(
    ngx_http_unit_flight_t *flight);
static void ngx_http_unit_keys_use(ngx_http_request_t *r,
    ngx_http_unit_partner_t *partner, ngx_str_t *text);


ngx_int_t
ngx_http_unit_keys_init(ngx_conf_t *cf, ngx_http_unit_partner_t *partner,
    ngx_str_t *file, ngx_str_t *uri)
{
    ngx_str_t              fields[3];
    ngx_pool_cleanup_t    *cln;
    ngx_http_unit_keys_t  *keys;

    keys = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_keys_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (keys == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_unit_keys_free;
    cln->data = keys;

    partner->keys = keys;

    if (file->len) {
        keys->file = ngx_http_unit_file_add(cf, file,
                                            NGX_HTTP_UNIT_KEYS_MAX_SIZE,
                                            ngx_http_unit_keys_load, keys);
        if (keys->file == NULL) {
            return NGX_ERROR;
        }

        if (keys->set->skipped) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "%ui of %ui keys in \"%V\" cannot be used, "
                               "first: %V", keys->set->skipped,
                               keys->set->total, &keys->file->name,
                               &keys->set->warning);
        }

        return NGX_OK;
    }

    keys->uri = *uri;

    ngx_str_set(&fields[0], "keys");
    fields[1] = partner->name;
    fields[2] = *uri;

    if (ngx_http_unit_sha256(fields, 3, 0, keys->key) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_str_set(&fields[0], "keys-unknown");

    return ngx_http_unit_sha256(fields, 3, 0, keys->unknown);
}


/* ngx_http_unit_file_load_pt, for remote sets too */

static ngx_int_t
ngx_http_unit_keys_load(void *data, u_char *text, size_t len,
    ngx_uint_t strict, const char **reason)
{
    ngx_http_unit_keys_t  *keys = data;

    ngx_int_t              rc;
    ngx_str_t              fields[2 * NGX_HTTP_UNIT_JWK_MAX_KEYS];
    ngx_uint_t             i;
    ngx_pool_t            *pool;
    ngx_http_unit_jwks_t  *set;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        keys->failures++;
        keys->failed = ngx_current_msec;
        return NGX_ERROR;
    }

    rc = ngx_http_unit_jwks_parse(pool, text, len, strict, &set, reason);

    if (rc != NGX_OK) {
        goto failed;
    }

    for (i = 0; i < set->nkeys; i++) {
        fields[2 * i] = set->keys[i].kid;
        fields[2 * i + 1].data = (u_char *)
                           ngx_http_unit_rsa_thumbprint(set->keys[i].rsa);
        fields[2 * i + 1].len = NGX_HTTP_UNIT_SHA256_LEN;
    }

    rc = ngx_http_unit_sha256(fields, 2 * set->nkeys, 0, keys->fingerprint);

    if (rc != NGX_OK) {
        goto failed;
    }

    /* nobody holds a key between two events: the old set can go */

    ngx_http_unit_keys_free(keys);

    keys->set = set;
    keys->loaded = ngx_current_msec;
    keys->loads++;

    return NGX_OK;

failed:

    ngx_destroy_pool(pool);
    keys->failures++;
    keys->failed = ngx_current_msec;

    return rc;
}


static void
ngx_http_unit_keys_free(void *data)
{
    ngx_http_unit_keys_t  *keys = data;

    if (keys->set) {

        /* its log was that of the cycle before, which a reload has freed */
        keys->set->pool->log = ngx_cycle->log;

        ngx_destroy_pool(keys->set->pool);
        keys->set = NULL;
    }
}


ngx_int_t
ngx_http_unit_keys_current(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner)
{
    ngx_int_t                rc;
    ngx_http_unit_keys_t    *keys;
    ngx_http_unit_flight_t  *flight;

    keys = partner->keys;

    if (keys->file) {
        return NGX_OK;
    }

    if (ctx->flight == NULL) {

        if (keys->set
            && (ngx_msec_int_t) (ngx_current_msec - keys->checked)
               < NGX_HTTP_UNIT_KEYS_CHECK)
        {
            return NGX_OK;
        }

        ctx->flight = ngx_http_unit_keys_flight(r, ctx, partner, keys->key);
        if (ctx->flight == NULL) {
            return NGX_ERROR;
        }
    }

    flight = ctx->flight;
    rc = ngx_http_unit_flight_run(flight);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->flight = NULL;
    keys->checked = ngx_current_msec;

    if (rc == NGX_OK) {

        /* its age, not when it was looked at: an outage ends some time */

        keys->fetched = ngx_current_msec
                        - (NGX_HTTP_UNIT_KEYS_KEPT - flight->req.ttl);

        ngx_http_unit_keys_use(r, partner, &flight->req.value);

    } else if (keys->set
               && (ngx_msec_int_t) (ngx_current_msec - keys->fetched)
                  > NGX_HTTP_UNIT_KEYS_KEPT)
    {
        /* an outage is bridged for so long and no longer */
        ngx_http_unit_keys_free(keys);
    }

    return keys->set ? NGX_OK : (rc == NGX_ERROR ? NGX_ERROR : NGX_DECLINED);
}


ngx_int_t
ngx_http_unit_keys_unknown(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner)
{
    ngx_int_t                rc;
    ngx_msec_t               age;
    ngx_http_unit_keys_t    *keys;
    ngx_http_unit_flight_t  *flight;

    keys = partner->keys;

    if (keys->file || ctx->keys_fetched) {
        return NGX_DECLINED;
    }

    if (ctx->flight == NULL) {
        ctx->flight = ngx_http_unit_keys_flight(r, ctx, partner,
                                                keys->unknown);
        if (ctx->flight == NULL) {
            return NGX_ERROR;
        }

        ctx->flight->parse = ngx_http_unit_keys_parse_unknown;
        ctx->flight->fail_ttl = NGX_HTTP_UNIT_KEYS_UNKNOWN;
    }

    flight = ctx->flight;
    rc = ngx_http_unit_flight_run(flight);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->flight = NULL;
    ctx->keys_fetched = 1;

    if (rc != NGX_OK) {
        return rc;
    }

    /*
     * Fetched, by us or by another, since this process has last looked: there
     * may be new keys.  Else anybody could have all processes look at each
     * request, with no more than a kid that nobody has.
     */

    age = NGX_HTTP_UNIT_KEYS_UNKNOWN - flight->req.ttl;

    if (!flight->fetched
        && (ngx_msec_int_t) (ngx_current_msec - age - keys->checked) < 0)
    {
        return NGX_DECLINED;
    }

    keys->checked = ngx_current_msec - NGX_HTTP_UNIT_KEYS_CHECK;

    return NGX_OK;
}


static ngx_http_unit_flight_t *
ngx_http_unit_keys_flight(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_partner_t *partner, const u_char *key)
{
    ngx_http_unit_flight_t  *flight;

    flight = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_flight_t));
    if (flight == NULL) {
        return NULL;
    }

    flight->request = r;
    flight->store = ctx->umcf->store;
    flight->store_data = ctx->umcf->shm;
    flight->req.class = NGX_HTTP_UNIT_SHM_KEYS;
    flight->req.key = key;
    flight->prepare = ngx_http_unit_keys_prepare;
    flight->parse = ngx_http_unit_keys_parse;
    flight->data = partner;
    flight->wait = ctx->ulcf->token_wait;
    flight->fail_ttl = NGX_HTTP_UNIT_KEYS_RETRY;

    return flight;
}


static ngx_int_t
ngx_http_unit_keys_prepare(ngx_http_unit_flight_t *flight)
{
    ngx_http_unit_partner_t  *partner;

    partner = flight->data;

    flight->fetch.method = NGX_HTTP_GET;
    flight->fetch.uri = partner->keys->uri;

    /* no authorization: the key server is not Unit */

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_keys_parse(ngx_http_unit_flight_t *flight)
{
    time_t                    age;
    ngx_int_t                 rc;
    ngx_pool_t               *pool;
    const char               *reason;
    ngx_http_request_t       *r;
    ngx_http_unit_jwks_t     *set;
    ngx_http_unit_fetch_t    *fetch;
    ngx_http_unit_partner_t  *partner;

    r = flight->request;
    fetch = &flight->fetch;
    partner = flight->data;
    reason = "not status 200";

    rc = NGX_DECLINED;

    if (fetch->status == NGX_HTTP_OK
        && fetch->answer.len <= NGX_HTTP_UNIT_KEYS_MAX_SIZE)
    {
        /* a set that cannot be used must not replace the one in the store */

        pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, r->connection->log);
        if (pool == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_unit_jwks_parse(pool, fetch->answer.data,
                                      fetch->answer.len, 0, &set, &reason);
        ngx_destroy_pool(pool);
    }

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "unit keys of partner \"%V\" could not be fetched: "
                      "status %ui, %s", &partner->name, fetch->status, reason);

        partner->keys->failures++;
        partner->keys->failed = ngx_current_msec;
        flight->req.code = NGX_HTTP_UNIT_BROKER_UNAVAILABLE;
        flight->req.ttl = NGX_HTTP_UNIT_KEYS_RETRY;
        return NGX_DECLINED;
    }

    age = (fetch->max_age == -1) ? NGX_HTTP_UNIT_KEYS_AGE : fetch->max_age;
    age = ngx_max(age, NGX_HTTP_UNIT_KEYS_MIN_AGE);
    age = ngx_min(age, NGX_HTTP_UNIT_KEYS_MAX_AGE);

    flight->req.value = fetch->answer;
    flight->req.ttl = NGX_HTTP_UNIT_KEYS_KEPT;
    flight->req.refresh_in = (ngx_msec_t) age * 800;

    return NGX_OK;
}


/*
 * A fetch made because of an unknown key: the set goes where the others look
 * for it, and a marker says for 30 s that it has been tried.
 */

static ngx_int_t
ngx_http_unit_keys_parse_unknown(ngx_http_unit_flight_t *flight)
{
    ngx_http_unit_partner_t    *partner;
    ngx_http_unit_store_req_t   req;

    partner = flight->data;

    if (ngx_http_unit_keys_parse(flight) == NGX_OK) {

        req = flight->req;
        req.key = partner->keys->key;
        req.lease = 0;

        (void) flight->store->put(flight->store_data, &req);
    }

    ngx_str_set(&flight->req.value, "-");
    flight->req.code = NGX_HTTP_UNIT_ALLOWED;
    flight->req.ttl = NGX_HTTP_UNIT_KEYS_UNKNOWN;
    flight->req.refresh_in = 0;

    return NGX_OK;
}


/* put the store's text in force in this process, when it is another one */

static void
ngx_http_unit_keys_use(ngx_http_request_t *r,
    ngx_http_unit_partner_t *partner, ngx_str_t *text)
{
    u_char                 digest[NGX_HTTP_UNIT_SHA256_LEN];
    const char            *reason;
    ngx_http_unit_keys_t  *keys;

    keys = partner->keys;

    if (ngx_http_unit_sha256(text, 1, 1, digest) != NGX_OK
        || (keys->set
            && ngx_memcmp(digest, keys->text, sizeof(digest)) == 0))
    {
        return;
    }

    reason = NULL;

    if (ngx_http_unit_keys_load(keys, text->data, text->len, 0, &reason)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "unit keys of partner \"%V\" could not be loaded: %s",
                      &partner->name, reason ? reason : "no memory");
        return;
    }

    ngx_memcpy(keys->text, digest, sizeof(digest));

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "unit keys of partner \"%V\" loaded, %ui usable, %ui skipped",
                  &partner->name, keys->set->nkeys, keys->set->skipped);
}
