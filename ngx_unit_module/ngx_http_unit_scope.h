
/*
 * Sets of Unit token scopes as bit sets.  The bit of a scope is its index in
 * the table of operations.json; sets from tables of different content must
 * never meet (the table's fingerprint is part of every cache key).
 */


#ifndef _NGX_HTTP_UNIT_SCOPE_H_INCLUDED_
#define _NGX_HTTP_UNIT_SCOPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_UNIT_SCOPE_MAX  128


typedef struct {
    uint64_t  w[2];
} ngx_http_unit_scopes_t;


#define ngx_http_unit_scopes_zero(s)  ((s)->w[0] = 0, (s)->w[1] = 0)

#define ngx_http_unit_scopes_add(s, i)                                        \
    ((s)->w[(i) >> 6] |= (uint64_t) 1 << ((i) & 63))

#define ngx_http_unit_scopes_has(s, i)                                        \
    (((s)->w[(i) >> 6] >> ((i) & 63)) & 1)

#define ngx_http_unit_scopes_empty(s)  ((s)->w[0] == 0 && (s)->w[1] == 0)

/* does "a" hold every scope of "b" */
#define ngx_http_unit_scopes_cover(a, b)                                      \
    (((b)->w[0] & ~(a)->w[0]) == 0 && ((b)->w[1] & ~(a)->w[1]) == 0)

#define ngx_http_unit_scopes_equal(a, b)                                      \
    ((a)->w[0] == (b)->w[0] && (a)->w[1] == (b)->w[1])

#define ngx_http_unit_scopes_and(d, a, b)                                     \
    ((d)->w[0] = (a)->w[0] & (b)->w[0], (d)->w[1] = (a)->w[1] & (b)->w[1])

#define ngx_http_unit_scopes_count(s)                                         \
    ((ngx_uint_t) (__builtin_popcountll((s)->w[0])                            \
                   + __builtin_popcountll((s)->w[1])))


#endif /* _NGX_HTTP_UNIT_SCOPE_H_INCLUDED_ */
