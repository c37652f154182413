
/*
 * Fuzz target: answers of Unit to the broker (a customer token, the start of
 * a verification, a list of customers), what a client may say to start a
 * verification, and the file of the organisation's token.  The input is tried
 * as each of these.  What is taken is compared with a plain reading of the
 * text by jansson; a text that held a token must be wiped.
 *
 * Some of the functions are static, in files that know of requests: these are
 * included.  What they call elsewhere is not linked (answer.mk): a call that is
 * not expected ends in a crash.
 */


#include "../../ngx_unit_module/ngx_http_unit_customer.c"
#include "../../ngx_unit_module/ngx_http_unit_token_answer.c"
#include "../../ngx_unit_module/ngx_http_unit_verification.c"
#include "ngx_stub.h"
#include "fuzz.h"


#define FUZZ_TOKEN68  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  \
                      "0123456789-._~+/="
#define FUZZ_ID       "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  \
                      "0123456789-_"


volatile ngx_msec_t  ngx_current_msec;

static time_t        fuzz_left;


/* what the files call that are not linked */

ngx_int_t
ngx_http_unit_flight_refused(ngx_http_unit_flight_t *flight,
    ngx_http_unit_code_e not_found)
{
    return NGX_DECLINED;
}


time_t
ngx_http_unit_token_jwt_verified(ngx_http_unit_ctx_t *ctx)
{
    return fuzz_left;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
    fuzz_assert(level >= NGX_LOG_ERR);
}


/* data.attributes.NAME */

static json_t *
fuzz_attribute(json_t *root, const char *name)
{
    return json_object_get(json_object_get(json_object_get(root, "data"),
                                           "attributes"), name);
}


static int
fuzz_is(json_t *value, const ngx_str_t *s)
{
    return json_string_length(value) == s->len
           && memcmp(json_string_value(value), s->data, s->len) == 0;
}


/* a string of so many characters, all of the set */

static int
fuzz_made_of(json_t *value, const char *set, size_t min, size_t max)
{
    return json_is_string(value)
           && json_string_length(value) >= min
           && json_string_length(value) <= max
           && strspn(json_string_value(value), set)
              == json_string_length(value);
}


static void
fuzz_copy(ngx_pool_t *pool, ngx_str_t *to, const uint8_t *data, size_t len)
{
    to->data = ngx_pnalloc(pool, len);
    to->len = len;
    memcpy(to->data, data, len);
}


static int
fuzz_wiped(const ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] != '\0') {
            return 0;
        }
    }

    return 1;
}


static void
fuzz_token(ngx_http_unit_flight_t *flight, json_t *root, const uint8_t *data,
    size_t len)
{
    int                         good;
    time_t                      seconds;
    json_t                     *token, *expires;
    ngx_int_t                   rc;
    ngx_str_t                   text, got;
    ngx_msec_t                  life;
    ngx_pool_t                 *pool;
    ngx_http_unit_store_req_t  *req;

    pool = flight->request->pool;
    req = &flight->req;

    token = fuzz_attribute(root, "token");
    expires = fuzz_attribute(root, "expiresIn");
    good = fuzz_made_of(token, FUZZ_TOKEN68, 1, 8192)
           && json_is_integer(expires) && json_integer_value(expires) > 0;

    fuzz_copy(pool, &text, data, len);

    rc = ngx_http_unit_token_read(pool, &text, &got, &seconds);

    fuzz_assert(rc == (good ? NGX_OK : NGX_DECLINED));
    fuzz_assert(fuzz_wiped(&text));

    if (good) {
        fuzz_assert(fuzz_is(token, &got));
        fuzz_assert(seconds == (json_integer_value(expires) < 86400
                                ? json_integer_value(expires) : 86400));
    }

    /* and with no memory */

    fuzz_copy(pool, &text, data, len);
    ngx_stub_fail(1);
    rc = ngx_http_unit_token_read(pool, &text, &got, &seconds);
    ngx_stub_fail(0);
    fuzz_assert(rc == (good ? NGX_ERROR : NGX_DECLINED));
    fuzz_assert(fuzz_wiped(&text) && got.data == NULL);

    /* never used to its end, renewed before that, and not all at once */

    fuzz_copy(pool, &flight->fetch.answer, data, len);
    rc = ngx_http_unit_token_parse(flight);
    fuzz_assert(rc == (good ? NGX_OK : NGX_DECLINED));
    fuzz_assert(rc == NGX_OK
                || (req->code == NGX_HTTP_UNIT_UPSTREAM_INVALID
                    && req->ttl == 0));

    if (good) {
        life = (ngx_msec_t) seconds * 1000;
        fuzz_assert(req->ttl > 0 && req->ttl < life
                    && (req->ttl == life - 10000 || req->ttl == life / 10 * 9));
        fuzz_assert(req->refresh_in <= req->ttl - req->ttl / 10
                    && req->refresh_in >= req->ttl - req->ttl / 10 * 2 - 1);
    }

    fuzz_left = len * 1000;
    fuzz_copy(pool, &flight->fetch.answer, data, len);
    rc = ngx_http_unit_token_parse_jwt(flight);
    fuzz_assert(rc == (good ? NGX_OK : NGX_DECLINED));
    fuzz_assert(rc != NGX_OK
                || (req->ttl <= (ngx_msec_t) fuzz_left * 1000
                    && req->refresh_in == 0));
}


