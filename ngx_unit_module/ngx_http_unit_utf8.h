
/*
 * Strict UTF-8 (RFC 3629), one sequence at a time.  nginx's own decoder lets
 * surrogates pass, which is why it is not used for untrusted text.
 */


#ifndef _NGX_HTTP_UNIT_UTF8_H_INCLUDED_
#define _NGX_HTTP_UNIT_UTF8_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * The length of the sequence at p (p < last): 1 to 4, or 0 when it is cut
 * off, overlong, a surrogate, above U+10FFFF or not a sequence at all.
 */
static ngx_inline size_t
ngx_http_unit_utf8(const u_char *p, const u_char *last)
{
    u_char  low, high;
    size_t  i, n;

    if (*p < 0x80) {
        return 1;
    }

    /* bounds of the second byte; the others are 80..bf */

    low = 0x80;
    high = 0xbf;

    if (*p >= 0xc2 && *p <= 0xdf) {
        n = 2;

    } else if (*p >= 0xe0 && *p <= 0xef) {
        n = 3;
        low = (*p == 0xe0) ? 0xa0 : 0x80;
        high = (*p == 0xed) ? 0x9f : 0xbf;

    } else if (*p >= 0xf0 && *p <= 0xf4) {
        n = 4;
        low = (*p == 0xf0) ? 0x90 : 0x80;
        high = (*p == 0xf4) ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


#endif /* _NGX_HTTP_UNIT_UTF8_H_INCLUDED_ */
