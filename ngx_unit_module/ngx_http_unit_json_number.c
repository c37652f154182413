
/*
 * Numbers of a valid JSON text, read exactly from their decimal digits: no
 * floating point, no locale, linear in the length of the number.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"


/* far beyond what the digits of a text can outweigh */
#define NGX_HTTP_UNIT_JSON_MAX_EXPONENT  1000000000000LL

#define NGX_HTTP_UNIT_JSON_MAX_SECONDS   9007199254740992ULL


/* 0.DDDD * 10^point, D being the digits between digit and last, "." aside */
typedef struct {
    const u_char  *digit;      /* first that is not 0, or last if none */
    const u_char  *last;
    int64_t        point;
    unsigned       negative:1;
    unsigned       whole:1;    /* neither "." nor exponent */
} ngx_http_unit_json_decimal_t;


static void ngx_http_unit_json_number_split(const u_char *p,
    const u_char *last, ngx_http_unit_json_decimal_t *d);
static ngx_int_t ngx_http_unit_json_number_compare(
    ngx_http_unit_json_decimal_t *d, const char *digits);


/*
 * The least number that rounds to infinity, 2^1024 - 2^970: half a unit above
 * the largest double, 309 digits (a tie goes to the even side, infinity).
 */
static const char  ngx_http_unit_json_infinity[] =
    "1797693134862315807937289714053034150799341327100378"
    "2693617377898044496829276475094664901797758720709633"
    "0286416692887910946555547851940402630657488671505820"
    "6819089020007083836762738548458177115317644757302700"
    "6985557136695962284291481986083493647529271907416844"
    "4365510704342711559699508093042880177904174497792";

static const char  ngx_http_unit_json_int64_max[] = "9223372036854775807";
static const char  ngx_http_unit_json_int64_min[] = "9223372036854775808";


ngx_uint_t
ngx_http_unit_json_number_fits(const u_char *p, const u_char *last)
{
    const char                    *limit;
    ngx_http_unit_json_decimal_t   d;

    ngx_http_unit_json_number_split(p, last, &d);

    if (d.digit == d.last) {
        return 1;
    }

    if (d.whole) {

        if (d.point != 19) {
            return d.point < 19;
        }

        limit = d.negative ? ngx_http_unit_json_int64_min
                           : ngx_http_unit_json_int64_max;

        return ngx_http_unit_json_number_compare(&d, limit) <= 0;
    }

    if (d.point != 309) {
        return d.point < 309;
    }

    return ngx_http_unit_json_number_compare(&d, ngx_http_unit_json_infinity)
           < 0;
}


ngx_int_t
ngx_http_unit_json_seconds(const ngx_http_unit_json_hit_t *hit, int64_t *value)
{
    int64_t                        n;
    uint64_t                       whole;
    const u_char                  *p;
    ngx_http_unit_json_decimal_t   d;

    *value = 0;

    if (hit->type != NGX_HTTP_UNIT_JSON_NUMBER) {
        return NGX_DECLINED;
    }

    ngx_http_unit_json_number_split(hit->start, hit->end, &d);

    /* 2^53 has 16 digits */

    if (d.digit != d.last && d.point > 16) {
        return NGX_DECLINED;
    }

    whole = 0;
    p = d.digit;

    for (n = 0; n < d.point; n++) {

        if (p < d.last && *p == '.') {
            p++;
        }

        whole *= 10;

        if (p < d.last) {
            whole += *p++ - '0';
        }
    }

    if (d.negative) {

        /* towards minus infinity when a fraction is left */

        while (p < d.last && (*p == '0' || *p == '.')) {
            p++;
        }

        if (p < d.last) {
            whole++;
        }
    }

    if (whole > NGX_HTTP_UNIT_JSON_MAX_SECONDS) {
        return NGX_DECLINED;
    }

    *value = d.negative ? - (int64_t) whole : (int64_t) whole;

    return NGX_OK;
}


static void
ngx_http_unit_json_number_split(const u_char *p, const u_char *last,
    ngx_http_unit_json_decimal_t *d)
{
    int64_t     exponent;
    ngx_uint_t  negative, point;

    d->negative = (*p == '-');
    p += d->negative;

    d->digit = NULL;
    d->point = 0;
    d->whole = 1;
    point = 0;

    for ( /* void */ ; p < last && *p != 'e' && *p != 'E'; p++) {

        if (*p == '.') {
            point = 1;
            d->whole = 0;
            continue;
        }

        if (d->digit == NULL && *p != '0') {
            d->digit = p;
        }

        if (d->digit == NULL) {
            /* a leading 0 counts after the point only */
            d->point -= point;

        } else {
            d->point += !point;
        }
    }

    d->last = p;

    if (d->digit == NULL) {
        d->digit = p;
        d->point = 0;
    }

    if (p == last) {
        return;
    }

    d->whole = 0;
    p++;

    negative = (*p == '-');

    if (*p == '-' || *p == '+') {
        p++;
    }

    for (exponent = 0; p < last; p++) {
        if (exponent < NGX_HTTP_UNIT_JSON_MAX_EXPONENT) {
            exponent = exponent * 10 + (*p - '0');
        }
    }

    if (d->digit != d->last) {
        d->point += negative ? -exponent : exponent;
    }
}


/*
 * Compare significant digits; both sides have the same d->point, and the last
 * of the given ones is not 0.
 */

static ngx_int_t
ngx_http_unit_json_number_compare(ngx_http_unit_json_decimal_t *d,
    const char *digits)
{
    u_char         c;
    const u_char  *p;

    for (p = d->digit; p < d->last; p++) {

        if (*p == '.') {
            continue;
        }

        c = *digits ? (u_char) *digits++ : (u_char) '0';

        if (*p != c) {
            return (*p < c) ? -1 : 1;
        }
    }

    /* if the number has fewer digits, the rest of it is 0 */

    return *digits ? -1 : 0;
}
