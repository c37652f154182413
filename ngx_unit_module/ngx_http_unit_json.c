
/*
 * The JSON scanner: one pass over the text, an explicit stack of the open
 * objects and arrays, no tree.  Everything is validated; only watched values
 * are reported.  Small texts take no memory but that of their hits.
 *
 * Functions take the place to read from and return the place to go on at, or
 * NULL: the text is refused when ctx->lex.reason is set, else memory is out.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"


#define NGX_HTTP_UNIT_JSON_HITS  16


/* an open object or array */
typedef struct {
    u_char                           *start;
    ngx_uint_t                        element;  /* hits inside carry it */
    ngx_int_t                         hit;      /* index in hits, or -1 */
    u_char                            close;    /* '}' or ']' */
    const ngx_http_unit_json_node_t  *node;     /* watched here, or NULL */
    ngx_http_unit_json_set_t          names;    /* of an object */
} ngx_http_unit_json_frame_t;


typedef struct {
    ngx_http_unit_json_lex_t          lex;
    ngx_uint_t                        depth;
    ngx_pool_t                       *pool;
    ngx_http_unit_json_t             *out;
    const ngx_http_unit_json_watch_t *watch;
    const ngx_http_unit_json_node_t  *node;     /* of the value to come */

    ngx_http_unit_json_names_t        names;
    ngx_http_unit_json_frame_t        frames[NGX_HTTP_UNIT_JSON_MAX_DEPTH];
} ngx_http_unit_json_ctx_t;


