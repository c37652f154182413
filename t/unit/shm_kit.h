
/*
 * The shared zone in a test of one process: its slab pool is malloc's, and its
 * lock does nothing.  ngx_current_msec is the test's to set.
 */


#ifndef _SHM_KIT_H_INCLUDED_
#define _SHM_KIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"


#define SHM_KIT_ZONE  (1024 * 1024)


/* A new zone instead of the one before; shm_kit_end() frees the last one. */
ngx_http_unit_shm_t *shm_kit_start(ngx_pool_t *pool);
void shm_kit_end(void);


#endif /* _SHM_KIT_H_INCLUDED_ */
