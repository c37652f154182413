
/*
 * Claims of verified tokens: every rule of the header of
 * ngx_http_unit_jwt_claims() and every reason word, with wrong types, edges
 * of time, arrays, odd names (DESIGN 5.1 and 13).
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_jwt.h"
#include "ngx_stub.h"
#include "tap.h"
#include "jwt_kit.h"


#define NOW  1000000000


static ngx_pool_t                  *pool;
static ngx_http_unit_jwt_rules_t    rules;
static ngx_http_unit_jwt_claims_t   claims;


static ngx_int_t
check(const char *json)
{
    ngx_http_unit_jwt_t  jwt;

    memset(&jwt, 0, sizeof(jwt));

    jwt.payload.len = strlen(json);
    jwt.payload.data = ngx_pnalloc(pool, jwt.payload.len);
    memcpy(jwt.payload.data, json, jwt.payload.len);

    /* what was there before must not matter */
    memset(&claims, 0xa5, sizeof(claims));

    return ngx_http_unit_jwt_claims(pool, &jwt, &rules, NOW, &claims);
}


/* The whole payload; reason is NULL for good ones. */

static void
payload(const char *json, const char *reason)
{
    ngx_int_t  rc;

    rc = check(json);

    if (reason == NULL) {
        is(rc, NGX_OK, json);
        ok(claims.reason == NULL, "no reason: %s", json);

        return;
    }

    is(rc, NGX_DECLINED, json);
    is_text(claims.reason, claims.reason ? strlen(claims.reason) : 0, reason,
            json);
    ok(claims.subject.len == 0 && claims.ncustomers == 0 && claims.exp == 0
       && claims.role.len == 0 && claims.session.len == 0,
       "nothing is left of it: %s", json);
}


/* A good payload with one more claim, such as "\"nbf\":1". */

static void
more(const char *claim, const char *reason)
{
    char  *json;

    json = kit_format("{\"iss\":\"https://i/\",\"sub\":\"s\",\"aud\":\"gw\","
                      "\"exp\":1000000100,%s}", claim);
    payload(json, reason);
    free(json);
}


/* A good payload but for the given claim, which is left out when NULL. */

static void
instead(const char *name, const char *value, const char *reason)
{
    char               *json, *p;
    ngx_uint_t          i;

    static const char  *good[][2] = {
        { "iss", "\"https://i/\"" }, { "sub", "\"s\"" }, { "aud", "\"gw\"" },
        { "exp", "1000000100" }
    };

    json = malloc(2000 + (value ? strlen(value) : 0));
    p = json + sprintf(json, "{\"x\":0");

    for (i = 0; i < 4; i++) {

        if (strcmp(good[i][0], name) != 0) {
            p += sprintf(p, ",\"%s\":%s", good[i][0], good[i][1]);
        }
    }

    if (value != NULL) {
        p += sprintf(p, ",\"%s\":%s", name, value);
    }

    strcpy(p, "}");

    payload(json, reason);
    free(json);
}


/* A claim that is a string of len digits. */

static void
sized(const char *name, int len, const char *reason)
{
    char  *value;

    value = kit_format("\"%0*d\"", len, 1);
    instead(name, value, reason);
    free(value);
}


