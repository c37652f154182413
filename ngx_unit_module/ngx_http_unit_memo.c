
/*
 * The last token of a connection, see ngx_http_unit_memo.h.  Belongs to one
 * client: nothing of it is ever compared with what another one sends, unless
 * a balancer in front of us puts both on one connection.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include "ngx_http_unit_memo.h"


/* longer ones are hashed each time: this much memory is held per connection */
#define NGX_HTTP_UNIT_MEMO_MAX  1024


typedef struct {
    size_t    len;                             /* 0: none yet */
    u_char    key[NGX_HTTP_UNIT_SHA256_LEN];
    u_char    token[NGX_HTTP_UNIT_MEMO_MAX];
} ngx_http_unit_memo_t;


static ngx_http_unit_memo_t *ngx_http_unit_memo_find(ngx_connection_t *c);
static void ngx_http_unit_memo_cleanup(void *data);


ngx_int_t
ngx_http_unit_memo_key(ngx_connection_t *c, const ngx_str_t *token,
    u_char key[NGX_HTTP_UNIT_SHA256_LEN])
{
    ngx_pool_cleanup_t    *cln;
    ngx_http_unit_memo_t  *memo;

    memo = ngx_http_unit_memo_find(c);

    if (memo
        && memo->len == token->len
        && ngx_memcmp(memo->token, token->data, token->len) == 0)
    {
        ngx_memcpy(key, memo->key, NGX_HTTP_UNIT_SHA256_LEN);
        return NGX_OK;
    }

    if (ngx_http_unit_sha256(token, 1, 1, key) != NGX_OK) {
        return NGX_ERROR;
    }

    /* many connections see one request only */

    if (token->len > NGX_HTTP_UNIT_MEMO_MAX || c->requests < 2) {
        return NGX_OK;
    }

    if (memo == NULL) {

        cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_http_unit_memo_t));
        if (cln == NULL) {
            return NGX_ERROR;
        }

        memo = cln->data;
        memo->len = 0;

        cln->handler = ngx_http_unit_memo_cleanup;
    }

    if (memo->len > token->len) {
        ngx_explicit_memzero(memo->token + token->len,
                             memo->len - token->len);
    }

    ngx_memcpy(memo->key, key, NGX_HTTP_UNIT_SHA256_LEN);
    ngx_memcpy(memo->token, token->data, token->len);
    memo->len = token->len;

    return NGX_OK;
}


static ngx_http_unit_memo_t *
ngx_http_unit_memo_find(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_unit_memo_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_http_unit_memo_cleanup(void *data)
{
    ngx_http_unit_memo_t  *memo = data;

    ngx_explicit_memzero(memo->token, memo->len);
}
