
/*
 * Member names of the objects that are open during a JSON scan: finds
 * duplicates in linear time whatever the names are.
 *
 * Objects of few members are searched one by one, and only when a six-bit
 * hint says that it is worth it.  From NGX_HTTP_UNIT_JSON_SMALL members on an
 * object gets an open-addressed table with a keyed hash, so that nobody who
 * does not know the key can make names collide.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_json_int.h"

#include <sys/random.h>


#define ngx_http_unit_json_rotl(x, n)  (((x) << (n)) | ((x) >> (64 - (n))))


static ngx_int_t ngx_http_unit_json_name_grow(
    ngx_http_unit_json_names_t *names);
static ngx_int_t ngx_http_unit_json_name_table(
    ngx_http_unit_json_names_t *names, ngx_http_unit_json_set_t *set,
    ngx_uint_t nslots);
static ngx_uint_t ngx_http_unit_json_name_slot(
    ngx_http_unit_json_names_t *names, ngx_http_unit_json_set_t *set,
    ngx_http_unit_json_name_t *name);
static uint64_t ngx_http_unit_json_name_hash(const u_char *p, size_t len);
static ngx_inline void ngx_http_unit_json_name_round(uint64_t v[4]);
static ngx_int_t ngx_http_unit_json_name_key(void);


/* one key per process; names are never hashed across processes */
static uint64_t    ngx_http_unit_json_key[2];
static ngx_uint_t  ngx_http_unit_json_keyed;


void
ngx_http_unit_json_seed(uint64_t k0, uint64_t k1)
{
    ngx_http_unit_json_key[0] = k0;
    ngx_http_unit_json_key[1] = k1;
    ngx_http_unit_json_keyed = 1;
}


void
ngx_http_unit_json_names_init(ngx_http_unit_json_names_t *names,
    ngx_pool_t *pool)
{
    names->elts = names->few;
    names->nelts = 0;
    names->nalloc = NGX_HTTP_UNIT_JSON_NAMES;
    names->pool = pool;
}


void
ngx_http_unit_json_names_done(ngx_http_unit_json_names_t *names)
{
    if (names->elts != names->few) {
        (void) ngx_pfree(names->pool, names->elts);
    }
}


void
ngx_http_unit_json_names_open(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set)
{
    set->first = names->nelts;
    set->hints = 0;
    set->slots = NULL;
    set->nslots = 0;
}


void
ngx_http_unit_json_names_close(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set)
{
    names->nelts = set->first;

    if (set->slots != NULL) {
        (void) ngx_pfree(names->pool, set->slots);
    }
}