static void
wrong_types(const char *name, const char *reason, const char *except)
{
    ngx_uint_t          i;

    static const char  *values[] = {
        "null", "true", "false", "0", "1.5", "\"\"", "[]", "{}", "[null]",
        "[[\"gw\"]]", "{\"gw\":\"gw\"}"
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {

        if (strstr(except, values[i]) == NULL) {
            instead(name, values[i], reason);
        }
    }
}


static void
test_payload(void)
{
    payload("", "jwt_payload");
    payload("x", "jwt_payload");
    payload("[]", "jwt_payload");
    payload("null", "jwt_payload");
    payload("\"iss\"", "jwt_payload");
    payload("[{\"iss\":\"https://i/\"}]", "jwt_payload");
    payload("{\"iss\":\"https://i/\"", "jwt_payload");
    payload("{\"iss\":\"https://i/\"} x", "jwt_payload");
    payload("{}", "jwt_iss");

    more("\"x\":1", NULL);
    more("\"sub\":\"s\"", "jwt_payload");
    more("\"\\u0073ub\":\"t\"", "jwt_payload");
    more("\"x\":{\"a\":1,\"a\":2}", "jwt_payload");
    more("\"x\":\"\\u0000\"", "jwt_payload");
    more("\"x\":\"\\udc00\"", "jwt_payload");
    more("\"x\":\"\xc0\x80\"", "jwt_payload");
    more("\"x\":1e999", "jwt_payload");
    more("\"x\":01", "jwt_payload");
    more("\"x\":NaN", "jwt_payload");

    /* names are exact, and only those of the outermost object count */

    more("\"ISS\":\"x\",\"Sub\":\"y\",\"EXP\":1", NULL);
    instead("sub", NULL, "jwt_sub");
    instead("Sub", "\"s\"", NULL);
    payload("{\"x\":{\"iss\":\"https://i/\",\"sub\":\"s\",\"exp\":2000000000,"
            "\"aud\":\"gw\"}}", "jwt_iss");
}


static void
test_issuer_subject(void)
{
    instead("iss", NULL, "jwt_iss");
    wrong_types("iss", "jwt_iss", "");
    instead("iss", "[\"https://i/\"]", "jwt_iss");
    instead("iss", "\"https://i\"", "jwt_iss");
    instead("iss", "\"https://i//\"", "jwt_iss");
    instead("iss", "\"https://I/\"", "jwt_iss");
    instead("iss", "\"https://i/ \"", "jwt_iss");
    instead("iss", "\"https:\\/\\/\\u0069/\"", NULL);

    instead("sub", NULL, "jwt_sub");
    wrong_types("sub", "jwt_sub", "");
    instead("sub", "[\"s\"]", "jwt_sub");
    instead("sub", "\"a\\nb\"", "jwt_sub");
    instead("sub", "\"a\\u001f\"", "jwt_sub");
    instead("sub", "\"\\u007f\"", "jwt_sub");
    instead("sub", "\"a\\u0080\"", "jwt_sub");
    instead("sub", "\"a\xc2\x9f\"", "jwt_sub");

    instead("sub", "\"a\xc2\xa0\"", NULL);
    instead("sub", "\"\xf0\x9f\x98\x80\"", NULL);

    instead("sub", "\"auth0|1\\u0032\\/3\"", NULL);
    is_text(claims.subject.data, claims.subject.len, "auth0|12/3",
            "subject is decoded");

    sized("sub", 255, NULL);
    is(claims.subject.len, 255, "subject of 255 bytes");
    sized("sub", 256, "jwt_sub");
}


static void
test_times(void)
{
    /* leeway is 30 seconds */

    instead("exp", NULL, "jwt_exp");
    wrong_types("exp", "jwt_exp", "0 1.5");
    instead("exp", "\"2000000000\"", "jwt_exp");
    instead("exp", "[2000000000]", "jwt_exp");
    instead("exp", "1e300", "jwt_exp");
    instead("exp", "1e16", "jwt_exp");
    instead("exp", "9223372036854775807", "jwt_exp");
    instead("exp", "9007199254740993", "jwt_exp");
    instead("exp", "-9223372036854775808", "jwt_exp");
    instead("exp", "0", "jwt_expired");
    instead("exp", "-1", "jwt_expired");
    instead("exp", "-0", "jwt_expired");
    instead("exp", "1.5", "jwt_expired");
    instead("exp", "1000000000000e-9", "jwt_expired");
    instead("exp", "-9007199254740992", "jwt_expired");
    instead("exp", "999999970", "jwt_expired");
    instead("exp", "999999970.999", "jwt_expired");
    instead("exp", "999999971", NULL);
    is(claims.exp, 999999971, "exp");
    instead("exp", "999999971.999", NULL);
    is(claims.exp, 999999971, "exp is cut");
    instead("exp", "1.0e9", NULL);
    is(claims.exp, 1000000000, "exp with exponent");
    instead("exp", "9007199254740992", NULL);
    ok(claims.exp == (time_t) ngx_min(9007199254740992,
                                      (int64_t) NGX_MAX_TIME_T_VALUE),
       "the largest exp");

    more("\"nbf\":1000000030", NULL);
    more("\"nbf\":1000000030.9", NULL);
    more("\"nbf\":1000000031", "jwt_nbf");
    more("\"nbf\":9007199254740992", "jwt_nbf");
    more("\"nbf\":0", NULL);
    more("\"nbf\":-5.5", NULL);
    more("\"nbf\":-1e99", "jwt_nbf");
    wrong_types("nbf", "jwt_nbf", "0 1.5");

    more("\"iat\":1000000030", NULL);
    more("\"iat\":1000000031", "jwt_iat");
    more("\"iat\":1", NULL);
    more("\"iat\":1e18", "jwt_iat");
    wrong_types("iat", "jwt_iat", "0 1.5");

    rules.leeway = 0;
    instead("exp", "1000000000", "jwt_expired");
    instead("exp", "1000000001", NULL);
    more("\"nbf\":1000000000", NULL);
    more("\"nbf\":1000000001", "jwt_nbf");
    rules.leeway = 30;
}


static void
test_audience(void)
{
    char        *list, *p;
    ngx_uint_t   i;

    instead("aud", NULL, "jwt_aud");
    wrong_types("aud", "jwt_aud", "");
    instead("aud", "\"GW\"", "jwt_aud");
    instead("aud", "\"gw \"", "jwt_aud");
    instead("aud", "\"a,gw\"", "jwt_aud");
    instead("aud", "\"\\u0067w\"", NULL);
    instead("aud", "[\"gw\"]", NULL);
    instead("aud", "[ \"a\" , \"gw\", \"b\" ]", NULL);
    instead("aud", "[\"a\",\"\\u0067\\u0077\"]", NULL);
    instead("aud", "[\"a\",\"b\"]", "jwt_aud");
    instead("aud", "[\"gw\",1]", "jwt_aud");
    instead("aud", "[1,\"gw\"]", "jwt_aud");
    instead("aud", "[\"gw\",null]", "jwt_aud");
    instead("aud", "[\"gw\",[\"gw\"]]", "jwt_aud");
    instead("aud", "[{\"gw\":\"gw\"}]", "jwt_aud");

    list = malloc(8192);
    p = list;
    *p++ = '[';

    for (i = 0; i < 1500; i++) {
        p += sprintf(p, "\"a\",");
    }

    strcpy(p, "\"gw\"]");
    instead("aud", list, NULL);
    free(list);

    ngx_str_null(&rules.audience);
    instead("aud", NULL, NULL);
    instead("aud", "\"x\"", NULL);
    instead("aud", "1", NULL);
    ngx_str_set(&rules.audience, "gw");
}


static void
customers(const char *value, ngx_uint_t n, const char *first,
    const char *last)
{
    char  *claim;

    claim = kit_format("\"cid\":%s", value);
    more(claim, NULL);
    free(claim);

    if (is(claims.ncustomers, n, value) && n != 0) {
        is_text(claims.customers[0].data, claims.customers[0].len, first,
                value);
        is_text(claims.customers[n - 1].data, claims.customers[n - 1].len,
                last, value);
    }
}


static void
test_customers(void)
{
    char               *list, *p;
    ngx_uint_t          i;

    static const char  *bad[] = {
        "\"\"", "true", "{}", "{\"0\":\"1\"}", "-1", "-0", "1.0", "1e3",
        "1E3", "\"1 \"", "\"1/2\"", "\"..\"", "\"1%32\"", "\"1,2\"",
        "\"\\u0661\"", "[\"1\",null]", "[\"1\",\"\"]", "[\"1\",[\"2\"]]",
        "[{\"id\":\"2\"}]", "[1,2.5]", "[false]"
    };

    more("\"x\":1", NULL);
    is(claims.ncustomers, 0, "no claim, no customer");

    customers("null", 0, "", "");
    customers("[]", 0, "", "");
    customers("\"10001\"", 1, "10001", "10001");
    customers("\"aZ_-09\"", 1, "aZ_-09", "aZ_-09");
    customers("\"\\u0031\"", 1, "1", "1");
    customers("10001", 1, "10001", "10001");
    customers("0", 1, "0", "0");
    customers("9223372036854775807", 1, "9223372036854775807",
              "9223372036854775807");
    customers("[\"1\"]", 1, "1", "1");
    customers("[\"1\", 2 ,\"three\"]", 3, "1", "three");
    customers("[7,\"1\",\"1\"]", 3, "7", "1");

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        instead("cid", bad[i], "jwt_customer");
    }

    instead("cid", "\"a\\u0000\"", "jwt_payload");

    sized("cid", 64, NULL);
    sized("cid", 65, "jwt_customer");

    list = malloc(1000);
    p = list + sprintf(list, "\"cid\":[0");

    for (i = 1; i < NGX_HTTP_UNIT_JWT_MAX_CUSTOMERS; i++) {
        p += sprintf(p, ",%d", (int) i);
    }

    strcpy(p, "]");
    more(list, NULL);
    is(claims.ncustomers, 64, "64 customers");

    strcpy(p, ",64]");
    more(list, "jwt_customer");
    free(list);
}