static void
fuzz_verification(ngx_http_unit_fetch_t *fetch, json_t *root,
    const uint8_t *data, size_t len)
{
    int                          good;
    json_t                      *token;
    ngx_int_t                    rc;
    ngx_str_t                    got;
    ngx_pool_t                  *pool;
    ngx_http_unit_two_factor_t  *tf;

    tf = fetch->data;
    pool = tf->ctx->request->pool;

    token = fuzz_attribute(root, "verificationToken");
    good = json_is_string(token) && json_string_length(token) > 0
           && json_string_length(token) <= NGX_HTTP_UNIT_HANDLE_TOKEN;

    fuzz_copy(pool, &fetch->answer, data, len);

    rc = ngx_http_unit_verification_token(fetch, &got);

    fuzz_assert(rc == (good ? NGX_OK : NGX_DECLINED));
    fuzz_assert(rc != NGX_OK || fuzz_is(token, &got));
    fuzz_assert(root == NULL || fuzz_wiped(&fetch->answer));
}


static int
fuzz_has_subject(json_t *attributes, const char *subject)
{
    size_t       i;
    json_t      *user;
    ngx_str_t    s;

    s.data = (u_char *) subject;
    s.len = strlen(subject);

    if (fuzz_made_of(json_object_get(attributes, "status"), "Archived", 8, 8)
        && strcmp(json_string_value(json_object_get(attributes, "status")),
                  "Archived") == 0)
    {
        return 0;
    }

    json_array_foreach(json_object_get(attributes, "authorizedUsers"), i, user)
    {
        if (json_is_string(json_object_get(user, "jwtSubject"))
            && fuzz_is(json_object_get(user, "jwtSubject"), &s))
        {
            return 1;
        }
    }

    user = json_object_get(json_object_get(attributes, "contact"),
                           "jwtSubject");
    attributes = json_object_get(attributes, "jwtSubject");

    return (json_is_string(user) && fuzz_is(user, &s))
           || (json_is_string(attributes) && fuzz_is(attributes, &s));
}


static void
fuzz_customers(ngx_http_unit_flight_t *flight, json_t *root,
    const uint8_t *data, size_t len)
{
    char         want[NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS * 65 + 1];
    int          good;
    size_t       i, n;
    json_t      *list, *item, *id;
    ngx_int_t    rc;

    list = json_object_get(root, "data");
    good = json_is_array(list);
    want[0] = '\0';
    n = 0;

    json_array_foreach(list, i, item) {

        if (!fuzz_has_subject(json_object_get(item, "attributes"), "alice")) {
            continue;
        }

        id = json_object_get(item, "id");

        if (n == NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS
            || !fuzz_made_of(id, FUZZ_ID, 1, 64))
        {
            good = 0;
            break;
        }

        strcat(want, n++ ? "," : "");
        strcat(want, json_string_value(id));
    }

    fuzz_copy(flight->request->pool, &flight->fetch.answer, data, len);

    flight->fetch.status = NGX_HTTP_OK;
    rc = ngx_http_unit_customer_parse(flight);

    fuzz_assert(rc == (good ? NGX_OK : NGX_DECLINED));

    if (good) {
        fuzz_assert(flight->req.value.len == strlen(want)
                    && memcmp(flight->req.value.data, want, strlen(want))
                       == 0);

        /* that there is none is forgotten sooner */

        fuzz_assert(flight->req.ttl == (n ? 300000 : 10000));
        fuzz_assert(flight->req.refresh_in < flight->req.ttl);

    } else {
        fuzz_assert(flight->req.ttl == 0);
    }
}