ngx_int_t
ngx_http_unit_json_names_add(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set, u_char *data, size_t len, ngx_uint_t hint)
{
    uint64_t                    bit;
    ngx_uint_t                  n, slot;
    ngx_http_unit_json_name_t  *name, *old;

    if (names->nelts == names->nalloc
        && ngx_http_unit_json_name_grow(names) != NGX_OK)
    {
        return NGX_ERROR;
    }

    n = names->nelts - set->first;
    name = &names->elts[names->nelts];
    name->data = data;
    name->len = len;

    if (n < NGX_HTTP_UNIT_JSON_SMALL) {
        bit = (uint64_t) 1 << hint;

        if (set->hints & bit) {
            for (old = &names->elts[set->first]; old < name; old++) {
                if (old->len == len && ngx_memcmp(old->data, data, len) == 0) {
                    return NGX_DECLINED;
                }
            }
        }

        set->hints |= bit;
        names->nelts++;

        return NGX_OK;
    }

    /* at most half full, with this one */

    if (2 * (n + 1) > set->nslots
        && ngx_http_unit_json_name_table(names, set, 4 * n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    name->hash = ngx_http_unit_json_name_hash(data, len);

    slot = ngx_http_unit_json_name_slot(names, set, name);

    if (set->slots[slot] != 0) {
        return NGX_DECLINED;
    }

    set->slots[slot] = (uint32_t) (n + 1);
    names->nelts++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_unit_json_name_grow(ngx_http_unit_json_names_t *names)
{
    ngx_http_unit_json_name_t  *elts;

    elts = ngx_palloc(names->pool, 2 * names->nalloc
                                   * sizeof(ngx_http_unit_json_name_t));
    if (elts == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(elts, names->elts,
               names->nelts * sizeof(ngx_http_unit_json_name_t));

    ngx_http_unit_json_names_done(names);

    names->elts = elts;
    names->nalloc *= 2;

    return NGX_OK;
}


/* Make the first table of an object, or one of twice the size. */

static ngx_int_t
ngx_http_unit_json_name_table(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set, ngx_uint_t nslots)
{
    uint32_t                   *old;
    ngx_uint_t                  i, n, slot;
    ngx_http_unit_json_name_t  *name;

    old = set->slots;
    n = names->nelts - set->first;
    name = &names->elts[set->first];

    if (old == NULL) {

        if (ngx_http_unit_json_name_key() != NGX_OK) {
            return NGX_ERROR;
        }

        for (i = 0; i < n; i++) {
            name[i].hash = ngx_http_unit_json_name_hash(name[i].data,
                                                        name[i].len);
        }
    }

    set->slots = ngx_pcalloc(names->pool, nslots * sizeof(uint32_t));
    if (set->slots == NULL) {
        return NGX_ERROR;
    }

    set->nslots = nslots;

    for (i = 0; i < n; i++) {
        slot = ngx_http_unit_json_name_slot(names, set, &name[i]);
        set->slots[slot] = (uint32_t) (i + 1);
    }

    if (old != NULL) {
        (void) ngx_pfree(names->pool, old);
    }

    return NGX_OK;
}


/* The slot of a name, or the free one where it belongs. */

static ngx_uint_t
ngx_http_unit_json_name_slot(ngx_http_unit_json_names_t *names,
    ngx_http_unit_json_set_t *set, ngx_http_unit_json_name_t *name)
{
    ngx_uint_t                  slot, mask;
    ngx_http_unit_json_name_t  *old;

    mask = set->nslots - 1;
    slot = name->hash & mask;

    while (set->slots[slot] != 0) {
        old = &names->elts[set->first + set->slots[slot] - 1];

        if (old->hash == name->hash
            && old->len == name->len
            && ngx_memcmp(old->data, name->data, name->len) == 0)
        {
            break;
        }

        slot = (slot + 1) & mask;
    }

    return slot;
}


/*
 * SipHash-1-3.  Whole words are read in the machine's byte order: the values
 * never leave the process.
 */

static uint64_t
ngx_http_unit_json_name_hash(const u_char *p, size_t len)
{
    size_t         i;
    uint64_t       m, v[4];
    const u_char  *last;

    v[0] = ngx_http_unit_json_key[0] ^ 0x736f6d6570736575ULL;
    v[1] = ngx_http_unit_json_key[1] ^ 0x646f72616e646f6dULL;
    v[2] = ngx_http_unit_json_key[0] ^ 0x6c7967656e657261ULL;
    v[3] = ngx_http_unit_json_key[1] ^ 0x7465646279746573ULL;

    for (last = p + (len & ~(size_t) 7); p < last; p += 8) {
        ngx_memcpy(&m, p, 8);

        v[3] ^= m;
        ngx_http_unit_json_name_round(v);
        v[0] ^= m;
    }

    m = (uint64_t) len << 56;

    for (i = 0; i < (len & 7); i++) {
        m |= (uint64_t) p[i] << (8 * i);
    }

    v[3] ^= m;
    ngx_http_unit_json_name_round(v);
    v[0] ^= m;

    v[2] ^= 0xff;

    for (i = 0; i < 3; i++) {
        ngx_http_unit_json_name_round(v);
    }

    return v[0] ^ v[1] ^ v[2] ^ v[3];
}


static ngx_inline void
ngx_http_unit_json_name_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = ngx_http_unit_json_rotl(v[1], 13) ^ v[0];
    v[3] = ngx_http_unit_json_rotl(v[3], 16) ^ v[2];
    v[0] = ngx_http_unit_json_rotl(v[0], 32);

    v[2] += v[1];
    v[0] += v[3];
    v[1] = ngx_http_unit_json_rotl(v[1], 17) ^ v[2];
    v[3] = ngx_http_unit_json_rotl(v[3], 21) ^ v[0];
    v[2] = ngx_http_unit_json_rotl(v[2], 32);
}


static ngx_int_t
ngx_http_unit_json_name_key(void)
{
    if (ngx_http_unit_json_keyed) {
        return NGX_OK;
    }

    /* a guessable key would be worse than none: fail */

    if (getrandom(ngx_http_unit_json_key, sizeof(ngx_http_unit_json_key), 0)
        != (ssize_t) sizeof(ngx_http_unit_json_key))
    {
        return NGX_ERROR;
    }

    ngx_http_unit_json_keyed = 1;

    return NGX_OK;
}
