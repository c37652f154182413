
/*
 * Loading: every kind of mistake in a table is refused with a message that
 * names the operation and what is wrong; out of memory at any point is an
 * error and not a table with holes.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdio.h>
#include "ngx_stub.h"
#include "policy_kit.h"
#include "tap.h"


#define TEST_SCOPES                                                           \
    "'scopes':[{'name':'a','write':false,'two_factor':false,'pci':false,"     \
    "'customer':true},{'name':'b','write':true,'two_factor':true,"            \
    "'pci':false,'customer':true}]"

/* an operation of which one member is replaced */
#define TEST_OP(name, method, path, body, scopes, rest)                       \
    "{'name':" name ",'method':" method ",'path':" path ",'body':" body       \
    ",'scopes':" scopes "," rest "}"

#define TEST_REST                                                             \
    "'token':'both','two_factor':false,'timeout':5,'idempotency':null,"       \
    "'moves_funds':false,'pci':false,'default':'allow','serve':'proxy'"

#define TEST_TABLE(ops)                                                       \
    "{'version':1," TEST_SCOPES ",'operations':[" ops "]}"

#define TEST_GOOD  TEST_OP("'x'", "'GET'", "'/x'", "null", "['a']", TEST_REST)


typedef struct {
    const char  *text;
    const char  *error;             /* NULL: loads */
} test_row_t;


#define TEST_PATH(p)                                                          \
    TEST_TABLE(TEST_OP("'x'", "'GET'", p, "null", "['a']", TEST_REST))

#define TEST_BODY(b)                                                          \
    TEST_TABLE(TEST_OP("'x'", "'POST'", "'/x'", b, "['a']", TEST_REST))

#define TEST_MORE(m)                                                          \
    TEST_TABLE(TEST_OP("'x'", "'POST'", "'/x'", "{'data.type':'x'}",          \
                       "['b','a']", m "," TEST_REST))

#define TEST_INSTEAD(old, new)                                                \
    TEST_TABLE(TEST_OP("'x'", "'POST'", "'/x'", "null", "['a']",              \
                       "'" old "':" new))