/* what a client asks for: only what is known may become part of a message */

static void
fuzz_start(json_t *root)
{
    json_t       *attributes, *phone, *hash, *language;
    ngx_uint_t    taken;
    const char   *reason, *s;

    attributes = json_object_get(json_object_get(root, "data"), "attributes");

    if (!json_is_object(attributes)) {
        return;
    }

    reason = NULL;
    taken = ngx_http_unit_verification_valid(attributes, &reason);
    fuzz_assert(taken == (reason == NULL));

    if (!taken) {
        return;
    }

    s = json_string_value(json_object_get(attributes, "channel"));
    fuzz_assert(s && (strcmp(s, "sms") == 0 || strcmp(s, "call") == 0));

    phone = json_object_get(attributes, "phone");
    fuzz_assert(phone == NULL
                || (json_object_size(phone) == 2
                    && fuzz_made_of(json_object_get(phone, "countryCode"),
                                    "0123456789", 1, 3)
                    && fuzz_made_of(json_object_get(phone, "number"),
                                    "0123456789", 4, 15)));

    hash = json_object_get(attributes, "appHash");
    fuzz_assert(hash == NULL
                || (strcmp(s, "sms") == 0
                    && fuzz_made_of(hash, FUZZ_TOKEN68, 11, 11)
                    && strpbrk(json_string_value(hash), ".~") == NULL));

    language = json_object_get(attributes, "language");
    fuzz_assert(language == NULL
                || fuzz_made_of(language, FUZZ_ID, 2, 5));
}


static void
fuzz_file(const uint8_t *data, size_t len)
{
    size_t                   i, n;
    u_char                  *copy;
    ngx_int_t                rc;
    const char              *reason;
    ngx_http_unit_secret_t   secret;

    memset(&secret, 'x', sizeof(secret));
    secret.len = sizeof(secret.data);

    copy = malloc(len + 1);
    memcpy(copy, data, len);
    reason = NULL;

    rc = ngx_http_unit_token_load(&secret, copy, len, 1, &reason);

    fuzz_assert(memcmp(copy, data, len) == 0);
    free(copy);

    if (rc != NGX_OK) {
        fuzz_assert(rc == NGX_DECLINED && reason != NULL);
        fuzz_assert(secret.len == sizeof(secret.data)
                    && secret.data[0] == 'x');
        return;
    }

    n = secret.len;
    fuzz_assert(n > 0 && n <= len && memcmp(secret.data, data, n) == 0);

    for (i = 0; i < sizeof(secret.data); i++) {
        fuzz_assert(i < n ? secret.data[i] > 0x20 && secret.data[i] < 0x7f
                          : secret.data[i] == '\0');
    }

    for (i = n; i < len; i++) {
        fuzz_assert(data[i] == '\n' || data[i] == '\r' || data[i] == ' ');
    }
}


static void
fuzz_one(uint8_t *data, size_t len)
{
    json_t                      *root;
    ngx_log_t                    log;
    ngx_connection_t             c;
    ngx_http_request_t           r;
    ngx_http_unit_ctx_t          ctx;
    ngx_http_unit_flight_t       flight;
    ngx_http_unit_two_factor_t   tf;

    ngx_memzero(&log, sizeof(log));
    ngx_memzero(&c, sizeof(c));
    ngx_memzero(&r, sizeof(r));
    ngx_memzero(&ctx, sizeof(ctx));
    ngx_memzero(&flight, sizeof(flight));
    ngx_memzero(&tf, sizeof(tf));

    log.log_level = NGX_LOG_ERR;
    c.log = &log;
    r.connection = &c;
    r.pool = ngx_create_pool(1024, NULL);
    ctx.request = &r;
    ngx_str_set(&ctx.identity.subject, "alice");
    flight.request = &r;
    flight.data = &ctx;
    flight.fetch.status = NGX_HTTP_CREATED;
    tf.ctx = &ctx;
    tf.fetch.data = &tf;

    root = json_loadb((char *) data, len, JSON_REJECT_DUPLICATES, NULL);

    fuzz_token(&flight, root, data, len);
    fuzz_verification(&tf.fetch, root, data, len);
    fuzz_customers(&flight, root, data, len);
    fuzz_start(root);
    fuzz_file(data, len);

    json_decref(root);
    ngx_destroy_pool(r.pool);
}
