
/*
 * Files that are read at configuration time and again, in each worker, when
 * they change: key sets and the organisation token.  A file that cannot be
 * used leaves what was loaded last in force.
 */


#ifndef _NGX_HTTP_UNIT_FILE_H_INCLUDED_
#define _NGX_HTTP_UNIT_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_http_unit_file_s  ngx_http_unit_file_t;

/*
 * Put the new content in force.
 *
 *   text    len bytes, wiped and freed by the caller
 *   strict  1 at configuration time
 *
 * NGX_OK, NGX_DECLINED (*reason says what is wrong), NGX_ERROR (no memory)
 */
typedef ngx_int_t (*ngx_http_unit_file_load_pt)(void *data, u_char *text,
    size_t len, ngx_uint_t strict, const char **reason);

struct ngx_http_unit_file_s {
    ngx_str_t                    name;      /* full, NUL-terminated */
    size_t                       max;       /* bytes */
    ngx_http_unit_file_load_pt   load;
    void                        *data;

    /* of the version seen last, good or not */
    ngx_file_uniq_t              uniq;
    off_t                        size;
    struct timespec              changed;   /* ctime: also tells of chmod */
    ngx_uint_t                   missing;

    ngx_uint_t                   loads;     /* since the process began */
    ngx_uint_t                   failures;
    ngx_msec_t                   failed;    /* when, the last time */
};


/*
 * Read a file of the configuration and have it watched.
 *
 * Returns the file, or NULL after logging through cf with file and line.
 */
ngx_http_unit_file_t *ngx_http_unit_file_add(ngx_conf_t *cf, ngx_str_t *name,
    size_t max, ngx_http_unit_file_load_pt load, void *data);

/*
 * Begin to look after the files in this worker: once a second a stat() each.
 *
 *   files  of ngx_http_unit_file_t *
 */
void ngx_http_unit_file_init_process(ngx_cycle_t *cycle, ngx_array_t *files);


#endif /* _NGX_HTTP_UNIT_FILE_H_INCLUDED_ */
