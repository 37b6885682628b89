/* Damaged files: set aside, never served, never silently replaced. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store_fixture.h"

enum { KEYS = 600, PAGE = 4096 };

static void fill(struct fixture *f)
{
    char key[16], text[128];
    static struct store_request requests[KEYS];
    static char keys[KEYS][16], texts[KEYS][128];
    fixture_open(f);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        snprintf(text, sizeof(text), "value %u %064u", i, i);
        memcpy(keys[i], key, sizeof(key));
        memcpy(texts[i], text, sizeof(text));
        requests[i] = make_request(STORE_SET, keys[i]);
        requests[i].value = text_value(texts[i]);
        requests[i].ttl_ms = i % 3 == 0 ? 1000000000 : 0;
        store_submit(f->store, &requests[i]);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    struct store_request r = make_request(STORE_DELETE, "k5"); /* makes pages free */
    assert_int_equal(run_request(f, &r), 0);
    fixture_close(f);
}

static int set_up(void **state)
{
    struct fixture *f = malloc(sizeof(*f));
    fixture_make(f);
    fill(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_remove(*state);
    free(*state);
    return 0;
}

static off_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* All of the store's file; the caller frees it. */
static char *read_all(const struct fixture *f, off_t *size)
{
    *size = size_of(f->path);
    size_t wanted = *size > 0 ? (size_t)*size : 0;
    assert_true(wanted > 0);
    char *bytes = malloc(wanted);
    int fd = open(f->path, O_RDONLY);
    assert_int_equal(read(fd, bytes, wanted), wanted);
    close(fd);
    return bytes;
}

static void overwrite(const struct fixture *f, off_t at, const void *bytes, size_t len)
{
    int fd = open(f->path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static unsigned char byte_at(const struct fixture *f, off_t at)
{
    unsigned char c = 0;
    int fd = open(f->path, O_RDONLY);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    close(fd);
    return c;
}

/* Does the file still say what was written? */
static void assert_whole(struct fixture *f)
{
    char key[16], text[128];
    fixture_open(f);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        snprintf(text, sizeof(text), "value %u %064u", i, i);
        const char *found = get(f, key);
        if (i == 5)
            assert_null(found);
        else
            assert_string_equal(found, text);
    }
    fixture_close(f);
}

static void assert_set_aside(struct fixture *f)
{
    struct err err;
    off_t before = size_of(f->path);
    assert_int_equal(fixture_check(f, &err), 0);
    assert_int_equal(fixture_count(f, "kv.mdb.corrupt-"), 1);
    assert_int_equal(size_of(f->path), -1);
    char path[512];
    DIR *dir = opendir(f->folder);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        snprintf(path, sizeof(path), "%s/%s", f->folder, e->d_name);
        if (strstr(e->d_name, "corrupt") != NULL)
            assert_int_equal(size_of(path), before); /* all of it is kept */
    }
    closedir(dir);
    fixture_open(f); /* and a new one takes its place */
    assert_null(get(f, "k1"));
    assert_int_equal(put(f, "k1", "x"), 0);
    fixture_close(f);
}

static void test_good_file(void **state)
{
    struct fixture *f = *state;
    struct err err;
    assert_int_equal(fixture_check(f, &err), 0);
    assert_int_equal(fixture_count(f, "corrupt"), 0);
    assert_whole(f);
}

static void test_no_file(void **state)
{
    struct fixture *f = *state;
    struct err err;
    unlink(f->path);
    assert_int_equal(fixture_check(f, &err), 0);
    close(open(f->path, O_CREAT | O_WRONLY, 0600)); /* empty: the disk was full when it was made */
    assert_int_equal(fixture_check(f, &err), 0);
    assert_int_equal(fixture_count(f, "corrupt"), 0);
    fixture_open(f);
    assert_int_equal(put(f, "a", "b"), 0);
    fixture_close(f);
}

static void test_no_database(void **state)
{
    struct fixture *f = *state;
    static const char text[2 * PAGE] = "something else altogether";
    overwrite(f, 0, text, sizeof(text));
    assert_set_aside(f);
}

static void test_truncated(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(truncate(f->path, size_of(f->path) / PAGE / 2 * PAGE), 0);
    assert_set_aside(f);
}

static void test_value_changed(void **state)
{
    struct fixture *f = *state;
    static const char wanted[] = "value 77 ";
    off_t size;
    char *bytes = read_all(f, &size);
    for (off_t at = 0; at + 9 < size; at++) {
        if (memcmp(bytes + at, wanted, 9) == 0)
            overwrite(f, at + 20, "7", 1); /* in each copy that LMDB has left */
    }
    free(bytes);
    assert_set_aside(f);
}

/* While it runs, what is damaged is an error and not a value. */
static void test_value_changed_while_open(void **state)
{
    struct fixture *f = *state;
    static const char wanted[] = "value 77 ";
    fixture_open(f);
    off_t size;
    char *bytes = read_all(f, &size);
    for (off_t at = 0; at + 9 < size; at++) {
        if (memcmp(bytes + at, wanted, 9) == 0)
            overwrite(f, at + 20, "7", 1);
    }
    free(bytes);
    struct store_request r = make_request(STORE_GET, "k77");
    assert_int_equal(run_request(f, &r), STORE_DAMAGED);
    assert_int_equal(r.found, STORE_ABSENT);
    drop_request(&r);
    assert_non_null(get(f, "k78"));
    fixture_close(f);
}

/* Wherever a byte changes: either nothing of the content does, or the file is set aside. */
static void test_any_byte(void **state)
{
    struct fixture *f = *state;
    unsigned set_aside = 0, rounds = 120;
    srand(3);
    for (unsigned i = 0; i < rounds; i++) {
        struct err err;
        off_t at = rand() % size_of(f->path);
        if (i % 4 == 0) /* the heads of pages are few bytes */
            at = at / PAGE * PAGE + rand() % 32;
        unsigned char old = byte_at(f, at), new = (unsigned char)(old ^ (1 << rand() % 8));
        overwrite(f, at, &new, 1);
        assert_int_equal(fixture_check(f, &err), 0);
        if (fixture_count(f, "corrupt") > 0) {
            set_aside++;
            fixture_remove(f);
            fixture_make(f);
            fill(f);
        } else {
            assert_whole(f);
            overwrite(f, at, &old, 1);
        }
    }
    assert_true(set_aside > rounds / 10 && set_aside < rounds);
}

static void test_cannot_read(void **state)
{
    struct fixture *f = *state;
    struct err err;
    unlink(f->path);
    assert_int_equal(mkdir(f->path, 0700), 0); /* what is no file is no damaged file either */
    assert_true(fixture_check(f, &err) < 0);
    assert_int_equal(fixture_count(f, "corrupt"), 0);
    assert_int_equal(rmdir(f->path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_value_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_value_changed_while_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_any_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_cannot_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