static const test_row_t  test_rows[] = {

    { TEST_TABLE(TEST_GOOD), NULL },

    /* the document */
    { "", "not valid JSON" },
    { "{", "not valid JSON, line 1" },
    { "[]", "not an object" },
    { "{'version':1,'version':1}", "not valid JSON" },
    { "{'version':2," TEST_SCOPES ",'operations':[" TEST_GOOD "]}",
      "\"version\" is not 1" },
    { "{'version':'1'," TEST_SCOPES ",'operations':[" TEST_GOOD "]}",
      "\"version\" is not 1" },
    { "{" TEST_SCOPES ",'operations':[" TEST_GOOD "]}",
      "\"version\" is not 1" },
    { "{'version':1,'more':1}", "unknown member \"more\"" },
    { "{'version':1,'operations':[" TEST_GOOD "]}",
      "\"scopes\" is not an array of 1 to 128" },
    { "{'version':1,'scopes':{},'operations':[" TEST_GOOD "]}",
      "\"scopes\" is not an array of 1 to 128" },
    { "{'version':1," TEST_SCOPES "}",
      "\"operations\" is not an array of 1 to 10000" },
    { "{'version':1," TEST_SCOPES ",'operations':[]}",
      "\"operations\" is not an array of 1 to 10000" },

    /* scopes */
    { "{'version':1,'scopes':[7],'operations':[" TEST_GOOD "]}",
      "scopes[0]: bad \"name\"" },
    { "{'version':1,'scopes':[{'name':'A b'}],'operations':[" TEST_GOOD "]}",
      "scopes[0]: bad \"name\"" },
    { "{'version':1,'scopes':[{'name':'a'}],'operations':[" TEST_GOOD "]}",
      "scopes[0] \"a\": \"write\", \"two_factor\", \"pci\" and \"customer\" "
      "are required" },
    { "{'version':1,'scopes':[{'name':'a','write':1}],'operations':[]}",
      "scopes[0] \"a\": member \"write\" is unknown or no boolean" },
    { "{'version':1,'scopes':[{'name':'a','legacy':true}],'operations':[]}",
      "scopes[0] \"a\": unknown member \"legacy\"" },
    { "{'version':1,'scopes':[{'name':'a','write':false,'two_factor':false,"
      "'pci':false,'customer':true},{'name':'a','write':false,"
      "'two_factor':false,'pci':false,'customer':true}],'operations':[]}",
      "scopes[1] \"a\": duplicate scope" },

    /* operations: what they are called */
    { TEST_TABLE("7"), "operations[0]: not an object" },
    { TEST_TABLE("{}"), "operations[0]: no \"name\"" },
    { TEST_TABLE("{'name':'X'}"), "operations[0]: bad \"name\"" },
    { TEST_TABLE("{'name':''}"), "operations[0]: bad \"name\"" },
    { TEST_TABLE("{'name':5}"), "operations[0]: bad \"name\"" },
    { TEST_TABLE("{'name':'x'}"), "operations[0] \"x\": no \"method\"" },
    { TEST_TABLE(TEST_GOOD "," TEST_GOOD),
      "operations[1] \"x\": duplicate operation" },
    { TEST_MORE("'more':1"), "operations[0] \"x\": unknown member \"more\"" },

    /* words */
    { TEST_TABLE(TEST_OP("'x'", "'get'", "'/x'", "null", "[]", TEST_REST)),
      "unknown \"method\" get" },
    { TEST_TABLE(TEST_OP("'x'", "'HEAD'", "'/x'", "null", "[]", TEST_REST)),
      "unknown \"method\" HEAD" },
    { TEST_TABLE(TEST_OP("'x'", "null", "'/x'", "null", "[]", TEST_REST)),
      "unknown \"method\"" },
    { TEST_INSTEAD("token", "'any'"), "unknown \"token\" any" },

    /* paths */
    { TEST_PATH("null"), "bad \"path\"" },
    { TEST_PATH("'x'"), "bad \"path\"" },
    { TEST_PATH("'/'"), "bad \"path\"" },
    { TEST_PATH("'/x/'"), "bad segment \"\" in \"path\"" },
    { TEST_PATH("'//x'"), "bad segment \"\" in \"path\"" },
    { TEST_PATH("'/x/..'"), "bad segment \"..\" in \"path\"" },
    { TEST_PATH("'/x/:'"), "bad segment \":\" in \"path\"" },
    { TEST_PATH("'/x y'"), "bad segment \"x y\" in \"path\"" },
    { TEST_PATH("'/x%2f'"), "bad segment \"x%2f\" in \"path\"" },
    { TEST_PATH("'/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16'"), NULL },
    { TEST_PATH("'/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17'"),
      "\"path\" is too deep" },

    { TEST_PATH("'/customers/:id'"), "\":id\" in \"path\" is not :cust" },
    { TEST_PATH("'/customers/:customerIds'"), "is not :customerId" },
    { TEST_PATH("'/customers/all/:id'"), NULL },
    { TEST_PATH("'/customers'"), NULL },

    /* bodies */
    { TEST_BODY("{}"), "\"body\" is neither null nor an object" },
    { TEST_BODY("[]"), "\"body\" is neither null nor an object" },
    { TEST_BODY("{'type':'x'}"), "bad body path \"type\"" },
    { TEST_BODY("{'database':'x'}"), "bad body path \"database\"" },
    { TEST_BODY("{'data.':'x'}"), "bad body path \"data.\"" },
    { TEST_BODY("{'data[]':'x'}"), "bad body path \"data[]\"" },
    { TEST_BODY("{'data.x[].y':'x'}"), "bad body path \"data.x[].y\"" },
    { TEST_BODY("{'data.a.b.c.d.e.f.g':'x'}"), NULL },
    { TEST_BODY("{'data.a.b.c.d.e.f.g.h':'x'}"), "bad body path" },
    { TEST_BODY("{'data.type':1}"), "value for \"data.type\" is neither" },
    { TEST_BODY("{'data.type':null}"), "value for \"data.type\" is neither" },
    { TEST_BODY("{'data.type':['x']}"), "bad condition for \"data.type\"" },
    { TEST_BODY("{'data.type':{}}"), "bad condition for \"data.type\"" },
    { TEST_BODY("{'data.type':{'exists':1}}"), "bad condition" },
    { TEST_BODY("{'data.type':{'exists':true,'not':'x'}}"), "bad condition" },
    { TEST_BODY("{'data.type':{'in':[]}}"), "bad condition" },
    { TEST_BODY("{'data.type':{'in':'x'}}"), "bad condition" },
    { TEST_BODY("{'data.type':{'in':['x',{}]}}"), "value for \"data.type\"" },
    { TEST_BODY("{'data.type':{'not':['x']}}"), "bad condition" },
    { TEST_BODY("{'data.type':{'like':'x'}}"), "bad condition" },
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "{'data.type':'x'}", "['a']",
                         TEST_REST)), "\"GET\" with a \"body\"" },

    /* scopes of operations */
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "null", "['c']", TEST_REST)),
      "unknown scope \"c\"" },
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "null", "[1]", TEST_REST)),
      "unknown scope \"\"" },
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "null", "'a'", TEST_REST)),
      "\"scopes\" is not an array of at most 8" },
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "null", "['a','a']",
                         TEST_REST)), "scope \"a\" twice" },
    { TEST_MORE("'partial_scopes':['a']"), NULL },
    { TEST_MORE("'partial_scopes':['c']"), "partial scope \"c\" is not" },
    { TEST_MORE("'partial_scopes':'a'"), "\"partial_scopes\" is no array" },

    /* the rest */
    { TEST_MORE("'step_up':['data.attributes.phone']"), NULL },
    { TEST_MORE("'step_up':[]"), "\"step_up\" is no array of paths" },
    { TEST_MORE("'step_up':[1]"), "\"step_up\" is no array of paths" },
    { TEST_MORE("'step_up':['data']"), "bad body path \"data\"" },
    { TEST_MORE("'step_up':['data[].x']"), "bad body path \"data[].x\"" },
    { TEST_MORE("'pin_user':true"), "\"pin_user\" is for \"GET\"" },
    { TEST_MORE("'pin_user':1"), "\"pin_user\" is no boolean" },
    { TEST_MORE("'content_types':['x'],'required_query':['y']"), NULL },
    { TEST_MORE("'content_types':'x'"), "\"content_types\" is no array" },
    { TEST_MORE("'required_query':[{}]"),
      "\"required_query\" is no array of strings" },
    { TEST_INSTEAD("token", "'both','two_factor':0"),
      "\"two_factor\" is no boolean" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':6"),
      "\"timeout\" is not 5, 60 or 120" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':'5'"),
      "\"timeout\" is not 5, 60 or 120" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5,"
      "'idempotency':'A'"), "bad \"idempotency\"" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5"),
      "no \"idempotency\"" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5,"
      "'idempotency':null,'moves_funds':false,'pci':false"),
      "no \"default\"" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5,"
      "'idempotency':null,'moves_funds':false,'pci':false,"
      "'default':'sometimes'"), "unknown \"default\" sometimes" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5,"
      "'idempotency':null,'moves_funds':false,'pci':false,"
      "'default':'allow','serve':'x'"), "unknown \"serve\" x" },
    { TEST_INSTEAD("token", "'both','two_factor':false,'timeout':5,"
      "'idempotency':null,'moves_funds':false,'pci':false,"
      "'default':'allow','serve':'token'"), "\"serve\" needs a \"path\"" },
    { TEST_TABLE(TEST_OP("'x'", "'GET'", "'/x'", "null", "['a']",
      "'token':'both','two_factor':false,'timeout':5,'idempotency':'f',"
      "'moves_funds':false,'pci':false,'default':'allow','serve':'proxy'")),
      "\"GET\" with a \"body\" or an \"idempotency\"" },
    { TEST_TABLE(TEST_OP("'x'", "'POST'", "'/x'", "null", "['a']",
      "'step_up':['data.x']," TEST_REST)),
      "\"step_up\" without a \"body\"" },

    /* requests that cannot be told apart must have one policy */
    { TEST_TABLE(TEST_GOOD "," TEST_OP("'y'", "'GET'", "'/x'", "null",
                                       "['a']", TEST_REST)), NULL },
    { TEST_TABLE(TEST_GOOD "," TEST_OP("'y'", "'GET'", "'/x'", "null",
                                       "['b']", TEST_REST)),
      "operations[1] \"y\": the same request as \"x\", but another policy" },
    { TEST_TABLE(TEST_GOOD "," TEST_OP("'y'", "'GET'", "'/x'", "null",
                                       "['a','b']", TEST_REST)),
      "another policy" },
    { TEST_TABLE(
      TEST_OP("'x'", "'POST'", "'/x/:id'", "{'data.a':'1','data.b':'2'}",
              "['a']", TEST_REST) ","
      TEST_OP("'y'", "'POST'", "'/x/:no'", "{'data.b':'2','data.a':'1'}",
              "['b']", TEST_REST)), "another policy" },
    { TEST_TABLE(
      TEST_OP("'x'", "'POST'", "'/x'", "{'data.a':'1'}", "['a']",
              TEST_REST) ","
      TEST_OP("'y'", "'POST'", "'/x'", "{'data.a':'2'}", "['b']",
              TEST_REST)), NULL },
    { TEST_TABLE(
      TEST_OP("'x'", "'GET'", "'/x'", "null", "['a']",
              "'partial_scopes':['a']," TEST_REST) ","
      TEST_OP("'y'", "'GET'", "'/x'", "null", "['a']", TEST_REST)),
      "another policy" },
    { TEST_TABLE(
      TEST_OP("'x'", "'POST'", "'/x'", "{'data.a':'1'}", "['a']",
              "'step_up':['data.p']," TEST_REST) ","
      TEST_OP("'y'", "'POST'", "'/x'", "{'data.a':'1'}", "['a']",
              TEST_REST)), "another policy" }
};


