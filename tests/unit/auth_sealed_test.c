/* Sealed texts: what comes back, and what does not. */
#include "auth/sealed.h"

#include <errno.h>

#include "unit.h"

static const struct str OLD = {"an old secret of thirty-two bytes", 33};
static const struct str NEW = {"a new secret of thirty-two bytes!", 33};

static struct str seal(struct buf *buf, const char *text)
{
    assert_int_equal(sealed_write(OLD, "one", str_from(text), buf), 0);
    return buf_str(buf);
}

static void comes_back(void **state)
{
    (void)state;
    const struct str both[] = {NEW, OLD};
    struct buf a = BUF_INIT, b = BUF_INIT, text = BUF_INIT;
    struct str one = seal(&a, "hello"), two = seal(&b, "hello");
    assert_false(str_eq(one, two));
    assert_int_equal(sealed_read(both, 2, "one", one, &text), 0);
    assert_int_equal(sealed_read(&OLD, 1, "one", two, &text), 0);
    assert_true(str_eq(buf_str(&text), STR("hellohello")));
    buf_free(&a);
    buf_free(&b);
    buf_free(&text);
}

static void nothing_else_does(void **state)
{
    (void)state;
    struct buf a = BUF_INIT, text = BUF_INIT;
    struct str sealed = seal(&a, "hello");
    assert_int_equal(sealed_read(&NEW, 1, "one", sealed, &text), -EBADMSG);
    assert_int_equal(sealed_read(&OLD, 1, "two", sealed, &text), -EBADMSG);
    assert_int_equal(sealed_read(&OLD, 0, "one", sealed, &text), -EBADMSG);
    assert_int_equal(sealed_read(&OLD, 1, "one", STR(""), &text), -EBADMSG);
    for (size_t i = 0; i < sealed.len; i++) {
        char *c = &a.data[i], was = *c;
        *c = was == 'A' ? 'B' : 'A';
        assert_int_equal(sealed_read(&OLD, 1, "one", sealed, &text), -EBADMSG);
        *c = was;
        assert_int_equal(sealed_read(&OLD, 1, "one", (struct str){sealed.ptr, i}, &text), -EBADMSG);
    }
    assert_int_equal(text.len, 0);
    buf_free(&a);
    buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(nothing_else_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
