
/*
 * Idempotency records in a small zone: who gives way to whom.  A customer that
 * floods loses its own records, and an eighth of the others' at most; leases
 * stay; tokens make room for records and not the other way round.  After each
 * of many random steps, holders that die among them, the sums of all owners
 * are those of what is there.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_record.h"
#include "ngx_stub.h"
#include "shm_kit.h"
#include "tap.h"


#define TEST_STEPS      100000
#define TEST_CUSTOMERS  40


static ngx_http_unit_shm_t  *test_shm;
static uint32_t              test_seed = 1;
static char                  test_text[65536];


static uint32_t
test_random(uint32_t n)
{
    test_seed = test_seed * 1664525 + 1013904223;

    return (test_seed >> 8) % n;
}


static void
test_record(ngx_http_unit_record_t *rec, ngx_uint_t customer, ngx_uint_t n)
{
    u_char      text[NGX_INT_T_LEN];
    ngx_str_t   fields[2];
    ngx_uint_t  id[2];
    ngx_str_t   partner = ngx_string("app");

    ngx_memzero(rec, sizeof(ngx_http_unit_record_t));

    id[0] = customer;
    id[1] = n;

    fields[0].data = (u_char *) id;
    fields[0].len = sizeof(id);
    fields[1].data = text;
    fields[1].len = ngx_sprintf(text, "%ui", customer) - text;

    if (ngx_http_unit_record_key(test_shm, fields, 2, rec->key) != NGX_OK) {
        abort();
    }

    rec->owner = ngx_http_unit_record_owner(test_shm, &partner, &fields[1]);
}


static ngx_http_unit_record_e
test_begin(ngx_http_unit_record_t *rec, ngx_uint_t customer, ngx_uint_t n)
{
    ngx_pool_t              *pool;
    ngx_http_unit_record_e   result;

    pool = ngx_create_pool(4096, NULL);

    test_record(rec, customer, n);
    rec->based = 1;

    if (ngx_http_unit_record_begin(test_shm, pool, rec, &result) != NGX_OK) {
        abort();
    }

    ngx_destroy_pool(pool);

    return result;
}


static ngx_uint_t
test_finish(ngx_http_unit_record_t *rec, size_t len)
{
    ngx_http_unit_record_answer_t  answer;

    ngx_memzero(&answer, sizeof(ngx_http_unit_record_answer_t));

    answer.status = 201;
    answer.body.data = (u_char *) test_text;
    answer.body.len = len;

    return ngx_http_unit_record_finish(test_shm, rec, &answer);
}


/* a write from its beginning to its end: 1 when its answer is kept */

static ngx_uint_t
test_write(ngx_uint_t customer, ngx_uint_t n, size_t len)
{
    ngx_http_unit_record_t  rec;

    return test_begin(&rec, customer, n) == NGX_HTTP_UNIT_RECORD_BEGIN
           && test_finish(&rec, len);
}


/* is it replayed?  Asking leaves nothing behind */

static ngx_uint_t
test_kept(ngx_uint_t customer, ngx_uint_t n)
{
    ngx_http_unit_record_t       rec;
    ngx_http_unit_shm_node_t    *node;

    test_record(&rec, customer, n);

    node = ngx_http_unit_shm_find_locked(test_shm, NGX_HTTP_UNIT_SHM_IDEM,
                                         rec.key, NULL);

    return node && test_begin(&rec, customer, n)
                   == NGX_HTTP_UNIT_RECORD_REPLAY;
}


static ngx_uint_t
test_count_kept(ngx_uint_t customer, ngx_uint_t from, ngx_uint_t to)
{
    ngx_uint_t  n, kept;

    for (kept = 0, n = from; n < to; n++) {
        kept += test_kept(customer, n);
    }

    return kept;
}


/* n records of a cache; returns how many there are then */

static ngx_uint_t
test_fill(ngx_http_unit_shm_class_e class, ngx_uint_t n, size_t size)
{
    u_char                     key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    ngx_uint_t                 i;
    ngx_http_unit_shm_node_t  *node;

    for (i = 0; i < n; i++) {

        node = ngx_http_unit_shm_alloc_locked(test_shm, class, size);
        if (node == NULL) {
            break;
        }

        ngx_memzero(key, sizeof(key));
        ngx_memcpy(key, &i, sizeof(i));

        ngx_http_unit_shm_link_locked(test_shm, node, key, NULL, 1000000);
    }

    return test_shm->sh->count[class];
}


