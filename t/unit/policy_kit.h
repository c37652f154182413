
/*
 * What the tests of the policy share: the table of the tree, and a request
 * taken through the same steps as in the gateway.
 */


#ifndef _POLICY_KIT_H_INCLUDED_
#define _POLICY_KIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy_int.h"


typedef struct {
    ngx_pool_t                       *pool;
    ngx_http_unit_policy_t           *policy;

    /* of the last request */
    ngx_http_unit_uri_t               uri;
    ngx_http_unit_json_t              json;
    ngx_uint_t                        has_json;
    ngx_uint_t                        allow;
    const char                       *reason;
    const ngx_http_unit_operation_t  *op;
} policy_kit_t;


/* Read a whole file; exits when it cannot. */
ngx_str_t policy_kit_read(ngx_pool_t *pool, const char *name);

/* Load conf/operations.json, or another table; exits when it cannot. */
void policy_kit_init(policy_kit_t *kit);
void policy_kit_init_text(policy_kit_t *kit, ngx_str_t *text);
void policy_kit_done(policy_kit_t *kit);

/*
 * Find the operation of a request.  body may be NULL.  ALLOWED means that
 * kit->op is set.
 */
ngx_http_unit_code_e policy_kit_request(policy_kit_t *kit, const char *method,
    const char *path, const char *body);

/* The same and decide.  rules is "allow NAME", "deny NAME", "2fa NAME" or "",
   caller a list of words: org read_only no_role sandbox, scopes after ":" */
ngx_http_unit_policy_verdict_t policy_kit_decide(policy_kit_t *kit,
    const char *method, const char *path, const char *body,
    const char *caller, const char *rules);

/* The method's bit. */
ngx_uint_t policy_kit_method(const char *method);

/* An operation by name; exits when there is none. */
const ngx_http_unit_operation_t *policy_kit_find(policy_kit_t *kit,
    const char *name);


#endif /* _POLICY_KIT_H_INCLUDED_ */