static ngx_int_t
test_load(ngx_pool_t *pool, const char *s, ngx_str_t *error)
{
    size_t                   i, len;
    u_char                  *copy;
    ngx_int_t                rc;
    ngx_http_unit_policy_t  *policy;

    len = strlen(s);
    copy = malloc(len ? len : 1);

    for (i = 0; i < len; i++) {
        copy[i] = s[i] == '\'' ? '"' : s[i];
    }

    rc = ngx_http_unit_policy_load(pool, copy, len, &policy, error);

    /* the table must not lean on the text it was made from */
    ngx_memset(copy, 0xa5, len);
    free(copy);

    if ((rc == NGX_OK) != (policy != NULL)) {
        return -100;
    }

    return rc;
}


static void
test_errors(void)
{
    char               text[512];
    ngx_int_t          rc;
    ngx_str_t          error;
    ngx_uint_t         i;
    ngx_pool_t        *pool;
    const test_row_t  *row;

    for (i = 0; i < sizeof(test_rows) / sizeof(test_rows[0]); i++) {
        row = &test_rows[i];
        pool = ngx_create_pool(4096, NULL);

        rc = test_load(pool, row->text, &error);

        snprintf(text, sizeof(text), "%.*s", (int) error.len,
                 error.len ? (char *) error.data : "");

        if (row->error == NULL) {
            ok(rc == NGX_OK, "row %lu loads %s", (unsigned long) i, text);

        } else if (!ok(rc == NGX_DECLINED && strstr(text, row->error) != NULL,
                       "row %lu: %s", (unsigned long) i, row->error))
        {
            diag("got %ld %s", (long) rc, text);
        }

        ngx_destroy_pool(pool);
    }
}


