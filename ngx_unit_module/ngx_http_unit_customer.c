
/*
 * The caller's customer, see ngx_http_unit_customer.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_customer.h"
#include "ngx_http_unit_header.h"
#include "ngx_http_unit_token.h"


/* ms: how long an answer counts, and after which it is asked for again */
#define NGX_HTTP_UNIT_CUSTOMER_TTL      300000
#define NGX_HTTP_UNIT_CUSTOMER_REFRESH  60000
#define NGX_HTTP_UNIT_CUSTOMER_NONE     10000

#define NGX_HTTP_UNIT_CUSTOMER_MAX_ID   64


static ngx_int_t ngx_http_unit_customer_lookup(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code);
static ngx_int_t ngx_http_unit_customer_prepare(
    ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_customer_parse(ngx_http_unit_flight_t *flight);
static ngx_int_t ngx_http_unit_customer_list(ngx_http_unit_flight_t *flight,
    json_t *root);
static ngx_uint_t ngx_http_unit_customer_has_subject(json_t *attributes,
    ngx_str_t *subject);
static ngx_uint_t ngx_http_unit_customer_is_subject(json_t *place,
    ngx_str_t *subject);
static ngx_uint_t ngx_http_unit_customer_is_id(const char *p, size_t len);
static ngx_uint_t ngx_http_unit_customer_member(ngx_str_t *list,
    ngx_str_t *id);


ngx_int_t
ngx_http_unit_customer(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_http_unit_code_e *code, const char **reason)
{
    ngx_int_t                  rc;
    ngx_table_elt_t           *h;
    ngx_http_unit_identity_t  *id;

    id = &ctx->identity;

    if (id->partner->org) {
        return NGX_OK;
    }

    if (id->partner->lookup && !ctx->looked_up) {

        rc = ngx_http_unit_customer_lookup(r, ctx, code);

        if (rc != NGX_OK) {
            *reason = "customer_lookup";
            return rc;
        }
    }

    if (id->ncustomers == 0) {
        *code = NGX_HTTP_UNIT_CUSTOMER_NOT_LINKED;
        *reason = "customer_none";
        return NGX_DECLINED;
    }

    rc = ngx_http_unit_header_single(r, "unit-customer",
                                     sizeof("unit-customer") - 1, &h);

    if (rc == NGX_ABORT) {
        *code = NGX_HTTP_UNIT_INVALID_REQUEST;
        *reason = "customer_header_twice";
        return NGX_DECLINED;
    }

    if (rc == NGX_OK) {

        if (!ngx_http_unit_customer_member(&id->customers, &h->value)) {
            *code = NGX_HTTP_UNIT_CUSTOMER_MISMATCH;
            *reason = "customer_header";
            return NGX_DECLINED;
        }

        ctx->customer = h->value;
        return NGX_OK;
    }

    if (id->ncustomers > 1) {
        *code = NGX_HTTP_UNIT_CUSTOMER_REQUIRED;
        *reason = "customer_several";
        return NGX_DECLINED;
    }

    ctx->customer = id->customers;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_customer_lookup(ngx_http_request_t *r,
    ngx_http_unit_ctx_t *ctx, ngx_http_unit_code_e *code)
{
    u_char                  *p;
    ngx_int_t                rc;
    ngx_str_t                fields[3], *value;
    ngx_http_unit_flight_t  *flight;

    if (ctx->flight == NULL) {

        flight = ngx_pcalloc(r->pool, sizeof(ngx_http_unit_flight_t));
        p = ngx_pnalloc(r->pool, NGX_HTTP_UNIT_SHA256_LEN);

        if (flight == NULL || p == NULL) {
            return NGX_ERROR;
        }

        ngx_str_set(&fields[0], "customers");
        fields[1] = ctx->identity.partner->name;
        fields[2] = ctx->identity.subject;

        if (ngx_http_unit_sha256(fields, 3, 0, p) != NGX_OK) {
            return NGX_ERROR;
        }

        flight->request = r;
        flight->store = ctx->umcf->store;
        flight->store_data = ctx->umcf->shm;
        flight->req.class = NGX_HTTP_UNIT_SHM_CUSTOMERS;
        flight->req.key = p;
        flight->prepare = ngx_http_unit_customer_prepare;
        flight->parse = ngx_http_unit_customer_parse;
        flight->data = ctx;
        flight->wait = ctx->ulcf->token_wait;

        ctx->flight = flight;
    }

    flight = ctx->flight;
    rc = ngx_http_unit_flight_run(flight);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->flight = NULL;

    if (rc != NGX_OK) {
        *code = flight->req.code;
        return rc;
    }

    value = &flight->req.value;

    ctx->looked_up = 1;
    ctx->identity.customers = *value;
    ctx->identity.ncustomers = 0;

    if (value->len == 0) {
        return NGX_OK;
    }

    ctx->identity.ncustomers = 1;

    for (p = value->data; p < value->data + value->len; p++) {
        if (*p == ',') {
            ctx->identity.ncustomers++;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_customer_prepare(ngx_http_unit_flight_t *flight)
{
    u_char                 *p;
    size_t                  len;
    ngx_str_t               subject;
    ngx_http_request_t     *r;
    ngx_http_unit_ctx_t    *ctx;
    ngx_http_unit_fetch_t  *fetch;

    r = flight->request;
    ctx = flight->data;
    fetch = &flight->fetch;

    if (ngx_http_unit_token_org(r, ctx, &fetch->authorization) != NGX_OK
        || ngx_http_unit_uri_escape(r->pool, &ctx->identity.subject, &subject)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    len = ctx->umcf->broker.len + sizeof("/customers") - 1;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->uri.data = p;
    fetch->uri.len = len;

    p = ngx_cpymem(p, ctx->umcf->broker.data, ctx->umcf->broker.len);
    ngx_memcpy(p, "/customers", sizeof("/customers") - 1);

    len = sizeof("filter%5BjwtSubject%5D=&page%5Blimit%5D=100") - 1
          + subject.len;

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->args.data = p;
    fetch->args.len = ngx_snprintf(p, len, "filter%%5BjwtSubject%%5D=%V"
                                           "&page%%5Blimit%%5D=100", &subject)
                      - p;

    fetch->method = NGX_HTTP_GET;
    fetch->request_id = ctx->request_id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_customer_parse(ngx_http_unit_flight_t *flight)
{
    json_t                 *root;
    ngx_int_t               rc;
    json_error_t            error;
    ngx_http_unit_fetch_t  *fetch;

    fetch = &flight->fetch;

    if (fetch->status != NGX_HTTP_OK) {
        return ngx_http_unit_flight_refused(flight,
                                            NGX_HTTP_UNIT_UPSTREAM_INVALID);
    }

    rc = NGX_DECLINED;

    root = json_loadb((char *) fetch->answer.data, fetch->answer.len,
                      JSON_REJECT_DUPLICATES, &error);

    if (root) {
        rc = ngx_http_unit_customer_list(flight, root);
        json_decref(root);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_ERR, flight->request->connection->log, 0,
                      "unit customers: unreadable answer, id: %V",
                      &fetch->request_id);

        flight->req.code = NGX_HTTP_UNIT_UPSTREAM_INVALID;
        flight->req.ttl = 0;
    }

    return rc;
}


static ngx_int_t
ngx_http_unit_customer_list(ngx_http_unit_flight_t *flight, json_t *root)
{
    u_char                     *p;
    size_t                      i, len;
    json_t                     *data, *item, *id;
    ngx_uint_t                  n;
    ngx_http_unit_ctx_t        *ctx;
    ngx_http_unit_store_req_t  *req;

    ctx = flight->data;
    req = &flight->req;

    data = json_object_get(root, "data");

    if (!json_is_array(data)) {
        return NGX_DECLINED;
    }

    len = NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS
          * (NGX_HTTP_UNIT_CUSTOMER_MAX_ID + 1);

    p = ngx_pnalloc(flight->request->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    req->value.data = p;
    n = 0;

    json_array_foreach(data, i, item) {

        id = json_object_get(item, "id");

        /*
         * The filter is Unit's; whether a customer is the subject's is
         * checked here as well: a filter that is ignored lists everybody
         */

        if (!ngx_http_unit_customer_has_subject(json_object_get(item,
                                                                "attributes"),
                                                &ctx->identity.subject))
        {
            continue;
        }

        if (!json_is_string(id)
            || !ngx_http_unit_customer_is_id(json_string_value(id),
                                             json_string_length(id)))
        {
            return NGX_DECLINED;
        }

        if (n == NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS) {
            return NGX_DECLINED;
        }

        if (n++) {
            *p++ = ',';
        }

        p = ngx_cpymem(p, json_string_value(id), json_string_length(id));
    }

    req->value.len = p - req->value.data;

    req->ttl = n ? NGX_HTTP_UNIT_CUSTOMER_TTL : NGX_HTTP_UNIT_CUSTOMER_NONE;
    req->refresh_in = n ? NGX_HTTP_UNIT_CUSTOMER_REFRESH : 0;

    return NGX_OK;
}


/* jwtSubject may sit on the customer, its contact or an authorized user */

static ngx_uint_t
ngx_http_unit_customer_has_subject(json_t *attributes, ngx_str_t *subject)
{
    size_t       i;
    json_t      *users, *user;
    const char  *status;

    status = json_string_value(json_object_get(attributes, "status"));

    if (status && ngx_strcmp(status, "Archived") == 0) {
        return 0;
    }

    if (ngx_http_unit_customer_is_subject(attributes, subject)
        || ngx_http_unit_customer_is_subject(
                                     json_object_get(attributes, "contact"),
                                     subject))
    {
        return 1;
    }

    users = json_object_get(attributes, "authorizedUsers");

    json_array_foreach(users, i, user) {

        if (ngx_http_unit_customer_is_subject(user, subject)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_unit_customer_is_subject(json_t *place, ngx_str_t *subject)
{
    json_t  *value;

    value = json_object_get(place, "jwtSubject");

    return json_is_string(value)
           && json_string_length(value) == subject->len
           && ngx_memcmp(json_string_value(value), subject->data,
                         subject->len)
              == 0;
}


static ngx_uint_t
ngx_http_unit_customer_is_id(const char *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > NGX_HTTP_UNIT_CUSTOMER_MAX_ID) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || p[i] == '-' || p[i] == '_'
              || ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z')))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_http_unit_customer_member(ngx_str_t *list, ngx_str_t *id)
{
    u_char  *p, *last, *item;

    p = list->data;
    last = p + list->len;

    while (p < last) {

        item = p;

        while (p < last && *p != ',') {
            p++;
        }

        if ((size_t) (p - item) == id->len
            && ngx_memcmp(item, id->data, id->len) == 0)
        {
            return 1;
        }

        p++;
    }

    return 0;
}


ngx_int_t
ngx_http_unit_customer_pin(ngx_http_request_t *r, ngx_http_unit_ctx_t *ctx,
    ngx_int_t segment, ngx_http_unit_code_e *code, const char **reason)
{
    u_char      *p;
    size_t       len, before;
    ngx_str_t   *id, path;
    ngx_uint_t   i, user;
    ngx_http_unit_uri_arg_t  *arg;

    if (segment >= 0) {

        id = &ctx->uri.segments[segment];

        if (id->len == 2 && ngx_memcmp(id->data, "me", 2) == 0) {

            if (ctx->customer.len == 0) {
                *code = NGX_HTTP_UNIT_CUSTOMER_REQUIRED;
                *reason = "customer_me";
                return NGX_DECLINED;
            }

            before = id->data - ctx->uri.path.data;
            len = ctx->uri.path.len - 2 + ctx->customer.len;

            p = ngx_pnalloc(r->pool, len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            path.data = p;
            path.len = len;

            p = ngx_cpymem(p, ctx->uri.path.data, before);
            p = ngx_cpymem(p, ctx->customer.data, ctx->customer.len);
            ngx_memcpy(p, id->data + 2, ctx->uri.path.len - before - 2);

            if (ngx_http_unit_uri_canonical(r->pool, &path, &ctx->uri)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

        } else if (ctx->customer.len
                   && (id->len != ctx->customer.len
                       || ngx_memcmp(id->data, ctx->customer.data, id->len)
                          != 0))
        {
            *code = NGX_HTTP_UNIT_CUSTOMER_MISMATCH;
            *reason = "customer_path";
            return NGX_DECLINED;
        }
    }

    if (ctx->identity.partner->org) {
        return NGX_OK;
    }

    if (ngx_http_unit_policy_query_customer(&ctx->args, &ctx->customer)
        != NGX_OK)
    {
        *code = NGX_HTTP_UNIT_CUSTOMER_MISMATCH;
        *reason = "customer_query";
        return NGX_DECLINED;
    }

    /* the other filter that selects whose data comes back */

    arg = ctx->args.elts;
    user = 0;

    for (i = 0; i < ctx->args.nelts; i++) {

        if (!ngx_http_unit_uri_is_filter(&arg[i].name, "userId")) {
            continue;
        }

        if (!ngx_http_unit_uri_list_only(&arg[i].value,
                                         &ctx->identity.subject))
        {
            *code = NGX_HTTP_UNIT_CUSTOMER_MISMATCH;
            *reason = "customer_user";
            return NGX_DECLINED;
        }

        if (ngx_http_unit_uri_is_plain_filter(&arg[i].name, "userId")) {
            user = 1;
        }
    }

    ctx->pinned = user;

    return NGX_OK;
}