/* are the sums those of what is in the table?  Names the first that is not */

static const char *
test_sums(void)
{
    size_t                      bytes[NGX_HTTP_UNIT_SHM_CLASSES], all, size;
    ngx_uint_t                  i, count[NGX_HTTP_UNIT_SHM_CLASSES];
    ngx_queue_t                *q;
    ngx_http_unit_shctx_t      *sh;
    ngx_http_unit_shm_node_t   *node;
    ngx_http_unit_shm_owned_t  *owned;
    static size_t               owners[65536];
    static ngx_uint_t           queued[65536];

    sh = test_shm->sh;
    all = 0;

    ngx_memzero(bytes, sizeof(bytes));
    ngx_memzero(count, sizeof(count));
    ngx_memzero(owners, sizeof(owners));
    ngx_memzero(queued, sizeof(queued));

    for (i = 0; i <= sh->mask; i++) {
        for (node = sh->buckets[i]; node; node = node->next) {

            size = offsetof(ngx_http_unit_shm_node_t, data) + node->size
                   + ngx_http_unit_shm_chain_size(
                                               ngx_http_unit_shm_chain(node));

            bytes[node->class] += size;
            count[node->class]++;

            if (node->owned) {
                owned = (ngx_http_unit_shm_owned_t *) node->data;

                all += size;
                owners[owned->owner - sh->owners] += size;
                queued[owned->owner - sh->owners]
                                   += (node->class == NGX_HTTP_UNIT_SHM_IDEM);
            }
        }
    }

    for (i = 0; i < NGX_HTTP_UNIT_SHM_CLASSES; i++) {
        if (bytes[i] != sh->bytes[i] || count[i] != sh->count[i]) {
            return "a class";
        }
    }

    for (i = 0; i <= sh->owner_mask; i++) {

        if (owners[i] != sh->owners[i].bytes) {
            return "an owner";
        }

        for (q = ngx_queue_head(&sh->owners[i].queue);
             q != ngx_queue_sentinel(&sh->owners[i].queue);
             q = ngx_queue_next(q))
        {
            queued[i]--;
        }

        if (queued[i]) {
            return "a queue";
        }
    }

    return all == sh->owned ? NULL : "all owners";
}


static void
test_flood(ngx_pool_t *pool)
{
    ngx_uint_t  i, kept;
    size_t      len;

    static const size_t  sizes[] = { 0, 1000, 60000 };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {

        len = sizes[i];
        test_shm = shm_kit_start(pool);

        kept = test_write(1, 0, 1000) + test_write(2, 0, 0);
        is(kept, 2, "two customers write");

        for (kept = 0; kept < 20000; kept++) {

            if (!test_write(3, kept, len)) {
                break;
            }
        }

        is(kept, 20000, "another one writes 20,000 times");
        ok(test_kept(1, 0) && test_kept(2, 0),
           "the others' are kept, with answers of %zu bytes", len);
        ok(!test_kept(3, 0) && test_kept(3, 19999), "its own oldest are not");
        is(test_sums() == NULL, 1, "the sums");
        ok(test_shm->sh->bytes[NGX_HTTP_UNIT_SHM_IDEM] <= SHM_KIT_ZONE / 2,
           "half of the zone");
    }
}


/* all is full of records of others, and then somebody begins */

static void
test_eighth(ngx_pool_t *pool)
{
    ngx_uint_t  i, before, after;

    test_shm = shm_kit_start(pool);

    for (i = 0; i < TEST_CUSTOMERS * 100; i++) {
        (void) test_write(100 + i % TEST_CUSTOMERS, i / TEST_CUSTOMERS, 1000);
    }

    for (before = 0, i = 0; i < TEST_CUSTOMERS; i++) {
        before += test_count_kept(100 + i, 0, 100);
    }

    for (i = 0; i < 20000; i++) {
        (void) test_write(1, i, 1000);
    }

    for (after = 0, i = 0; i < TEST_CUSTOMERS; i++) {
        after += test_count_kept(100 + i, 0, 100);
    }

    ok(after >= before * 7 / 8 - 2, "%u of %u are left", (unsigned) after,
       (unsigned) before);
    ok(after <= before * 7 / 8 + 2, "and the newcomer has an eighth");

    /* one that was asked for lately is as old as before */

    after = 20000 - test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM] / 8;

    while (!test_kept(1, after)) {
        after++;
    }

    ngx_current_msec += 2000;

    ok(test_kept(1, after + 1), "the second oldest is asked for");

    (void) test_write(1, 20000, 1000);
    (void) test_write(1, 20001, 1000);

    ok(!test_kept(1, after + 1) && test_kept(1, after + 3), "and goes");
    is(test_sums() == NULL, 1, "the sums");
}


