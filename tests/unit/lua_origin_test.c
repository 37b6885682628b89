/* What something was made from: asked of the disk once, and given again when the disk says
 * otherwise. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "lua/origin.h"

static char folder[] = "/tmp/luafn-origin-XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder + sizeof(folder) - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    put("a.lua", "one");
    put("same.lua", "one");
    mkdir(in_folder("sub"), 0755);
    return symlink("sub", in_folder("link"));
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command); /* NOLINT(cert-env33-c): a folder that this test has made */
}

static void assert_text(struct origin *origin, const char *name, const char *text)
{
    struct buf out = BUF_INIT;
    struct err err;
    assert_int_equal(origin_read(origin, in_folder(name), &out, &err), 0);
    assert_int_equal(out.len, strlen(text));
    assert_memory_equal(out.data, text, out.len);
    buf_free(&out);
}

static void assert_missing(struct origin *origin, const char *name)
{
    struct buf out = BUF_INIT;
    struct err err;
    assert_int_equal(origin_read(origin, in_folder(name), &out, &err), -ENOENT);
    assert_string_equal(err.text, "cannot be opened: No such file or directory");
    buf_free(&out);
}

/* Names and scripts, with blanks. */
static void assert_functions(struct origin *origin, const char *path, const char *wanted)
{
    struct buf all = BUF_INIT;
    struct str found, name, script;
    assert_int_equal(origin_functions(origin, path, &found), 0);
    while (str_split_next(&found, '\0', &name) && str_split_next(&found, '\0', &script))
        buf_printf(&all, "%.*s%s ", STR_ARG(name), script.ptr + strlen(path));
    buf_add_char(&all, '\0');
    assert_string_equal(all.data, wanted);
    buf_free(&all);
}

/* Everything that this test asks for. */
static void ask_all(struct origin *origin)
{
    char real[4096];
    struct str found;
    assert_text(origin, "a.lua", "one");
    assert_text(origin, "same.lua", "one");
    assert_missing(origin, "none.lua");
    assert_true(origin_is_file(origin, in_folder("a.lua")));
    assert_false(origin_is_file(origin, in_folder("sub")));
    assert_int_equal(origin_resolve(origin, in_folder("link"), real), 0);
    assert_string_equal(real, in_folder("sub"));
    assert_int_equal(origin_resolve(origin, in_folder("none"), real), -ENOENT);
    assert_functions(origin, folder, "a/a.lua same/same.lua ");
    assert_int_equal(origin_functions(origin, in_folder("a.lua"), &found), -ENOTDIR);
}

static void break_all(void)
{
    put("a.lua", "two");
    unlink(in_folder("same.lua"));
    put("none.lua", "there now");
    unlink(in_folder("link"));
}

static void test_asked_once(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    ask_all(origin);
    uint64_t hash = origin_hash(origin);
    unsigned count = origin->count;
    assert_ptr_equal(origin->list[0].text, origin->list[1].text); /* in memory once */
    assert_false(origin_changed(origin));
    break_all();
    assert_true(origin_changed(origin));
    ask_all(origin);
    assert_int_equal(origin->count, count);
    assert_true(origin_hash(origin) == hash);
    origin_unref(origin);
}

static void test_made_again(void **state)
{
    (void)state;
    struct origin *before = origin_new(NULL);
    ask_all(before);
    break_all();
    struct origin *after = origin_new(before);
    uint64_t hash = origin_hash(before);
    origin_unref(before);
    ask_all(after);
    assert_true(origin_hash(after) == hash);
    assert_true(origin_changed(after));
    put("more.lua", "asked for by this one alone");
    assert_text(after, "more.lua", "asked for by this one alone");
    origin_unref(after);
}

/* What was not asked for this time is known still, and nothing else is. */
static void test_settled(void **state)
{
    (void)state;
    struct origin *before = origin_new(NULL);
    assert_text(before, "a.lua", "one");
    assert_text(before, "same.lua", "one");
    struct origin *after = origin_new(before);
    assert_text(after, "same.lua", "one");
    assert_int_equal(origin_settle(after), 0);
    assert_null(after->earlier);
    assert_int_equal(before->refs, 1);
    origin_unref(before);
    break_all();
    assert_text(after, "a.lua", "one");
    assert_text(after, "none.lua", "there now");
    origin_unref(after);
}

static void test_a_file_that_appears(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    assert_false(origin_is_file(origin, in_folder("none.lua")));
    assert_false(origin_changed(origin));
    put("none.lua", "now");
    assert_true(origin_changed(origin));
    origin_unref(origin);
}

/* Of a file that is looked for and was there whoever reads it sees what becomes of it. */
static void test_a_file_that_is_there(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    assert_true(origin_is_file(origin, in_folder("a.lua")));
    put("a.lua", "another text");
    assert_false(origin_changed(origin));
    unlink(in_folder("a.lua"));
    assert_false(origin_changed(origin));
    origin_unref(origin);
}

static void test_bytes(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    struct stat st;
    assert_text(origin, "a.lua", "one");
    assert_int_equal(stat(in_folder("a.lua"), &st), 0);
    put("a.lua", "two"); /* as long as before, and as old */
    struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, in_folder("a.lua"), times, 0), 0);
    assert_true(origin_changed(origin));
    put("a.lua", "one");
    assert_false(origin_changed(origin));
    put("a.lua", ""); /* not the same as gone */
    assert_true(origin_changed(origin));
    origin_unref(origin);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0700), 0);
}