static void
test_role_session(void)
{
    ngx_uint_t          i;

    static const char  *odd[] = {
        "\"role\":\"\"", "\"role\":null", "\"role\":[\"Admin\"]",
        "\"role\":{\"Admin\":1}", "\"role\":1"
    };

    more("\"x\":1", NULL);
    ok(!claims.has_role && claims.role.len == 0, "no role");
    is(claims.session.len, 0, "no session");

    more("\"role\":\"ReadOnly\"", NULL);
    is(claims.has_role, 1, "a role");
    is_text(claims.role.data, claims.role.len, "ReadOnly", "role");

    more("\"role\":\"Ad\\u006din\"", NULL);
    is_text(claims.role.data, claims.role.len, "Admin", "role is decoded");

    for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        more(odd[i], NULL);
        ok(claims.has_role && claims.role.len == 0, "odd role: %s", odd[i]);
    }

    more("\"sid\":\"a b\"", NULL);
    is_text(claims.session.data, claims.session.len, "a b", "session");
    more("\"sid\":\"\"", NULL);
    is(claims.session.len, 0, "an empty session");

    more("\"sid\":null", "jwt_session");
    more("\"sid\":1", "jwt_session");
    more("\"sid\":[\"a\"]", "jwt_session");
    more("\"sid\":{}", "jwt_session");
    more("\"sid\":true", "jwt_session");
    more("\"sid\":\"a\\r\\n\"", "jwt_session");
    more("\"sid\":\"\\u0085\"", "jwt_session");
    sized("sid", 255, NULL);
    sized("sid", 256, "jwt_session");
}


