/* Compressed files that are kept: found again by file and coding, and no more of them than may be.
 */
#include "unit.h"

#include <string.h>

#include "base/limits.h"
#include "http/packed.h"

static struct file_id id_of(uint64_t inode)
{
    return (struct file_id){.device = 1, .inode = inode, .size = 1000, .modified = 5};
}

static void add(uint64_t inode, enum encoding encoding, struct str bytes)
{
    const struct file_id id = id_of(inode);
    struct packed *packed = packed_new(&id, encoding, bytes, true);
    assert_non_null(packed);
    packed_release(packed);
}

static bool has(struct file_id id, enum encoding encoding)
{
    struct packed *packed = packed_find(&id, encoding);
    if (packed != NULL)
        packed_release(packed);
    return packed != NULL;
}

static void test_identity(void **state)
{
    (void)state;
    struct file_id id = id_of(7);
    add(7, ENCODING_GZIP, STR("gzip"));
    add(7, ENCODING_BR, STR(""));
    struct packed *packed = packed_find(&id, ENCODING_GZIP);
    assert_non_null(packed);
    assert_true(str_eq(packed_bytes(packed), STR("gzip")));
    packed_forget();
    assert_false(has(id, ENCODING_GZIP));
    assert_true(str_eq(packed_bytes(packed), STR("gzip"))); /* it is being sent */
    packed_release(packed);

    add(7, ENCODING_BR, STR("br"));
    assert_true(has(id, ENCODING_BR));
    assert_false(has(id, ENCODING_GZIP));
    assert_false(has(id_of(7 + 256), ENCODING_BR));
    id.changed_ns++;
    assert_false(has(id, ENCODING_BR));
    packed_release(packed_new(&id, ENCODING_BR, STR("not kept"), false));
    assert_false(has(id, ENCODING_BR));
    packed_forget();
}

static void test_bound(void **state)
{
    (void)state;
    enum { SIZE = 64 * 1024, COUNT = 2 * LIMIT_PACKED_BYTES / SIZE };
    static char bytes[SIZE];
    unsigned kept = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        memset(bytes, (int)(i & 0x7f), sizeof(bytes));
        add(i, ENCODING_BR, (struct str){bytes, sizeof(bytes)});
        assert_true(has(id_of(0), ENCODING_BR)); /* used again and again */
    }
    for (uint64_t i = 0; i < COUNT; i++)
        kept += has(id_of(i), ENCODING_BR);
    assert_in_range(kept, COUNT / 2 - 2, COUNT / 2);
    assert_false(has(id_of(1), ENCODING_BR));
    assert_true(has(id_of(COUNT - 1), ENCODING_BR));
    packed_forget();
    assert_false(has(id_of(0), ENCODING_BR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