static void test_functions_of_a_folder(void **state)
{
    static const struct {
        const char *name;
        const char *text; /* NULL: a folder */
        const char *list; /* afterwards; NULL: as before */
    } steps[] = {
        {"f/b.lua", "", "b/b.lua "},
        {"f/a.lua", "", "a/a.lua b/b.lua "},
        {"f/a.lua~", "", NULL}, /* what editors leave for a moment */
        {"f/.a.lua.swp", "", NULL},
        {"f/#a.lua#", "", NULL},
        {"f/4913", "", NULL},
        {"f/a_test.lua", "", NULL},
        {"f/node_modules", NULL, NULL},
        {"f/c", NULL, NULL},
        {"f/c/other.lua", "", NULL},
        {"f/c/index.lua", "", "a/a.lua b/b.lua c/c/index.lua "},
        {"f/c/c.lua", "", "a/a.lua b/b.lua c/c/c.lua "},
        {"f/b", NULL, NULL},
        {"f/b/index.lua", "", "a/a.lua b/b/index.lua c/c/c.lua "},
    };
    (void)state;
    char path[128];
    make_folder("f");
    snprintf(path, sizeof(path), "%s", in_folder("f"));
    struct origin *origin = origin_new(NULL);
    assert_functions(origin, path, "");
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].text != NULL)
            put(steps[i].name, steps[i].text);
        else
            make_folder(steps[i].name);
        if (origin_changed(origin) != (steps[i].list != NULL))
            fail_msg("%s", steps[i].name);
        if (steps[i].list == NULL)
            continue;
        origin_unref(origin);
        origin = origin_new(NULL);
        assert_functions(origin, path, steps[i].list);
        assert_false(origin_changed(origin));
    }
    put("f/a.lua", "another text"); /* whose matter it is not */
    assert_false(origin_changed(origin));
    unlink(in_folder("f/a.lua"));
    assert_true(origin_changed(origin));
    origin_unref(origin);
}

static void swap_link(const char *target)
{
    char next[128];
    snprintf(next, sizeof(next), "%s", in_folder("next"));
    assert_int_equal(symlink(target, next), 0);
    assert_int_equal(rename(next, in_folder("link")), 0);
}

/* A release is another one though no byte of it differs. */
static void test_links_that_are_swapped(void **state)
{
    (void)state;
    char real[4096];
    struct origin *origin = origin_new(NULL);
    make_folder("other");
    put("sub/a.lua", "same");
    put("other/a.lua", "same");
    assert_int_equal(origin_resolve(origin, in_folder("link"), real), 0);
    assert_int_equal(origin_resolve(origin, in_folder("none"), real), -ENOENT);
    assert_text(origin, "link/a.lua", "same");
    assert_false(origin_changed(origin));
    swap_link("other");
    assert_true(origin_changed(origin));
    swap_link("sub");
    assert_false(origin_changed(origin));
    swap_link("nowhere");
    assert_true(origin_changed(origin));
    swap_link("sub");
    make_folder("none");
    assert_true(origin_changed(origin));
    origin_unref(origin);
}

static void test_added(void **state)
{
    (void)state;
    struct origin *known = origin_new(NULL);
    struct str text = STR("from elsewhere");
    assert_int_equal(origin_add(known, ORIGIN_FILE, in_folder("a.lua"), &text, 0), 0);
    assert_int_equal(origin_add(known, ORIGIN_FILE, in_folder("same.lua"), NULL, -ENOENT), 0);
    struct origin *origin = origin_new(known);
    assert_text(origin, "a.lua", "from elsewhere");
    assert_missing(origin, "same.lua");
    origin_unref(origin);
    origin_unref(known);
}

static void test_limit(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    char name[32];
    for (unsigned i = 0; i < LIMIT_ORIGIN_NOTES; i++) {
        snprintf(name, sizeof(name), "%u", i);
        assert_int_equal(origin_add(origin, ORIGIN_LOOK, name, NULL, -ENOENT), 0);
    }
    assert_int_equal(origin_add(origin, ORIGIN_LOOK, "more", NULL, -ENOENT), -ENOMEM);
    struct buf out = BUF_INIT;
    assert_int_equal(origin_read(origin, in_folder("a.lua"), &out, NULL), -ENOMEM);
    buf_free(&out);
    origin_unref(origin);
}

/* Who looks for names without end takes no room from those that are there. */
static void test_names_that_are_not_there(void **state)
{
    (void)state;
    struct origin *origin = origin_new(NULL);
    char name[32];
    for (unsigned i = 0; i < LIMIT_ORIGIN_NOTES + 10; i++) {
        snprintf(name, sizeof(name), "absent-%u", i);
        assert_false(origin_is_file(origin, in_folder(name)));
    }
    assert_int_equal(origin->count, LIMIT_ORIGIN_ABSENT);
    assert_text(origin, "a.lua", "one");
    assert_missing(origin, "late.lua");
    put("late.lua", "late");
    assert_text(origin, "late.lua", "late"); /* the disk is asked each time */
    put("absent-0", "noted");
    assert_false(origin_is_file(origin, in_folder("absent-0")));
    assert_true(origin_changed(origin));
    struct origin *next = origin_new(origin);
    assert_false(origin_is_file(next, in_folder("of its own")));
    assert_int_equal(origin_settle(next), 0);
    assert_int_equal(next->absent, LIMIT_ORIGIN_ABSENT);
    assert_text(next, "a.lua", "one");
    origin_unref(next);
    origin_unref(origin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_that_are_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_asked_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_appears, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_functions_of_a_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_links_that_are_swapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_added, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