static void
two_factor(const char *claim, ngx_uint_t amr, time_t auth_time)
{
    more(claim, NULL);
    is(claims.amr, amr, claim);
    is(claims.auth_time, auth_time, claim);
}


static void
test_two_factor(void)
{
    two_factor("\"x\":1", 0, 0);
    two_factor("\"amr\":[\"mfa\"]", 1, 0);
    two_factor("\"amr\":[\"pwd\",\"\\u006dfa\"]", 1, 0);
    two_factor("\"amr\":\"mfa\"", 1, 0);
    two_factor("\"amr\":[\"pwd\"]", 0, 0);
    two_factor("\"amr\":[]", 0, 0);
    two_factor("\"amr\":[\"mfa\",1]", 0, 0);
    two_factor("\"amr\":[[\"mfa\"]]", 0, 0);
    two_factor("\"amr\":{\"mfa\":\"mfa\"}", 0, 0);
    two_factor("\"amr\":\"pwd mfa\"", 0, 0);
    two_factor("\"amr\":[\"MFA\"]", 0, 0);
    two_factor("\"amr\":null", 0, 0);

    two_factor("\"auth_time\":999999999", 0, 999999999);
    two_factor("\"auth_time\":999999999.9", 0, 999999999);
    two_factor("\"auth_time\":1000000030", 0, 1000000030);
    two_factor("\"auth_time\":1000000031", 0, 0);
    two_factor("\"auth_time\":9007199254740992", 0, 0);
    two_factor("\"auth_time\":1e300", 0, 0);
    two_factor("\"auth_time\":-1", 0, 0);
    two_factor("\"auth_time\":0", 0, 0);
    two_factor("\"auth_time\":\"999999999\"", 0, 0);
    two_factor("\"auth_time\":null", 0, 0);
    two_factor("\"auth_time\":[999999999]", 0, 0);

    ngx_str_null(&rules.amr_value);
    two_factor("\"amr\":[\"mfa\"]", 0, 0);
    two_factor("\"amr\":\"\"", 0, 0);
    two_factor("\"amr\":[\"\"]", 0, 0);
    ngx_str_set(&rules.amr_value, "mfa");
}


