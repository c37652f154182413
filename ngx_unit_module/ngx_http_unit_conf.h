
/*
 * Directive setters and the checks of the finished configuration.
 */


#ifndef _NGX_HTTP_UNIT_CONF_H_INCLUDED_
#define _NGX_HTTP_UNIT_CONF_H_INCLUDED_


#include "ngx_http_unit.h"


/* Setters: see docs/directives.md.  NGX_CONF_OK or an error as in core. */
char *ngx_http_unit_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_unit_conf_operations(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_conf_org_token(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_conf_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_conf_gateway(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_conf_names(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_unit_conf_error(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Bounds of unit_token_lifetime and unit_token_wait: post handlers. */
char *ngx_http_unit_conf_lifetime(ngx_conf_t *cf, void *post, void *data);
char *ngx_http_unit_conf_wait(ngx_conf_t *cf, void *post, void *data);

/* unit_partner NAME { ... }, in _partner.c */
char *ngx_http_unit_conf_partner(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Second pass over the partners, when the operations table is loaded: scopes,
 * fingerprints, what is missing.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_conf_partners(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);

/*
 * Servers with a gateway, when all locations are known: the internal ones that
 * the gateway needs are there, and early data is off.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_conf_servers(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);

/*
 * Without unit_idempotency_secret_file: a secret made of the organisation
 * token, which is the same on every node until that token is replaced.
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_conf_default_secret(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf);

/*
 * Make the rules of a location from its unit_allow, unit_deny and
 * unit_require_2fa.  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_conf_rules(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf, ngx_http_unit_loc_conf_t *ulcf);

/*
 * Make the set of scopes of unit_token_handoff: card data scopes only.
 * NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_unit_conf_handoff(ngx_conf_t *cf,
    ngx_http_unit_main_conf_t *umcf, ngx_http_unit_loc_conf_t *ulcf);

/*
 * Log an error that is found after parsing, with the file and line of the word
 * that it is about.  fmt has one "%V", for the word.
 */
void ngx_http_unit_conf_error_at(ngx_conf_t *cf, ngx_http_unit_name_t *word,
    const char *fmt);

/* Remember a word and where it stands. */
void ngx_http_unit_conf_word(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_unit_name_t *word);


#endif /* _NGX_HTTP_UNIT_CONF_H_INCLUDED_ */
