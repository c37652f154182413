
/*
 * Who makes room in a class of the zone: the oldest that was not used since it
 * was looked at last (second chance).  What is used stays through a flood of
 * what is not; when all are used one goes all the same, after a bounded number
 * of steps; expired ones go first, also from behind one that is used.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_http_unit_shm.h"
#include "ngx_stub.h"
#include "shm_kit.h"
#include "tap.h"


#define TEST_CLASS  NGX_HTTP_UNIT_SHM_TOKEN
#define TEST_SIZE   900
#define TEST_TTL    1000000


static ngx_http_unit_shm_t  *test_shm;


static void
test_key(u_char *key, ngx_uint_t n)
{
    ngx_memzero(key, NGX_HTTP_UNIT_SHM_KEY_LEN);
    ngx_memcpy(key, &n, sizeof(n));
}


static ngx_http_unit_shm_node_t *
test_find(ngx_uint_t n)
{
    u_char  key[NGX_HTTP_UNIT_SHM_KEY_LEN];

    test_key(key, n);

    return ngx_http_unit_shm_find_locked(test_shm, TEST_CLASS, key, NULL);
}


/* use one, as all who find it do: 1 when it is there */

static ngx_uint_t
test_use(ngx_uint_t n)
{
    ngx_http_unit_shm_node_t  *node;

    node = test_find(n);

    if (node) {
        ngx_http_unit_shm_touch_locked(node);
    }

    return node != NULL;
}


static void
test_add(ngx_uint_t n, ngx_msec_t ttl)
{
    u_char                     key[NGX_HTTP_UNIT_SHM_KEY_LEN];
    ngx_http_unit_shm_node_t  *node;

    node = ngx_http_unit_shm_alloc_locked(test_shm, TEST_CLASS, TEST_SIZE);
    if (node == NULL) {
        abort();
    }

    test_key(key, n);
    ngx_http_unit_shm_link_locked(test_shm, node, key, NULL, ttl);
}


/* a zone that has no room for one more; returns how many there are */

static ngx_uint_t
test_full(ngx_pool_t *pool)
{
    ngx_uint_t  n;

    test_shm = shm_kit_start(pool);

    for (n = 0; test_shm->sh->evicted[TEST_CLASS] == 0; n++) {
        test_add(n, TEST_TTL);
    }

    return n;
}


static void
test_order(ngx_pool_t *pool)
{
    ngx_uint_t  n;

    n = test_full(pool);

    ok(n > 500, "there are many: %u", (unsigned) n);
    ok(test_find(0) == NULL && test_find(1) != NULL, "the oldest goes first");

    test_use(1);
    test_add(n, TEST_TTL);

    ok(test_find(1) != NULL, "one that was used stays");
    ok(test_find(2) == NULL, "the oldest that was not used goes");

    test_add(n + 1, TEST_TTL);

    ok(test_find(3) == NULL, "the next one then");
}


static void
test_flood(ngx_pool_t *pool)
{
    ngx_uint_t  i, j, n, lost;

    n = test_full(pool);

    /* a few that are used, in a flood of ten times what there is room for */

    for (lost = 0, i = n; i < n + 10 * n; i++) {

        for (j = 1; j <= 10; j++) {
            lost += !test_use(j);
        }

        test_add(i, TEST_TTL);
    }

    is(lost, 0, "what is used stays through a flood of what is not");

    for (lost = 0, i = 11; i < n; i++) {
        lost += test_find(i) != NULL;
    }

    is(lost, 0, "what is not used does not");
}


static void
test_all_used(ngx_pool_t *pool)
{
    ngx_uint_t                 i, n, used;
    ngx_queue_t               *q;
    ngx_http_unit_shm_node_t  *node;

    n = test_full(pool);

    for (i = 1; i < n; i++) {
        test_use(i);
    }

    test_add(n, TEST_TTL);

    is(test_shm->sh->evicted[TEST_CLASS], 2, "one goes when all were used");

    for (used = 0, q = ngx_queue_head(&test_shm->sh->queues[TEST_CLASS]);
         q != ngx_queue_sentinel(&test_shm->sh->queues[TEST_CLASS]);
         q = ngx_queue_next(q))
    {
        node = ngx_queue_data(q, ngx_http_unit_shm_node_t, queue);
        used += node->used;
    }

    ok(used > n - 32 && used < n - 8, "and the search for it is short: %u of "
       "%u keep their chance", (unsigned) used, (unsigned) n);
}


static void
test_expired(ngx_pool_t *pool)
{
    ngx_uint_t  i;

    test_shm = shm_kit_start(pool);

    for (i = 0; i < 100; i++) {
        test_add(i, i == 0 ? TEST_TTL : 1000);
    }

    ngx_current_msec += 2000;

    test_use(0);

    for (i = 100; i < 160; i++) {
        test_add(i, TEST_TTL);
    }

    is(test_shm->sh->count[TEST_CLASS], 61,
       "expired ones go, also from behind one that is used");
    ok(test_find(0) != NULL, "which stays");
    is(test_shm->sh->evicted[TEST_CLASS], 0, "nothing is evicted for that");
}


int
main(void)
{
    ngx_pool_t  *pool;

    pool = ngx_create_pool(4096, NULL);

    test_order(pool);
    test_flood(pool);
    test_all_used(pool);
    test_expired(pool);

    shm_kit_end();
    ngx_destroy_pool(pool);

    return done_testing();
}