/* more than there is room for */

static void
test_limits(void)
{
    char        *text, *p;
    ngx_str_t    error;
    ngx_uint_t   i;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);
    text = malloc(200000);

    p = text + sprintf(text, "{'version':1," TEST_SCOPES ",'operations':[");

    for (i = 0; i < NGX_HTTP_UNIT_POLICY_MAX_ALTERNATIVES + 1; i++) {
        p += sprintf(p, "%s" TEST_OP("'x%lu'", "'POST'", "'/x'",
                     "{'data.type':'%lu'}", "['a']", TEST_REST),
                     i ? "," : "", (unsigned long) i, (unsigned long) i);
    }

    sprintf(p, "]}");

    ok(test_load(pool, text, &error) == NGX_DECLINED
       && strstr((char *) error.data, "more than 64 operations of one path"),
       "65 operations of one path");

    p = text + sprintf(text, "{'version':1," TEST_SCOPES ",'operations':[");

    for (i = 0; i < NGX_HTTP_UNIT_POLICY_MAX_WATCHES; i++) {
        p += sprintf(p, "%s" TEST_OP("'x%lu'", "'POST'", "'/x%lu'",
                     "{'data.a.b.c.d.e.f.g%lu':'x'}", "['a']", TEST_REST),
                     i ? "," : "", (unsigned long) i, (unsigned long) i,
                     (unsigned long) i);
    }

    sprintf(p, "]}");

    ok(test_load(pool, text, &error) == NGX_DECLINED
       && strstr((char *) error.data, "more than 128 body paths"),
       "too many body paths");

    p = text + sprintf(text, "{'version':1,'scopes':[");

    for (i = 0; i < NGX_HTTP_UNIT_SCOPE_MAX + 1; i++) {
        p += sprintf(p, "%s{'name':'x%lu','write':false,'two_factor':false,"
                     "'pci':false,'customer':true}", i ? "," : "",
                     (unsigned long) i);
    }

    sprintf(p, "],'operations':[]}");

    ok(test_load(pool, text, &error) == NGX_DECLINED
       && strstr((char *) error.data, "\"scopes\" is not an array of 1 to 128"),
       "129 scopes");

    free(text);
    ngx_destroy_pool(pool);
}


