/* What a worker serves, written down and read again; and texts that are none. */
#include "unit.h"

#include <errno.h>

#include "app/kept.h"

struct world {
    struct app app;
    struct deployment deployment;
    struct config config;
    struct function_spec specs[3];
    struct instance instance;
    struct function functions[3], *list[3];
};

static struct origin *made_from(const char *path, const char *content)
{
    struct origin *origin = origin_new(NULL);
    struct str text = str_from(content), names = {"a\0b", 4};
    assert_int_equal(origin_add(origin, ORIGIN_FILE, path, &text, 0), 0);
    assert_int_equal(origin_add(origin, ORIGIN_FILE, "/lib.lua", &STR("shared"), 0), 0);
    assert_int_equal(origin_add(origin, ORIGIN_FILE, "/none", NULL, -ENOENT), 0);
    assert_int_equal(origin_add(origin, ORIGIN_FOLDER, "/folder", &names, 0), 0);
    assert_int_equal(origin_add(origin, ORIGIN_LOOK, "/empty", &STR(""), 0), 0);
    return origin;
}

/* Three functions: one that serves, one whose newer version does not load, one that never did. */
static void make(struct world *w)
{
    static const char *const names[] = {"good", "old", "never"};
    *w = (struct world){.config = {.origin = made_from("/functions.lua", "return {}")}};
    w->instance.origin = made_from("/old.lua", "old");
    for (unsigned i = 0; i < 3; i++) {
        w->specs[i].name = str_from(names[i]);
        w->functions[i] =
            (struct function){.base = &w->specs[i], .content = 100 + i, .generation = 5 + i};
        w->list[i] = &w->functions[i];
    }
    w->functions[0].current = w->functions[1].current = &w->instance;
    w->functions[1].failed = w->functions[2].failed = true;
    err_set(&w->functions[1].error, 0, "old.lua:1: a fault");
    err_set(&w->functions[2].error, 0, "never.lua: none");
    w->deployment =
        (struct deployment){.config = &w->config, .functions = w->list, .function_count = 3};
    w->app.current = &w->deployment;
    err_set(&w->app.config_error, 0, "functions.lua:3: no");
}

static void unmake(struct world *w)
{
    origin_unref(w->config.origin);
    origin_unref(w->instance.origin);
}

static void assert_same(const struct origin *a, const struct origin *b)
{
    assert_int_equal(a->count, b->count);
    for (unsigned i = 0; i < a->count; i++) {
        assert_int_equal(a->list[i].kind, b->list[i].kind);
        assert_string_equal(a->list[i].path, b->list[i].path);
        assert_int_equal(a->list[i].error, b->list[i].error);
        assert_ptr_equal(a->list[i].text, b->list[i].text); /* equal texts are one */
    }
}

static void test_written_and_read(void **state)
{
    (void)state;
    struct world w;
    struct buf text = BUF_INIT;
    make(&w);
    assert_true(kept_write(&w.app, &text));
    struct kept *kept = kept_read(buf_str(&text));
    assert_non_null(kept);
    assert_same(kept->config, w.config.origin);
    assert_string_equal(kept->config_error.ptr, "functions.lua:3: no");
    assert_int_equal(kept->certificate_count, 0);
    assert_int_equal(kept->function_count, 3);
    const struct kept_function *old = kept_find(kept, STR("old"));
    assert_same(old->origin, w.instance.origin);
    assert_string_equal(old->error.ptr, "old.lua:1: a fault");
    assert_int_equal(old->content, 101);
    assert_int_equal(old->generation, 6);
    assert_int_equal(kept_find(kept, STR("good"))->error.len, 0);
    assert_null(kept_find(kept, STR("never"))->origin);
    assert_null(kept_find(kept, STR("unknown")));
    assert_null(kept_find(NULL, STR("good")));
    kept_free(kept);
    buf_free(&text);
    unmake(&w);
}

/* Cut anywhere, or with a byte changed anywhere: refused, or something harmless. */
static void test_no_such_text(void **state)
{
    (void)state;
    struct world w;
    struct buf text = BUF_INIT;
    make(&w);
    assert_true(kept_write(&w.app, &text));
    for (size_t len = 0; len < text.len; len++)
        assert_null(kept_read((struct str){text.data, len}));
    for (size_t i = 0; i < text.len; i++) {
        char was = text.data[i];
        text.data[i] = (char)(was ^ 0x81);
        kept_free(kept_read(buf_str(&text)));
        text.data[i] = was;
    }
    buf_add_char(&text, 'x');
    assert_null(kept_read(buf_str(&text)));
    buf_free(&text);
    unmake(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_no_such_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
