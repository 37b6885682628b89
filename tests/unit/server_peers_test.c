/* Connections counted by address. */
#include "unit.h"

#include <stdio.h>

#include "server/peers.h"

enum { ADDRESSES = 5000, EACH = 3 };

static void test_each_has_its_own_count(void **state)
{
    (void)state;
    struct peers *peers = peers_new(2, 10);
    struct peer *a = peers_join(peers, "192.0.2.1");
    assert_non_null(a);
    assert_ptr_equal(peers_join(peers, "192.0.2.1"), a);
    assert_null(peers_join(peers, "192.0.2.1"));
    struct peer *b = peers_join(peers, "192.0.2.11");
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    struct peer *none = peers_join(peers, "");
    assert_non_null(none);
    peers_leave(a);
    assert_ptr_equal(peers_join(peers, "192.0.2.1"), a); /* one left, so one may come */
    assert_null(peers_join(peers, "192.0.2.1"));
    peers_leave(a);
    peers_leave(a);
    a = peers_join(peers, "192.0.2.1"); /* it was forgotten in between */
    assert_non_null(a);
    peers_leave(a);
    peers_leave(b);
    peers_leave(none);
    peers_free(peers);
    peers_free(NULL);
}

/* Many more than there are buckets. */
static void test_many(void **state)
{
    (void)state;
    static struct peer *all[ADDRESSES][EACH];
    char address[46];
    struct peers *peers = peers_new(EACH, 1);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < ADDRESSES; i++) {
            snprintf(address, sizeof(address), "2001:db8::%x", (unsigned)i);
            for (int n = 0; n < EACH; n++) {
                all[i][n] = peers_join(peers, address);
                assert_non_null(all[i][n]);
            }
            assert_null(peers_join(peers, address));
        }
        for (int i = 0; i < ADDRESSES; i++) {
            for (int n = 0; n < EACH; n++)
                peers_leave(all[i][n]);
        }
    }
    peers_free(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_has_its_own_count),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