static void
test_memory(void)
{
    ngx_int_t    rc;
    ngx_str_t    error;
    ngx_uint_t   n, wrong;
    ngx_pool_t  *pool;

    static const char  *text = TEST_TABLE(
        TEST_OP("'x'", "'POST'", "'/x/:id'", "{'data.a':{'in':['1',true]}}",
                "['a','b']", "'partial_scopes':['b'],"
                "'step_up':['data.attributes.new']," TEST_REST) ","
        TEST_OP("'y'", "'POST'", "'/y'", "{'data.type':'2'}", "['b']",
                TEST_REST));

    wrong = 0;

    for (n = 1; n < 10000; n++) {
        pool = ngx_create_pool(4096, NULL);

        ngx_stub_fail(n);
        rc = test_load(pool, text, &error);

        if (ngx_stub_allocations() < n) {
            ngx_stub_fail(0);
            ngx_destroy_pool(pool);
            break;
        }

        ngx_stub_fail(0);

        wrong += (rc != NGX_ERROR);

        ngx_destroy_pool(pool);
    }

    ok(n > 50 && rc == NGX_OK, "%lu allocations failed in turn",
       (unsigned long) n - 1);
    is(wrong, 0, "each is an error of its own kind");
}


/* what cache keys hang on: scopes and their order, not operations */

static void
test_fingerprint(void)
{
    u_char                   first[32];
    ngx_str_t                error;
    ngx_uint_t               i;
    ngx_pool_t              *pool;
    ngx_http_unit_policy_t  *policy;

    static const char  *tables[] = {
        "{\"version\":1,\"scopes\":[{\"name\":\"a\",\"write\":false,"
        "\"two_factor\":false,\"pci\":false,\"customer\":true}],",
        "{\"version\":1,\"scopes\":[{\"name\":\"a\",\"write\":false,"
        "\"two_factor\":true,\"pci\":false,\"customer\":true}],",
        "{\"version\":1,\"scopes\":[{\"name\":\"b\",\"write\":false,"
        "\"two_factor\":false,\"pci\":false,\"customer\":true}],",
    };
    static const char  *rest =
        "\"operations\":[{\"name\":\"x\",\"method\":\"GET\",\"path\":\"/x\","
        "\"body\":null,\"scopes\":[],\"token\":\"both\",\"two_factor\":false,"
        "\"timeout\":5,\"idempotency\":null,\"moves_funds\":false,"
        "\"pci\":false,\"default\":\"allow\",\"serve\":\"proxy\"}]}";

    char  text[1024];

    ngx_memzero(first, sizeof(first));

    for (i = 0; i < 4; i++) {
        pool = ngx_create_pool(4096, NULL);

        snprintf(text, sizeof(text), "%s%s", tables[i % 3], rest);

        if (ngx_http_unit_policy_load(pool, (u_char *) text, strlen(text),
                                      &policy, &error)
            == NGX_OK)
        {
            is(memcmp(first, ngx_http_unit_policy_fingerprint(policy), 32)
               == 0, i == 3, i == 3 ? "equal tables, equal fingerprints"
                                    : "other tables, other fingerprints");

            if (i == 0) {
                ngx_memcpy(first, ngx_http_unit_policy_fingerprint(policy),
                           32);
            }
        }

        ngx_destroy_pool(pool);
    }
}


int
main(void)
{
    test_errors();
    test_limits();
    test_memory();
    test_fingerprint();

    return done_testing();
}