/* claims without names, with odd names, with names of other claims */

static void
test_names(void)
{
    ngx_http_unit_jwt_rules_t  saved;

    saved = rules;

    ngx_str_null(&rules.customer_claim);
    ngx_str_null(&rules.role_claim);
    ngx_str_null(&rules.session_claim);
    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "no optional ones");

    more("\"cid\":{},\"role\":\"Admin\",\"sid\":1,\"\":\"x\"", NULL);
    ok(claims.ncustomers == 0 && !claims.has_role && claims.session.len == 0,
       "nothing is read that was not asked for");

    ngx_str_set(&rules.customer_claim, "https://x.example/c[].d");
    ngx_str_set(&rules.role_claim, "[]");
    ngx_str_set(&rules.session_claim, "a.b");
    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "odd names");

    more("\"https://x.example/c[].d\":[\"1\",\"2\"],\"[]\":\"Admin\","
         "\"a.b\":\"s\",\"a\":{\"b\":1}", NULL);
    is(claims.ncustomers, 2, "customers under an odd name");
    is_text(claims.role.data, claims.role.len, "Admin", "role too");
    is_text(claims.session.data, claims.session.len, "s", "session too");

    ngx_str_set(&rules.customer_claim, "sub");
    ngx_str_set(&rules.role_claim, "aud");
    ngx_str_set(&rules.session_claim, "sub");
    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "shared names");

    more("\"x\":[]", NULL);
    is(claims.ncustomers, 1, "the subject is the customer");
    is_text(claims.customers[0].data, claims.customers[0].len, "s", "subject");
    is_text(claims.session.data, claims.session.len, "s", "and the session");
    is_text(claims.role.data, claims.role.len, "gw", "audience is the role");

    rules = saved;
}


static void
test_memory(void)
{
    ngx_int_t                   rc;
    ngx_uint_t                  n, total;
    ngx_http_unit_jwt_rules_t   r;

    static const char           json[] =
        "{\"iss\":\"https://i/\",\"sub\":\"\\u0073\",\"aud\":[\"gw\"],"
        "\"exp\":1000000100,\"cid\":[\"\\u0031\",2],\"role\":\"\\u0041\","
        "\"sid\":\"\\u0041\",\"amr\":[\"mfa\"]}";

    for (n = 0, total = 1; n <= total; n++) {
        r = rules;

        ngx_stub_fail(n);
        rc = ngx_http_unit_jwt_rules_init(pool, &r);

        if (n == 0) {
            total = ngx_stub_allocations();
            is(rc, NGX_OK, "enough memory for rules");

        } else {
            ok(rc == NGX_ERROR, "rules: allocation %d fails", (int) n);
        }

        ngx_stub_fail(0);
    }

    for (n = 0, total = 1; n <= total; n++) {
        ngx_stub_fail(n ? n + 1 : 0);

        /* the first allocation is check()'s own */

        rc = check(json);

        if (n == 0) {
            total = ngx_stub_allocations() - 1;
            is(rc, NGX_OK, "enough memory for claims");

        } else {
            ok(rc == NGX_ERROR, "claims: allocation %d fails", (int) n);
            ok(claims.subject.len == 0 && claims.ncustomers == 0,
               "and nothing is left");
        }

        ngx_stub_fail(0);
    }

    ok(total > 6, "allocations to fail");
}


int
main(void)
{
    pool = ngx_create_pool(4096, NULL);

    ngx_str_set(&rules.issuer, "https://i/");
    ngx_str_set(&rules.audience, "gw");
    ngx_str_set(&rules.customer_claim, "cid");
    ngx_str_set(&rules.role_claim, "role");
    ngx_str_set(&rules.session_claim, "sid");
    ngx_str_set(&rules.amr_value, "mfa");
    rules.leeway = 30;

    is(ngx_http_unit_jwt_rules_init(pool, &rules), NGX_OK, "rules");

    test_payload();
    test_issuer_subject();
    test_times();
    test_audience();
    test_customers();
    test_role_session();
    test_two_factor();
    test_names();
    test_memory();

    ngx_destroy_pool(pool);

    return done_testing();
}
