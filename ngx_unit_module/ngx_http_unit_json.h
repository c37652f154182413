
/*
 * Strict JSON scanner (RFC 8259) for untrusted input: request bodies, JWT
 * headers and claims.  One pass, no tree: it validates everything and reports
 * only the values whose paths were registered beforehand ("watches"), with
 * their byte offsets, so that a value can be compared or replaced without
 * re-serialising the rest.  Pure: knows nothing of requests.
 */


#ifndef _NGX_HTTP_UNIT_JSON_H_INCLUDED_
#define _NGX_HTTP_UNIT_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_UNIT_JSON_MAX_DEPTH  32
#define NGX_HTTP_UNIT_JSON_MAX_HITS   32768
#define NGX_HTTP_UNIT_JSON_MAX_LEN    (1U << 30)


typedef enum {
    NGX_HTTP_UNIT_JSON_NULL = 1,
    NGX_HTTP_UNIT_JSON_FALSE,
    NGX_HTTP_UNIT_JSON_TRUE,
    NGX_HTTP_UNIT_JSON_NUMBER,
    NGX_HTTP_UNIT_JSON_STRING,
    NGX_HTTP_UNIT_JSON_OBJECT,
    NGX_HTTP_UNIT_JSON_ARRAY
} ngx_http_unit_json_type_e;


/* opaque: a trie of watched paths, built at configuration time, then const */
typedef struct ngx_http_unit_json_watch_s  ngx_http_unit_json_watch_t;


typedef struct {
    ngx_uint_t                 watch;     /* id given by watch_add() */
    ngx_http_unit_json_type_e  type;
    u_char                    *start;     /* first byte of the value */
    u_char                    *end;       /* one past its last byte */
    u_char                    *object;    /* '{' or '[' that contains it,
                                             NULL for the root value */
    ngx_uint_t                 element;   /* index in the innermost watched
                                             array, 0 outside arrays */
} ngx_http_unit_json_hit_t;


typedef struct {
    ngx_http_unit_json_type_e  type;      /* of the root value */
    ngx_array_t                hits;      /* ngx_http_unit_json_hit_t, in the
                                             order of the values' start */
    const char                *reason;    /* static text on NGX_DECLINED */
    size_t                     offset;    /* where, on NGX_DECLINED */
} ngx_http_unit_json_t;


/*
 * Set the key of the hash of member names, otherwise taken from the system's
 * random source when first needed.  Makes tests repeatable.
 */
void ngx_http_unit_json_seed(uint64_t k0, uint64_t k1);

/*
 * Create an empty watch set.
 *
 *   pool   owns the set
 *   guard  1: a member whose name equals a watched name of the same object in
 *          everything but ASCII letter case makes the whole text invalid
 *          (reason "member name in wrong letter case")
 *
 * Returns NULL when out of memory.
 */
ngx_http_unit_json_watch_t *ngx_http_unit_json_watch_create(ngx_pool_t *pool,
    ngx_uint_t guard);

/*
 * Watch a path.  "data.attributes.phone" names members, "data[].type" the
 * member of each element of an array, "aud[]" each element, "[].id" those of a
 * root array, "" the root value.  The same path given twice yields the same
 * id; ids count from 0.  At most 32 segments, at most 1024 nodes.  The path is
 * copied.
 *
 * Returns the id or NGX_ERROR (bad syntax, too many, no memory).
 */
ngx_int_t ngx_http_unit_json_watch_add(ngx_http_unit_json_watch_t *w,
    ngx_str_t *path);

/*
 * Watch one member of the root object whose name is taken as it is, dots and
 * brackets included (JWT claim names are URIs at times).  Otherwise as
 * ngx_http_unit_json_watch_add().
 */
ngx_int_t ngx_http_unit_json_watch_member(ngx_http_unit_json_watch_t *w,
    ngx_str_t *name);

/*
 * Validate a JSON text and collect the watched values.
 *
 * Refused: anything RFC 8259 refuses, a byte order mark, trailing bytes other
 * than white space, nesting deeper than NGX_HTTP_UNIT_JSON_MAX_DEPTH (the root
 * container is depth 1), duplicate member names in any object (compared after
 * decoding escapes), the code point U+0000 raw or escaped, lone surrogates,
 * invalid UTF-8 (overlong, surrogates, above U+10FFFF), numbers that do not
 * fit: a 64-bit signed integer, with fraction or exponent a finite double;
 * texts longer than NGX_HTTP_UNIT_JSON_MAX_LEN; and more watched values than
 * NGX_HTTP_UNIT_JSON_MAX_HITS, each of which costs more memory than text.
 *
 *   pool  for hits and temporary tables; memory used is linear in len
 *   p     len bytes, need not be NUL-terminated, not modified
 *   w     may be NULL: validate only
 *   out   zeroed first, valid on NGX_OK; reason and offset on NGX_DECLINED
 *
 * Time is linear in len whatever the input (keyed hashing of member names).
 *
 * NGX_OK        valid
 * NGX_DECLINED  not valid
 * NGX_ERROR     no memory, or no random bytes for the hash key
 */
ngx_int_t ngx_http_unit_json_scan(ngx_pool_t *pool, u_char *p, size_t len,
    const ngx_http_unit_json_watch_t *w, ngx_http_unit_json_t *out);

/*
 * The nth hit of a watch (n from 0), or NULL.  Linear in the number of hits.
 */
ngx_http_unit_json_hit_t *ngx_http_unit_json_hit(ngx_http_unit_json_t *json,
    ngx_uint_t watch, ngx_uint_t n);

/*
 * The decoded UTF-8 value of a string hit.  Points into the text when there
 * is nothing to decode, else into pool.
 *
 * NGX_OK, NGX_DECLINED (not a string), NGX_ERROR (no memory)
 */
ngx_int_t ngx_http_unit_json_string(ngx_pool_t *pool,
    const ngx_http_unit_json_hit_t *hit, ngx_str_t *value);

/*
 * Compare a string hit with plain UTF-8 text, decoding on the fly.
 * Returns 1 when equal, else 0 (also for hits that are not strings).
 */
ngx_uint_t ngx_http_unit_json_equal(const ngx_http_unit_json_hit_t *hit,
    const ngx_str_t *text);

/*
 * A number hit as whole seconds: fractions are cut towards minus infinity
 * (RFC 7519 NumericDate may be fractional).  Range -2^53 .. 2^53.
 *
 * NGX_OK, NGX_DECLINED (not a number, or out of range)
 */
ngx_int_t ngx_http_unit_json_seconds(const ngx_http_unit_json_hit_t *hit,
    int64_t *value);


#endif /* _NGX_HTTP_UNIT_JSON_H_INCLUDED_ */
