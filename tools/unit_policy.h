
/*
 * unit-policy: what the gateway's policy says of a request.
 */


#ifndef _UNIT_POLICY_H_INCLUDED_
#define _UNIT_POLICY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_policy.h"


typedef struct {
    ngx_pool_t                     *pool;
    ngx_http_unit_policy_t         *policy;
    ngx_http_unit_policy_rule_t    *rules;
    ngx_http_unit_policy_caller_t   caller;
    ngx_str_t                       customer;    /* empty: not checked */
    ngx_str_t                       method;
    ngx_str_t                       target;      /* path, query perhaps */
    ngx_str_t                       body;        /* data NULL: none given */
} unit_policy_t;


/* Print the decision.  Returns 0 allowed, 1 denied, 2 out of memory. */
int unit_policy_explain(unit_policy_t *up);

/* The name of a method's bit. */
const char *unit_policy_method(ngx_uint_t method);


#endif /* _UNIT_POLICY_H_INCLUDED_ */
