
/*
 * A small stand-in for the parts of nginx that the pure files call: pools,
 * arrays, strings.  For unit tests, fuzzing and the operator's tools; the
 * module never links it.  Types come from nginx's own headers.
 *
 * Every pool allocation is a malloc() of its own, filled with junk, so that
 * AddressSanitizer sees each overflow and no test relies on zeroed memory.
 */


#ifndef _NGX_STUB_H_INCLUDED_
#define _NGX_STUB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Let the nth allocation from now on fail (1 is the next one, 0 is none).
 * Only that one fails; starts the count of ngx_stub_allocations() anew.
 */
void ngx_stub_fail(ngx_uint_t n);

/* Allocations since ngx_stub_fail(), the failed one included. */
ngx_uint_t ngx_stub_allocations(void);

/* Bytes asked for in allocations since ngx_stub_fail(). */
size_t ngx_stub_allocated(void);

/* What ngx_time() says from now on. */
void ngx_stub_time(time_t sec);


#endif /* _NGX_STUB_H_INCLUDED_ */
