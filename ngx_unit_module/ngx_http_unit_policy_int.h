
/*
 * What the files of the policy share and nobody else sees: the tree of paths,
 * the conditions on bodies.  All of it is built while the table is loaded and
 * const from then on.
 */


#ifndef _NGX_HTTP_UNIT_POLICY_INT_H_INCLUDED_
#define _NGX_HTTP_UNIT_POLICY_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <jansson.h>
#include "ngx_http_unit_policy.h"


/* alternatives of one path and method: a select walks over all of them */
#define NGX_HTTP_UNIT_POLICY_MAX_ALTERNATIVES  64
#define NGX_HTTP_UNIT_POLICY_MAX_CONDITIONS    16
#define NGX_HTTP_UNIT_POLICY_MAX_PARAM         128
#define NGX_HTTP_UNIT_POLICY_MAX_NAME          64
#define NGX_HTTP_UNIT_POLICY_METHODS           5

/*
 * Distinct body paths, and names in one: together they stay below the number
 * of nodes that a watch set holds, so that its refusals mean "no memory".
 */
#define NGX_HTTP_UNIT_POLICY_MAX_WATCHES       128
#define NGX_HTTP_UNIT_POLICY_MAX_DEPTH         8


/* hash table with open addressing, at most half full; keys are borrowed */
typedef struct {
    ngx_str_t                       key;
    uint32_t                        hash;
    void                           *value;       /* NULL: a free slot */
} ngx_http_unit_policy_slot_t;

typedef struct {
    ngx_http_unit_policy_slot_t    *slots;
    ngx_uint_t                      size;        /* 0 or a power of two */
    ngx_uint_t                      used;
} ngx_http_unit_policy_map_t;


struct ngx_http_unit_route_s {
    ngx_http_unit_operation_t     **ops;         /* most conditions first */
    ngx_uint_t                      nops;
    unsigned                        body:1;      /* any has conditions */
};


typedef struct ngx_http_unit_policy_node_s  ngx_http_unit_policy_node_t;

struct ngx_http_unit_policy_node_s {
    ngx_http_unit_policy_map_t      children;    /* literal segments */
    ngx_http_unit_policy_node_t    *param;       /* ":name", NULL: none */
    ngx_http_unit_route_t          *routes[NGX_HTTP_UNIT_POLICY_METHODS];
    ngx_uint_t                      methods;     /* mask of the routes */
    unsigned                        pci:1;
};


typedef enum {
    NGX_HTTP_UNIT_POLICY_EQUAL = 0,              /* one of the values */
    NGX_HTTP_UNIT_POLICY_NOT,                    /* none of them, or absent */
    NGX_HTTP_UNIT_POLICY_PRESENT,                /* there and not null */
    NGX_HTTP_UNIT_POLICY_ABSENT                  /* not there, or null */
} ngx_http_unit_policy_cond_e;

typedef struct {
    ngx_http_unit_json_type_e       type;        /* TRUE, FALSE or STRING */
    ngx_str_t                       text;
} ngx_http_unit_policy_value_t;

typedef struct {
    ngx_http_unit_policy_cond_e     kind;
    ngx_uint_t                      watch;
    ngx_http_unit_json_type_e       data;        /* what "data" must be, 0:
                                                    anything */
    ngx_http_unit_policy_value_t   *values;
    ngx_uint_t                      nvalues;
} ngx_http_unit_policy_cond_t;


/* ngx_http_unit_operation_t.match */
typedef struct {
    ngx_http_unit_policy_cond_t    *conds;
    ngx_uint_t                      nconds;
    ngx_uint_t                      partial;     /* mask of indices in
                                                    op->scopes */
    ngx_http_unit_operation_t      *twin;        /* ring of the operations
                                                    that no body tells apart,
                                                    itself when alone */
} ngx_http_unit_policy_match_t;


/* ngx_http_unit_operation_t.step_up: an array ended by watch -1 */
typedef struct {
    ngx_int_t                       watch;
    unsigned                        container:1; /* only when it is not an
                                                    object: what should be in
                                                    it cannot be seen */
} ngx_http_unit_policy_step_up_t;


struct ngx_http_unit_policy_s {
    ngx_http_unit_policy_scope_t   *scopes;
    ngx_uint_t                      nscopes;
    ngx_http_unit_operation_t      *ops;
    ngx_uint_t                      nops;
    ngx_http_unit_policy_map_t      scope_names;
    ngx_http_unit_policy_map_t      names;
    ngx_http_unit_policy_node_t     root;
    ngx_http_unit_json_watch_t     *watch;
    u_char                          fingerprint[32];
};