/* without a base nothing is made, and what there is is found all the same */

static void
test_base(ngx_pool_t *pool)
{
    ngx_http_unit_record_t  rec, again;
    ngx_http_unit_record_e  result;

    test_shm = shm_kit_start(pool);
    test_record(&rec, 1, 1);

    (void) ngx_http_unit_record_begin(test_shm, pool, &rec, &result);
    is(result, NGX_HTTP_UNIT_RECORD_NONE, "no base, no record");
    is(test_shm->sh->owned, 0, "nothing is made");

    is(test_begin(&rec, 1, 1), NGX_HTTP_UNIT_RECORD_BEGIN, "with one there is");
    memset(rec.base, 'b', sizeof(rec.base));
    ngx_http_unit_record_cancel(test_shm, &rec);

    rec.based = 1;
    (void) ngx_http_unit_record_begin(test_shm, pool, &rec, &result);
    is(result, NGX_HTTP_UNIT_RECORD_BEGIN, "a base of its own");
    (void) ngx_http_unit_record_finish(test_shm, &rec, NULL);

    test_record(&again, 1, 1);
    (void) ngx_http_unit_record_begin(test_shm, pool, &again, &result);
    is(result, NGX_HTTP_UNIT_RECORD_BEGIN, "the outcome is unknown");
    ok(memcmp(again.base, rec.base, sizeof(rec.base)) == 0, "the same base");

    test_record(&rec, 1, 1);
    (void) ngx_http_unit_record_begin(test_shm, pool, &rec, &result);
    is(result, NGX_HTTP_UNIT_RECORD_IN_USE, "under way");
}


static void
test_leases(ngx_pool_t *pool)
{
    ngx_uint_t               i, n;
    ngx_http_unit_record_t   rec, first, last;
    ngx_http_unit_record_e   result;

    test_shm = shm_kit_start(pool);

    is(test_begin(&first, 1, 0), NGX_HTTP_UNIT_RECORD_BEGIN, "a lease");
    (void) test_write(2, 0, 1000);

    for (i = 0; i < 20000; i++) {
        (void) test_write(3, i, 1000);
    }

    is(test_begin(&rec, 1, 0), NGX_HTTP_UNIT_RECORD_IN_USE, "it outlasts all");

    /* leases alone: room for them is taken from their own customer's */

    for (n = 0; n < 20000; n++) {

        result = test_begin(&last, 4, n);

        if (result != NGX_HTTP_UNIT_RECORD_BEGIN) {
            break;
        }
    }

    is(result, NGX_HTTP_UNIT_RECORD_FULL, "then there is no room for more");
    ok(n > 100, "%u of one customer", (unsigned) n);
    ok(test_kept(2, 0), "another one's record is kept");
    is(test_write(2, 1, 1000), 1, "and another one can write");
    is(test_begin(&rec, 4, 0), NGX_HTTP_UNIT_RECORD_IN_USE, "leases stay");
    is(test_begin(&rec, 1, 0), NGX_HTTP_UNIT_RECORD_IN_USE, "everybody's");
    is(test_sums() == NULL, 1, "the sums");

    /* their holders die: the first is tried again, the others are records */

    ngx_current_msec += NGX_HTTP_UNIT_RECORD_LEASE + 1;

    is(test_begin(&rec, 4, 0), NGX_HTTP_UNIT_RECORD_BEGIN, "they run out");

    for (i = 0; i < 2 * n; i++) {
        (void) test_write(2, 2 + i, 0);
    }

    is(test_begin(&rec, 4, 0), NGX_HTTP_UNIT_RECORD_IN_USE, "but a new one");
    is(test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM_LEASE], 1, "of all");
    is(test_sums() == NULL, 1, "the sums");
}


