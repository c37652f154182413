
/*
 * Checks of the finished configuration that concern the servers with a gateway
 * in them: whether the internal locations are there that the gateway's own
 * calls go to, and that nobody can send a client's bytes a second time.
 */


#include "ngx_http_unit.h"
#include "ngx_http_unit_conf.h"
#include "ngx_http_unit_keys.h"


static ngx_int_t ngx_http_unit_conf_server_location(ngx_conf_t *cf,
    ngx_http_unit_server_t *server, ngx_str_t *prefix, const char *tail);
static ngx_http_core_loc_conf_t *ngx_http_unit_conf_server_find(
    ngx_http_core_loc_conf_t *parent, ngx_str_t *uri, ngx_uint_t *final);
static ngx_http_core_loc_conf_t *ngx_http_unit_conf_server_static(
    ngx_http_location_tree_node_t *node, ngx_str_t uri, ngx_uint_t *exact);
static ngx_int_t ngx_http_unit_conf_server_early(ngx_conf_t *cf,
    ngx_http_unit_server_t *server);


ngx_int_t
ngx_http_unit_conf_servers(ngx_conf_t *cf, ngx_http_unit_main_conf_t *umcf)
{
    ngx_uint_t                i, n, broker;
    ngx_http_unit_server_t   *server;
    ngx_http_unit_partner_t  *partner;

    server = umcf->servers.elts;
    partner = umcf->partners.elts;

    for (i = 0; i < umcf->servers.nelts; i++) {

        broker = 0;

        for (n = 0; n < umcf->partners.nelts; n++) {

            /* with the organisation's token nothing is asked for */

            if (!partner[n].org) {
                broker = 1;
            }

            if (partner[n].keys->file == NULL
                && ngx_http_unit_conf_server_location(cf, &server[i],
                                                &partner[n].keys->uri, "")
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        if (broker
            && (ngx_http_unit_conf_server_location(cf, &server[i],
                                                   &umcf->broker,
                                                   "/customers")
                != NGX_OK
                || ngx_http_unit_conf_server_location(cf, &server[i],
                                                      &umcf->broker,
                                                      "/customers/1/token")
                   != NGX_OK))
        {
            return NGX_ERROR;
        }

        if (ngx_http_unit_conf_server_early(cf, &server[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* where would a subrequest to this URI end? */

static ngx_int_t
ngx_http_unit_conf_server_location(ngx_conf_t *cf,
    ngx_http_unit_server_t *server, ngx_str_t *prefix, const char *tail)
{
    ngx_str_t                  uri;
    ngx_uint_t                 final;
    ngx_http_conf_ctx_t       *ctx;
    ngx_http_core_loc_conf_t  *clcf;

    uri.len = prefix->len + ngx_strlen(tail);
    uri.data = ngx_pnalloc(cf->temp_pool, uri.len);
    if (uri.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_snprintf(uri.data, uri.len, "%V%s", prefix, tail);

    ctx = server->conf->ctx;
    clcf = ctx->loc_conf[ngx_http_core_module.ctx_index];

    clcf = ngx_http_unit_conf_server_find(clcf, &uri, &final);

    /* one that clients can reach would be a way around the gateway */

    if (clcf && clcf->handler && clcf->internal == 1) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%V\" needs a location for \"%V\" in its server, with "
                  "\"internal\" and \"proxy_pass\" in %V:%ui",
                  &server->word.name, prefix, &server->word.file,
                  server->word.line);

    return NGX_ERROR;
}


/*
 * The location of a URI by the core's rules: exact, else the longest prefix
 * with what is nested in it, unless a regex matches that no "^~" forbids.
 * NULL when there is none; *final is set when nothing outside can overrule it.
 */

static ngx_http_core_loc_conf_t *
ngx_http_unit_conf_server_find(ngx_http_core_loc_conf_t *parent,
    ngx_str_t *uri, ngx_uint_t *final)
{
    ngx_http_core_loc_conf_t   *clcf, *nested;
#if (NGX_PCRE)
    ngx_uint_t                  noregex;
    ngx_http_core_loc_conf_t  **regex;
#endif

    clcf = ngx_http_unit_conf_server_static(parent->static_locations, *uri,
                                            final);
    if (*final) {
        return clcf;
    }

#if (NGX_PCRE)
    noregex = (clcf && clcf->noregex);
#endif

    if (clcf) {
        nested = ngx_http_unit_conf_server_find(clcf, uri, final);

        if (nested) {
            clcf = nested;
        }

        if (*final) {
            return clcf;
        }
    }

#if (NGX_PCRE)

    if (!noregex && parent->regex_locations) {

        for (regex = parent->regex_locations; *regex; regex++) {

            if (ngx_regex_exec((*regex)->regex->regex, uri, NULL, 0) < 0) {
                continue;
            }

            nested = ngx_http_unit_conf_server_find(*regex, uri, final);
            *final = 1;

            return nested ? nested : *regex;
        }
    }

#endif

    return clcf;
}


static ngx_http_core_loc_conf_t *
ngx_http_unit_conf_server_static(ngx_http_location_tree_node_t *node,
    ngx_str_t uri, ngx_uint_t *exact)
{
    size_t                     n;
    ngx_int_t                  rc;
    ngx_http_core_loc_conf_t  *best;

    best = NULL;
    *exact = 0;

    while (node) {

        n = ngx_min(uri.len, (size_t) node->len);
        rc = ngx_filename_cmp(uri.data, node->name, n);

        if (rc < 0 || (rc == 0 && uri.len < node->len)) {
            node = node->left;
            continue;
        }

        if (rc == 0 && uri.len == node->len && node->exact) {
            *exact = 1;
            return node->exact;
        }

        if (rc > 0 || node->inclusive == NULL) {
            node = node->right;
            continue;
        }

        /* a prefix: longer ones are below it, without it in their names */

        best = node->inclusive;

        uri.data += node->len;
        uri.len -= node->len;

        node = uri.len ? node->tree : NULL;
    }

    return best;
}


/*
 * What comes in early data (RFC 8446 8) can be sent again by anybody who saw
 * it: a payment would be one more payment.  The default server of an address
 * decides for all of its names, before any of them is known.
 */

static ngx_int_t
ngx_http_unit_conf_server_early(ngx_conf_t *cf, ngx_http_unit_server_t *server)
{
#if (NGX_HTTP_SSL)

    ngx_uint_t                   p, a, s, here, early;
    ngx_http_conf_port_t        *port;
    ngx_http_conf_addr_t        *addr;
    ngx_http_ssl_srv_conf_t     *sscf;
    ngx_http_core_srv_conf_t   **cscf;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (cmcf->ports == NULL) {
        return NGX_OK;
    }

    port = cmcf->ports->elts;

    for (p = 0; p < cmcf->ports->nelts; p++) {

        addr = port[p].addrs.elts;

        for (a = 0; a < port[p].addrs.nelts; a++) {

            cscf = addr[a].servers.elts;
            here = 0;
            early = 0;

            for (s = 0; s < addr[a].servers.nelts; s++) {

                sscf = cscf[s]->ctx->srv_conf[ngx_http_ssl_module.ctx_index];

                here |= (cscf[s] == server->conf);
                early |= (sscf->early_data == 1);
            }

            if (here && early) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "\"%V\" and \"ssl_early_data on\" cannot go "
                              "together on one address in %V:%ui",
                              &server->word.name, &server->word.file,
                              server->word.line);
                return NGX_ERROR;
            }
        }
    }

#endif

    return NGX_OK;
}