/* the watches after those of ngx_http_unit_watch_e, for data, then data[] */
typedef enum {
    NGX_HTTP_UNIT_POLICY_RELATIONS = 0,
    NGX_HTTP_UNIT_POLICY_CUSTOMER,
    NGX_HTTP_UNIT_POLICY_CUSTOMER_DATA,
    NGX_HTTP_UNIT_POLICY_CUSTOMER_ID,
    NGX_HTTP_UNIT_POLICY_CUSTOMERS,
    NGX_HTTP_UNIT_POLICY_CUSTOMERS_DATA,
    NGX_HTTP_UNIT_POLICY_CUSTOMERS_ITEM,
    NGX_HTTP_UNIT_POLICY_CUSTOMERS_ID,
    NGX_HTTP_UNIT_POLICY_RELATIVES
} ngx_http_unit_policy_relative_e;


/* state of a load */
typedef struct {
    ngx_pool_t                     *pool;
    ngx_http_unit_policy_t         *policy;
    ngx_str_t                      *error;
    const char                     *what;        /* "operations", "scopes" */
    ngx_uint_t                      index;       /* of the one at hand */
    ngx_str_t                       name;        /* empty: not yet known */
} ngx_http_unit_policy_load_t;


/* Set ctx->error.  Returns NGX_DECLINED, or NGX_ERROR when out of memory. */
ngx_int_t ngx_http_unit_policy_fail(ngx_http_unit_policy_load_t *ctx,
    const char *fmt, ...);

/* Copy a string; empty when it is none.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_unit_policy_string(ngx_http_unit_policy_load_t *ctx,
    json_t *json, ngx_str_t *out);

/* Is it a name of an operation or a scope?  1 or 0. */
ngx_uint_t ngx_http_unit_policy_is_name(const ngx_str_t *s);

/* Can it stand for a parameter, 1 to 128 of [A-Za-z0-9._~-]?  1 or 0. */
ngx_uint_t ngx_http_unit_policy_is_segment(const ngx_str_t *s);

/* Read and check the members of an operation, in op->match too. */
ngx_int_t ngx_http_unit_policy_load_members(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op, json_t *json);


/*
 * The value of a key, or NULL.  *steps, when given, grows by the number of
 * slots looked at.
 */
void *ngx_http_unit_policy_map_get(const ngx_http_unit_policy_map_t *map,
    const ngx_str_t *key, ngx_uint_t *steps);

/* Add a key that the map does not have.  NGX_OK or NGX_ERROR (memory). */
ngx_int_t ngx_http_unit_policy_map_add(ngx_pool_t *pool,
    ngx_http_unit_policy_map_t *map, const ngx_str_t *key, void *value);

/*
 * The node of a path, or NULL.  *lookups and *steps, when given, count the
 * hash lookups and the slots that they looked at.
 */
const ngx_http_unit_policy_node_t *ngx_http_unit_policy_walk(
    const ngx_http_unit_policy_t *policy, const ngx_http_unit_uri_t *uri,
    ngx_uint_t *lookups, ngx_uint_t *steps);

/*
 * Check op->path, find its customer segment and add the operation to the
 * tree.  op->match must be complete.  NGX_OK, NGX_DECLINED, NGX_ERROR
 */
ngx_int_t ngx_http_unit_policy_insert(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_operation_t *op);


/* The watches that every table has.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_unit_policy_watch_init(ngx_http_unit_policy_load_t *ctx);

/* Read one condition: a path and what it must be. */
ngx_int_t ngx_http_unit_policy_load_cond(ngx_http_unit_policy_load_t *ctx,
    ngx_http_unit_policy_cond_t *cond, const char *path, json_t *json);

/* Watch a step-up path and what contains it; appends to list. */
ngx_int_t ngx_http_unit_policy_load_step_up(ngx_http_unit_policy_load_t *ctx,
    ngx_array_t *list, const char *path);

/* Do all conditions hold?  1 or 0. */
ngx_uint_t ngx_http_unit_policy_match_body(
    const ngx_http_unit_policy_match_t *match,
    const ngx_http_unit_json_t *json);

/* Does the body touch what needs a step-up?  1 or 0; 1 without a body. */
ngx_uint_t ngx_http_unit_policy_step_up(const ngx_http_unit_operation_t *op,
    const ngx_http_unit_json_t *json);

/* Are the conditions of both the same?  1 or 0. */
ngx_uint_t ngx_http_unit_policy_same_match(
    const ngx_http_unit_policy_match_t *a,
    const ngx_http_unit_policy_match_t *b);


#endif /* _NGX_HTTP_UNIT_POLICY_INT_H_INCLUDED_ */