static u_char *ngx_http_unit_json_text(ngx_http_unit_json_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_unit_json_open(ngx_http_unit_json_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_unit_json_close(ngx_http_unit_json_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_unit_json_member(ngx_http_unit_json_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_unit_json_scalar(ngx_http_unit_json_ctx_t *ctx,
    u_char *p);
static ngx_int_t ngx_http_unit_json_report(ngx_http_unit_json_ctx_t *ctx,
    u_char *start, u_char *end, ngx_http_unit_json_type_e type);


ngx_int_t
ngx_http_unit_json_scan(ngx_pool_t *pool, u_char *p, size_t len,
    const ngx_http_unit_json_watch_t *w, ngx_http_unit_json_t *out)
{
    u_char                    *end;
    ngx_http_unit_json_ctx_t   ctx;

    ngx_memzero(out, sizeof(ngx_http_unit_json_t));

    if (len == 0 || len > NGX_HTTP_UNIT_JSON_MAX_LEN) {
        out->reason = len ? "text too long" : "unexpected end of text";
        return NGX_DECLINED;
    }

    ctx.lex.last = p + len;
    ctx.lex.escaped = 0;
    ctx.lex.reason = NULL;
    ctx.depth = 0;
    ctx.pool = pool;
    ctx.out = out;
    ctx.watch = w;
    ctx.node = w ? &w->root : NULL;

    ngx_http_unit_json_names_init(&ctx.names, pool);

    end = ngx_http_unit_json_text(&ctx, p);

    ngx_http_unit_json_names_done(&ctx.names);

    if (end != NULL) {
        return NGX_OK;
    }

    ngx_memzero(out, sizeof(ngx_http_unit_json_t));

    if (ctx.lex.reason == NULL) {
        return NGX_ERROR;
    }

    out->reason = ctx.lex.reason;
    out->offset = ctx.lex.where - p;

    return NGX_DECLINED;
}


static u_char *
ngx_http_unit_json_text(ngx_http_unit_json_ctx_t *ctx, u_char *p)
{
    ngx_http_unit_json_lex_t    *lex;
    ngx_http_unit_json_frame_t  *f;
    enum {
        sw_value = 0,
        sw_first,       /* after an opening bracket */
        sw_next,        /* after a comma */
        sw_after        /* after a value */
    } state;

    lex = &ctx->lex;

    if (lex->last - p >= 3 && ngx_memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        return ngx_http_unit_json_fail(lex, p, "byte order mark");
    }

    state = sw_value;
    f = NULL;           /* the innermost open object or array */

    while (p != NULL) {

        p = ngx_http_unit_json_space(p, lex->last);

        if (p == lex->last) {

            if (state == sw_after && f == NULL) {
                return p;
            }

            return ngx_http_unit_json_fail(lex, p, "unexpected end of text");
        }

        switch (state) {

        case sw_first:

            if (*p == f->close) {
                state = sw_after;
                break;
            }

            /* fall through */

        case sw_next:

            if (f->close == '}') {
                p = ngx_http_unit_json_member(ctx, p);

            } else {
                f->element += (state == sw_next);
                ctx->node = f->node ? f->node->element : NULL;
            }

            state = sw_value;
            break;

        case sw_value:

            if (*p == '{' || *p == '[') {
                p = ngx_http_unit_json_open(ctx, p);
                if (p == NULL) {
                    return NULL;
                }

                f = &ctx->frames[ctx->depth - 1];
                state = sw_first;

                break;
            }

            p = ngx_http_unit_json_scalar(ctx, p);
            state = sw_after;
            break;

        case sw_after:

            if (f == NULL) {
                return ngx_http_unit_json_fail(lex, p, "trailing bytes");
            }

            if (*p == ',') {
                p++;
                state = sw_next;

            } else if (*p == f->close) {
                p = ngx_http_unit_json_close(ctx, p);
                f = ctx->depth ? &ctx->frames[ctx->depth - 1] : NULL;

            } else {
                return ngx_http_unit_json_fail(lex, p,
                                           "comma or closing bracket expected");
            }

            break;
        }
    }

    return NULL;
}


static u_char *
ngx_http_unit_json_open(ngx_http_unit_json_ctx_t *ctx, u_char *p)
{
    ngx_http_unit_json_type_e    type;
    ngx_http_unit_json_frame_t  *f;

    if (ctx->depth == NGX_HTTP_UNIT_JSON_MAX_DEPTH) {
        return ngx_http_unit_json_fail(&ctx->lex, p, "nested too deeply");
    }

    type = (*p == '{') ? NGX_HTTP_UNIT_JSON_OBJECT : NGX_HTTP_UNIT_JSON_ARRAY;
    f = &ctx->frames[ctx->depth];

    f->start = p;
    f->node = ctx->node;
    f->hit = -1;

    if (ctx->depth == 0) {
        ctx->out->type = type;
    }

    if (f->node != NULL && f->node->id != NGX_ERROR) {

        if (ngx_http_unit_json_report(ctx, p, NULL, type) != NGX_OK) {
            return NULL;
        }

        f->hit = ctx->out->hits.nelts - 1;
    }

    if (type == NGX_HTTP_UNIT_JSON_OBJECT) {
        f->close = '}';
        f->element = ctx->depth ? f[-1].element : 0;
        ngx_http_unit_json_names_open(&ctx->names, &f->names);

    } else {
        f->close = ']';
        f->element = 0;
    }

    ctx->depth++;

    return p + 1;
}


static u_char *
ngx_http_unit_json_close(ngx_http_unit_json_ctx_t *ctx, u_char *p)
{
    ngx_http_unit_json_hit_t    *hit;
    ngx_http_unit_json_frame_t  *f;

    p++;
    f = &ctx->frames[--ctx->depth];

    if (f->close == '}') {
        ngx_http_unit_json_names_close(&ctx->names, &f->names);
    }

    if (f->hit != -1) {
        hit = ctx->out->hits.elts;
        hit[f->hit].end = p;
    }

    return p;
}


/* A member's name and colon; finds out whether its value is watched. */

static u_char *
ngx_http_unit_json_member(ngx_http_unit_json_ctx_t *ctx, u_char *p)
{
    u_char                      *name, *start;
    size_t                       len;
    ngx_int_t                    rc;
    ngx_uint_t                   hint;
    ngx_http_unit_json_lex_t    *lex;
    ngx_http_unit_json_frame_t  *f;

    lex = &ctx->lex;

    if (*p != '"') {
        return ngx_http_unit_json_fail(lex, p, "member name expected");
    }

    start = p;
    p = ngx_http_unit_json_string_end(lex, p);

    if (p == NULL) {
        return NULL;
    }

    name = start + 1;
    len = p - 1 - name;

    if (lex->escaped) {
        name = ngx_pnalloc(ctx->pool, len);
        if (name == NULL) {
            return NULL;
        }

        len = ngx_http_unit_json_decode(name, start + 1, p - 1) - name;
    }

    f = &ctx->frames[ctx->depth - 1];
    hint = ngx_http_unit_json_hint(name, len);

    rc = ngx_http_unit_json_names_add(&ctx->names, &f->names, name, len, hint);

    if (rc == NGX_ERROR) {
        return NULL;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_unit_json_fail(lex, start, "duplicate member name");
    }

    ctx->node = NULL;

    if (f->node != NULL
        && ngx_http_unit_json_watch_find(ctx->watch, f->node, name, len, hint,
                                         &ctx->node)
           != NGX_OK)
    {
        return ngx_http_unit_json_fail(lex, start,
                                       "member name in wrong letter case");
    }

    p = ngx_http_unit_json_space(p, lex->last);

    if (p == lex->last) {
        return ngx_http_unit_json_fail(lex, p, "unexpected end of text");
    }

    if (*p != ':') {
        return ngx_http_unit_json_fail(lex, p, "colon expected");
    }

    return p + 1;
}


/* A string, number or literal. */

static u_char *
ngx_http_unit_json_scalar(ngx_http_unit_json_ctx_t *ctx, u_char *p)
{
    u_char                     *start;
    ngx_http_unit_json_type_e   type;

    start = p;

    switch (*p) {

    case '"':
        type = NGX_HTTP_UNIT_JSON_STRING;
        p = ngx_http_unit_json_string_end(&ctx->lex, p);
        break;

    case 't':
        type = NGX_HTTP_UNIT_JSON_TRUE;
        p = ngx_http_unit_json_literal_end(&ctx->lex, p, "true", 4);
        break;

    case 'f':
        type = NGX_HTTP_UNIT_JSON_FALSE;
        p = ngx_http_unit_json_literal_end(&ctx->lex, p, "false", 5);
        break;

    case 'n':
        type = NGX_HTTP_UNIT_JSON_NULL;
        p = ngx_http_unit_json_literal_end(&ctx->lex, p, "null", 4);
        break;

    default:

        if (*p != '-' && (*p < '0' || *p > '9')) {
            return ngx_http_unit_json_fail(&ctx->lex, p, "value expected");
        }

        type = NGX_HTTP_UNIT_JSON_NUMBER;
        p = ngx_http_unit_json_number_end(&ctx->lex, p);
        break;
    }

    if (p == NULL) {
        return NULL;
    }

    if (ctx->depth == 0) {
        ctx->out->type = type;
    }

    if (ctx->node != NULL
        && ctx->node->id != NGX_ERROR
        && ngx_http_unit_json_report(ctx, start, p, type) != NGX_OK)
    {
        return NULL;
    }

    return p;
}


/* Add a hit; ctx->node says of which watch. */

static ngx_int_t
ngx_http_unit_json_report(ngx_http_unit_json_ctx_t *ctx, u_char *start,
    u_char *end, ngx_http_unit_json_type_e type)
{
    ngx_array_t                 *hits;
    ngx_http_unit_json_hit_t    *hit;
    ngx_http_unit_json_frame_t  *f;

    hits = &ctx->out->hits;

    if (hits->nelts == NGX_HTTP_UNIT_JSON_MAX_HITS) {
        ctx->lex.reason = "too many watched values";
        ctx->lex.where = start;
        return NGX_DECLINED;
    }

    if (hits->elts == NULL
        && ngx_array_init(hits, ctx->pool, NGX_HTTP_UNIT_JSON_HITS,
                          sizeof(ngx_http_unit_json_hit_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    hit = ngx_array_push(hits);
    if (hit == NULL) {
        return NGX_ERROR;
    }

    f = ctx->depth ? &ctx->frames[ctx->depth - 1] : NULL;

    hit->watch = ctx->node->id;
    hit->type = type;
    hit->start = start;
    hit->end = end;
    hit->object = f ? f->start : NULL;
    hit->element = f ? f->element : 0;

    return NGX_OK;
}
