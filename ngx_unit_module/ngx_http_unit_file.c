
/*
 * Watched files, see ngx_http_unit_file.h.  The files are small and local; one
 * stat() a second is what nginx's own open file cache costs.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_unit_file.h"


#define NGX_HTTP_UNIT_FILE_INTERVAL  1000


static ngx_int_t ngx_http_unit_file_read(ngx_http_unit_file_t *file,
    ngx_log_t *log, u_char **text, size_t *len, const char **reason);
static void ngx_http_unit_file_seen(ngx_http_unit_file_t *file,
    ngx_file_info_t *fi);
static void ngx_http_unit_file_timer(ngx_event_t *ev);
static void ngx_http_unit_file_check(ngx_http_unit_file_t *file,
    ngx_log_t *log);


static ngx_event_t       ngx_http_unit_file_event;
static ngx_connection_t  ngx_http_unit_file_dummy;
static ngx_array_t      *ngx_http_unit_files;


ngx_http_unit_file_t *
ngx_http_unit_file_add(ngx_conf_t *cf, ngx_str_t *name, size_t max,
    ngx_http_unit_file_load_pt load, void *data)
{
    u_char                *text;
    size_t                 len;
    ngx_int_t              rc;
    const char            *reason;
    ngx_http_unit_file_t  *file;

    file = ngx_pcalloc(cf->pool, sizeof(ngx_http_unit_file_t));
    if (file == NULL) {
        return NULL;
    }

    file->name = *name;
    file->max = max;
    file->load = load;
    file->data = data;

    if (ngx_conf_full_name(cf->cycle, &file->name, 1) != NGX_OK) {
        return NULL;
    }

    reason = NULL;

    rc = ngx_http_unit_file_read(file, cf->log, &text, &len, &reason);

    if (rc == NGX_OK) {
        rc = load(data, text, len, 1, &reason);

        ngx_explicit_memzero(text, len);
        ngx_free(text);
    }

    if (rc != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "file \"%V\": %s",
                           &file->name, reason ? reason : "no memory");
        return NULL;
    }

    file->loads++;

    return file;
}


static ngx_int_t
ngx_http_unit_file_read(ngx_http_unit_file_t *file, ngx_log_t *log,
    u_char **text, size_t *len, const char **reason)
{
    u_char           *p;
    size_t            size, done;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_int_t         rc;
    ngx_file_info_t   fi;

    fd = ngx_open_file(file->name.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        *reason = "cannot be opened";
        return NGX_DECLINED;
    }

    p = NULL;
    rc = NGX_DECLINED;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR || !ngx_is_file(&fi)) {
        *reason = "is not a regular file";
        goto done;
    }

    /* seen before it is read: a change in between is noticed next time */

    ngx_http_unit_file_seen(file, &fi);

    if (ngx_file_size(&fi) <= 0 || ngx_file_size(&fi) > (off_t) file->max) {
        *reason = "is empty or too large";
        goto done;
    }

    size = (size_t) ngx_file_size(&fi);

    p = ngx_alloc(size, log);
    if (p == NULL) {
        rc = NGX_ERROR;
        goto done;
    }

    for (done = 0; done < size; done += n) {

        n = ngx_read_fd(fd, p + done, size - done);

        if (n <= 0) {
            *reason = "could not be read whole";
            ngx_explicit_memzero(p, size);
            ngx_free(p);
            goto done;
        }
    }

    *text = p;
    *len = size;
    rc = NGX_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &file->name);
    }

    return rc;
}


static void
ngx_http_unit_file_seen(ngx_http_unit_file_t *file, ngx_file_info_t *fi)
{
    file->missing = 0;
    file->uniq = ngx_file_uniq(fi);
    file->size = ngx_file_size(fi);
    file->changed = fi->st_ctim;
}


void
ngx_http_unit_file_init_process(ngx_cycle_t *cycle, ngx_array_t *files)
{
    ngx_event_t  *ev;

    if (files->nelts == 0) {
        return;
    }

    ngx_http_unit_files = files;

    /* debug builds look for a connection behind a timer (STYLE P31) */
    ngx_http_unit_file_dummy.fd = (ngx_socket_t) -1;

    ev = &ngx_http_unit_file_event;
    ngx_memzero(ev, sizeof(ngx_event_t));

    ev->handler = ngx_http_unit_file_timer;
    ev->log = cycle->log;
    ev->data = &ngx_http_unit_file_dummy;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_UNIT_FILE_INTERVAL);
}


static void
ngx_http_unit_file_timer(ngx_event_t *ev)
{
    ngx_uint_t              i;
    ngx_http_unit_file_t  **file;

    if (ngx_exiting) {
        return;
    }

    file = ngx_http_unit_files->elts;

    for (i = 0; i < ngx_http_unit_files->nelts; i++) {
        ngx_http_unit_file_check(file[i], ev->log);
    }

    ngx_add_timer(ev, NGX_HTTP_UNIT_FILE_INTERVAL);
}


static void
ngx_http_unit_file_check(ngx_http_unit_file_t *file, ngx_log_t *log)
{
    u_char           *text;
    size_t            len;
    ngx_int_t         rc;
    const char       *reason;
    ngx_file_info_t   fi;

    reason = NULL;

    if (ngx_file_info(file->name.data, &fi) == NGX_FILE_ERROR) {

        if (file->missing) {
            return;
        }

        file->missing = 1;
        file->failures++;
        file->failed = ngx_current_msec;

        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "unit file \"%V\" is gone, the last good content "
                      "stays in force", &file->name);
        return;
    }

    if (!file->missing
        && file->uniq == ngx_file_uniq(&fi)
        && file->size == ngx_file_size(&fi)
        && file->changed.tv_sec == fi.st_ctim.tv_sec
        && file->changed.tv_nsec == fi.st_ctim.tv_nsec)
    {
        return;
    }

    rc = ngx_http_unit_file_read(file, log, &text, &len, &reason);

    if (rc == NGX_OK) {
        rc = file->load(file->data, text, len, 0, &reason);

        ngx_explicit_memzero(text, len);
        ngx_free(text);
    }

    if (rc == NGX_OK) {
        file->loads++;
        ngx_log_error(NGX_LOG_NOTICE, log, 0, "unit file \"%V\" loaded again",
                      &file->name);
        return;
    }

    /* what cannot even be opened is not tried, or logged, each second */

    ngx_http_unit_file_seen(file, &fi);
    file->failures++;
    file->failed = ngx_current_msec;

    ngx_log_error(NGX_LOG_ERR, log, 0,
                  "unit file \"%V\" %s, the last good content stays in force",
                  &file->name, reason ? reason : "could not be loaded");
}
