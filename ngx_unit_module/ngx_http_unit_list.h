
/*
 * Lists of headers: their elements in turn, and one more.  Inline, for every
 * request walks several of them.
 */


#ifndef _NGX_HTTP_UNIT_LIST_H_INCLUDED_
#define _NGX_HTTP_UNIT_LIST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/* where a walk has got to; set by ngx_http_unit_list_first() */
typedef struct {
    ngx_list_part_t  *part;
    ngx_uint_t        left;    /* elements of the part, this one included */
} ngx_http_unit_list_walk_t;


/* The first element of this part or, if it is empty, of those after it */
static ngx_inline ngx_table_elt_t *
ngx_http_unit_list_part(ngx_list_part_t *part,
    ngx_http_unit_list_walk_t *walk)
{
    for ( /* void */ ; part; part = part->next) {

        if (part->nelts) {
            walk->part = part;
            walk->left = part->nelts;

            return part->elts;
        }
    }

    return NULL;
}


/* The first element of a list of ngx_table_elt_t, NULL if it has none */
static ngx_inline ngx_table_elt_t *
ngx_http_unit_list_first(ngx_list_t *list, ngx_http_unit_list_walk_t *walk)
{
    return ngx_http_unit_list_part(&list->part, walk);
}


/*
 * The element after h, the one that the walk is at; NULL after the last.  An
 * element may be changed meanwhile; nothing may be added to the list.
 */
static ngx_inline ngx_table_elt_t *
ngx_http_unit_list_next(ngx_table_elt_t *h, ngx_http_unit_list_walk_t *walk)
{
    if (--walk->left) {
        return h + 1;
    }

    return ngx_http_unit_list_part(walk->part->next, walk);
}


/*
 * Add a header to a list of them.  Suits headers of answers: what nginx sends
 * to an upstream needs more (STYLE P21).
 *
 *   key    a constant, with a NUL; not copied
 *   value  the bytes are not copied
 *
 * Returns the element, or NULL if there is no memory.
 */
static ngx_inline ngx_table_elt_t *
ngx_http_unit_list_add(ngx_list_t *list, const char *key, ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(list);
    if (h == NULL) {
        return NULL;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value = *value;

    return h;
}


#endif /* _NGX_HTTP_UNIT_LIST_H_INCLUDED_ */