static void
test_tokens(ngx_pool_t *pool)
{
    ngx_uint_t  n;

    test_shm = shm_kit_start(pool);

    /* records take what tokens have, up to a half */

    n = test_fill(NGX_HTTP_UNIT_SHM_TOKEN, 20000, 900);
    ok(n > 500, "full of tokens");

    for (n = 0; n < 10000; n++) {
        (void) test_write(n % 100, n, 0);
    }

    ok(test_shm->sh->bytes[NGX_HTTP_UNIT_SHM_IDEM] > SHM_KIT_ZONE * 15 / 32
       && test_shm->sh->bytes[NGX_HTTP_UNIT_SHM_IDEM] <= SHM_KIT_ZONE / 2,
       "records have their half");
    ok(test_shm->sh->bytes[NGX_HTTP_UNIT_SHM_TOKEN] > SHM_KIT_ZONE * 3 / 8,
       "tokens the other one");

    /* and tokens take nothing from them */

    n = test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM];

    (void) test_fill(NGX_HTTP_UNIT_SHM_TOKEN, 20000, 900);
    (void) test_fill(NGX_HTTP_UNIT_SHM_JWT, 20000, 200);
    (void) test_fill(NGX_HTTP_UNIT_SHM_JWT_BAD, 20000, 8);
    (void) test_fill(NGX_HTTP_UNIT_SHM_CUSTOMERS, 20000, 8);

    is(test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM], n, "tokens push out none");

    /* what must not be forgotten does, when nothing else is left */

    (void) test_fill(NGX_HTTP_UNIT_SHM_LIMIT, 1000, 8);

    is(test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM], n, "nor a few limits");

    (void) test_fill(NGX_HTTP_UNIT_SHM_LIMIT, 100000, 8);

    is(test_shm->sh->count[NGX_HTTP_UNIT_SHM_IDEM], 0, "but many limits");
    is(test_shm->sh->count[NGX_HTTP_UNIT_SHM_TOKEN], 0, "tokens first");
    is(test_sums() == NULL, 1, "the sums");

    /* without tokens records have what there is, save the eighth */

    test_shm = shm_kit_start(pool);

    n = test_fill(NGX_HTTP_UNIT_SHM_LIMIT, 4500, 8);

    for (n = 0; n < 10000; n++) {
        (void) test_write(n % 100, n, 0);
    }

    (void) test_fill(NGX_HTTP_UNIT_SHM_TOKEN, 1000, 900);

    n = test_shm->sh->bytes[NGX_HTTP_UNIT_SHM_TOKEN];

    ok(n >= SHM_KIT_ZONE / 8 && n < SHM_KIT_ZONE / 8 + 1024,
       "an eighth is for tokens");
    is(test_sums() == NULL, 1, "the sums");
}


/* writes, replays, leases that are given back or left, one busy customer */

static void
test_walk(ngx_pool_t *pool)
{
    size_t                   len;
    ngx_uint_t               i, customer, held;
    const char              *wrong;
    ngx_http_unit_record_t   rec, open[64];

    test_shm = shm_kit_start(pool);

    held = 0;
    wrong = NULL;

    for (i = 0; i < TEST_STEPS && wrong == NULL; i++) {

        customer = test_random(2) ? 0 : test_random(TEST_CUSTOMERS);
        len = test_random(50) ? test_random(3000) : test_random(65536);

        switch (test_random(12)) {

        case 0:
            if (held < 64
                && test_begin(&open[held], customer, test_random(5000))
                   == NGX_HTTP_UNIT_RECORD_BEGIN)
            {
                held++;
            }

            break;

        case 1:
            if (held) {
                (void) test_finish(&open[--held], len);
            }

            break;

        case 2:
            if (held) {
                ngx_http_unit_record_cancel(test_shm, &open[--held]);
            }

            break;

        case 3:

            /* killed: nobody will ever give it back */

            held -= held && test_random(4) == 0;
            break;

        case 4:
            if (held) {
                ngx_http_unit_record_renew(test_shm, &open[held - 1]);
            }

            break;

        case 5:
            (void) test_fill(NGX_HTTP_UNIT_SHM_JWT, 1, test_random(600));
            break;

        default:
            if (test_begin(&rec, customer, test_random(5000))
                == NGX_HTTP_UNIT_RECORD_BEGIN)
            {
                (void) test_finish(&rec, len);
            }
        }

        ngx_current_msec += test_random(200);

        if (i % 64 == 0) {
            wrong = test_sums();
        }
    }

    ok(wrong == NULL, "the sums after %u steps: %s", (unsigned) i,
       wrong ? wrong : "right");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);

    memset(test_text, 'x', sizeof(test_text));

    test_flood(pool);
    test_eighth(pool);
    test_leases(pool);
    test_base(pool);
    test_tokens(pool);
    test_walk(pool);
    shm_kit_end();

    ngx_destroy_pool(pool);

    return done_testing();
}
