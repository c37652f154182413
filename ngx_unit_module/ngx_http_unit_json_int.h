
/*
 * What the files of the JSON scanner share: watched paths, names of the open
 * objects, numbers.  Not for other files.
 */


#ifndef _NGX_HTTP_UNIT_JSON_INT_H_INCLUDED_
#define _NGX_HTTP_UNIT_JSON_INT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json.h"


#define NGX_HTTP_UNIT_JSON_BUCKETS  8

/*
 * How many names fit before the pool is asked, and how many an object may have
 * before they are hashed (a power of 2, as the table's size comes from it).
 */
#define NGX_HTTP_UNIT_JSON_NAMES    64
#define NGX_HTTP_UNIT_JSON_SMALL    16


typedef struct ngx_http_unit_json_node_s  ngx_http_unit_json_node_t;

/* a place in the watched paths: a member, an element, or the root */
struct ngx_http_unit_json_node_s {
    ngx_str_t                   name;
    ngx_int_t                   id;        /* NGX_ERROR: only on the way */
    uint64_t                    hints;     /* of the members' names */
    ngx_http_unit_json_node_t  *next;      /* in the parent's bucket */
    ngx_http_unit_json_node_t  *element;   /* "[]", or NULL */
    ngx_http_unit_json_node_t  *members[NGX_HTTP_UNIT_JSON_BUCKETS];
};


struct ngx_http_unit_json_watch_s {
    ngx_http_unit_json_node_t   root;
    ngx_pool_t                 *pool;
    ngx_uint_t                  nnodes;
    ngx_int_t                   nids;
    ngx_uint_t                  guard;
};


/* a decoded member name */
typedef struct {
    u_char                     *data;
    size_t                      len;
    uint64_t                    hash;      /* set for objects with slots */
} ngx_http_unit_json_name_t;


/* the names of all open objects, those of the innermost one last */
typedef struct {
    ngx_http_unit_json_name_t  *elts;
    ngx_uint_t                  nelts;
    ngx_uint_t                  nalloc;
    ngx_pool_t                 *pool;
    ngx_http_unit_json_name_t   few[NGX_HTTP_UNIT_JSON_NAMES];
} ngx_http_unit_json_names_t;


/* the names of one object among them */
typedef struct {
    ngx_uint_t                  first;     /* in names->elts */
    uint64_t                    hints;
    uint32_t                   *slots;     /* 1 + index from first, 0: free */
    ngx_uint_t                  nslots;    /* a power of 2 */
} ngx_http_unit_json_set_t;


/* what is being read, and why it was refused */
typedef struct {
    u_char                     *last;      /* of the text */
    ngx_uint_t                  escaped;   /* the last string had escapes */
    u_char                     *where;
    const char                 *reason;
} ngx_http_unit_json_lex_t;


/* Refuse the text; for "return ngx_http_unit_json_fail(...)". */
static ngx_inline u_char *
ngx_http_unit_json_fail(ngx_http_unit_json_lex_t *lex, u_char *where,
    const char *reason)
{
    lex->where = where;
    lex->reason = reason;

    return NULL;
}


static ngx_inline u_char *
ngx_http_unit_json_space(u_char *p, u_char *last)
{
    /* nearly always there is none */

    while (p < last && *p <= ' '
           && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
    {
        p++;
    }

    return p;
}


/*
 * Six bits of a name, the same whatever its letter case: two names with
 * different hints differ.  Cheap and easily fooled, so only for filters.
 */
static ngx_inline ngx_uint_t
ngx_http_unit_json_hint(const u_char *name, size_t len)
{
    uint32_t  h;

    if (len == 0) {
        return 0;
    }

    h = (uint32_t) len * 0x9e3779b1
        + (uint32_t) (name[0] | 0x20) * 0x85ebca77
        + (uint32_t) (name[len / 2] | 0x20) * 0xc2b2ae3d
        + (uint32_t) (name[len - 1] | 0x20) * 0x27d4eb2f;

    return h >> 26;
}


/*
 * The end of the string, number or literal that begins at p, or NULL after
 * ngx_http_unit_json_fail().
 */
u_char *ngx_http_unit_json_string_end(ngx_http_unit_json_lex_t *lex,
    u_char *p);
u_char *ngx_http_unit_json_number_end(ngx_http_unit_json_lex_t *lex,
    u_char *p);
u_char *ngx_http_unit_json_literal_end(ngx_http_unit_json_lex_t *lex,
    u_char *p, const char *text, size_t len);

void ngx_http_unit_json_names_init(ngx_http_unit_json_names_t *names,
    ngx_pool_t *pool);
void ngx_http_unit_json_names_done(ngx_http_unit_json_names_t *names);

/* Begin the innermost object, end it. */
void ngx_http_unit_json_names_open(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set);
void ngx_http_unit_json_names_close(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set);

/*
 * Add a name to the innermost object; data must stay until it is closed.
 *
 * NGX_OK, NGX_DECLINED (it has that name already), NGX_ERROR
 */
ngx_int_t ngx_http_unit_json_names_add(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set, u_char *data, size_t len, ngx_uint_t hint);

/*
 * The watched member of that name; *node is NULL when there is none.
 *
 * NGX_OK, NGX_DECLINED (guarded, and the name is one in other letter case)
 */
ngx_int_t ngx_http_unit_json_watch_find(const ngx_http_unit_json_watch_t *w,
    const ngx_http_unit_json_node_t *parent, u_char *name, size_t len,
    ngx_uint_t hint, const ngx_http_unit_json_node_t **node);

/* Does a number of valid syntax fit: int64_t, or with "." or "e" double? */
ngx_uint_t ngx_http_unit_json_number_fits(const u_char *p,
    const u_char *last);

/*
 * Decode the inside of a valid string; dst needs last - p bytes.  Returns the
 * end of dst.
 */
u_char *ngx_http_unit_json_decode(u_char *dst, const u_char *p,
    const u_char *last);

/* The value of four hexadecimal digits, or NGX_ERROR. */
ngx_int_t ngx_http_unit_json_hex4(const u_char *p, const u_char *last);


#endif /* _NGX_HTTP_UNIT_JSON_INT_H_INCLUDED_ */
