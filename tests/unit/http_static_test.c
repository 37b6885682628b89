/* Static files, against a folder made for the test: what is served, how, and what never is. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/embedded.h"
#include "http/static.h"
#include "base/limits.h"

/* root/site is published; root/secret.txt is not. */
static char root[] = "/tmp/luafn_static_XXXXXX";
static char folder[64];

static const struct {
    const char *name; /* ends with '/': a folder */
    const char *text;
} files[] = {
    {"secret.txt", "secret"},
    {"site/", NULL},
    {"site/index.html", "home"},
    {"site/404.html", "lost"},
    {"site/about.html", "about"},
    {"site/old.htm", "old"},
    {"site/app.js", "0123456789"},
    {"site/empty.txt", ""},
    {"site/plain", "plain"},
    {"site/a b+é.txt", "odd name"},
    {"site/.env", "hidden"},
    {"site/.git/", NULL},
    {"site/.git/config", "hidden"},
    {"site/.well-known/", NULL},
    {"site/.well-known/security.txt", "contact"},
    {"site/.well-known/.x", "hidden"},
    {"site/docs/", NULL},
    {"site/docs/index.html", "docs"},
    {"site/docs/.well-known/", NULL},
    {"site/docs/.well-known/x.txt", "hidden"},
    {"site/bare/", NULL},
    {"site/style.css.html", "not css"},
};

static const struct {
    const char *name, *target;
} links[] = {
    {"site/inside.txt", "plain"},
    {"site/outside.txt", "../secret.txt"},
    {"site/absolute.txt", "/etc/passwd"},
    {"site/up", ".."},
    {"site/loop", "loop"},
};

static void name_in_root(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", root, name);
}

static int make_site(void **state)
{
    (void)state;
    char path[256];
    if (mkdtemp(root) == NULL)
        return -1;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        name_in_root(path, sizeof(path), files[i].name);
        if (files[i].text == NULL) {
            if (mkdir(path, 0700) != 0)
                return -1;
            continue;
        }
        FILE *file = fopen(path, "w");
        if (file == NULL || fputs(files[i].text, file) < 0 || fclose(file) != 0)
            return -1;
    }
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        name_in_root(path, sizeof(path), links[i].name);
        if (symlink(links[i].target, path) != 0)
            return -1;
    }
    name_in_root(path, sizeof(path), "site/fifo");
    snprintf(folder, sizeof(folder), "%s/site", root);
    return mkfifo(path, 0600);
}

static int remove_site(void **state)
{
    (void)state;
    char path[256];
    name_in_root(path, sizeof(path), "site/fifo");
    unlink(path);
    name_in_root(path, sizeof(path), "site/big.bin");
    unlink(path);
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        name_in_root(path, sizeof(path), links[i].name);
        unlink(path);
    }
    for (size_t i = sizeof(files) / sizeof(files[0]); i-- > 0;) {
        name_in_root(path, sizeof(path), files[i].name);
        if (remove(path) != 0)
            return -1;
    }
    return rmdir(root);
}

static void begin(struct exchange *ex, enum http_method method)
{
    *ex = (struct exchange){.magic = EXCHANGE_MAGIC};
    arena_init(&ex->arena);
    ex->req.method = method;
}

static void send_header(struct exchange *ex, const char *name, const char *value)
{
    assert_int_equal(headers_add(&ex->req.headers, &ex->arena, str_from(name), str_from(value)), 0);
}

static struct str answer_header(const struct exchange *ex, const char *name)
{
    const struct str *value = headers_get(&ex->res.headers, str_from(name));
    return value != NULL ? *value : (struct str){NULL, 0};
}

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_from(want)))
        fail_msg("got '%.*s', want '%s'", STR_ARG(got), want);
}

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body, *type; /* body NULL: not served */
    } cases[] = {
        {"/", "home", "text/html; charset=utf-8"},
        {"/index.html", "home", "text/html; charset=utf-8"},
        {"/about", "about", "text/html; charset=utf-8"},
        {"/about/", "about", "text/html; charset=utf-8"},
        {"/about.html", "about", "text/html; charset=utf-8"},
        {"/old", "old", "text/html; charset=utf-8"},
        {"/docs", "docs", "text/html; charset=utf-8"},
        {"/docs/", "docs", "text/html; charset=utf-8"},
        {"/docs/index", "docs", "text/html; charset=utf-8"},
        {"/app.js", "0123456789", "text/javascript; charset=utf-8"},
        {"/empty.txt", "", "text/plain; charset=utf-8"},
        {"/plain", "plain", "application/octet-stream"},
        {"/a%20b+%C3%A9.txt", "odd name", "text/plain; charset=utf-8"},
        {"/.well-known/security.txt", "contact", "text/plain; charset=utf-8"},
        {"/style.css", NULL, NULL},
        {"/plain/", NULL, NULL},
        {"/bare", NULL, NULL},
        {"/bare/", NULL, NULL},
        {"/nothing", NULL, NULL},
        {"/INDEX.html", NULL, NULL},
        {"//index.html", NULL, NULL},
        {"//something", NULL, NULL},
        {"/docs//index.html", NULL, NULL},
        {"/.env", NULL, NULL},
        {"/%2eenv", NULL, NULL},
        {"/.git/config", NULL, NULL},
        {"/.well-known/.x", NULL, NULL},
        {"/docs/.well-known/x.txt", NULL, NULL},
        {"/../secret.txt", NULL, NULL},
        {"/..%2fsecret.txt", NULL, NULL},
        {"/%2e%2e/secret.txt", NULL, NULL},
        {"/docs%2findex.html", NULL, NULL},
        {"/..\\secret.txt", NULL, NULL},
        {"/app.js%00.html", NULL, NULL},
        {"/app.js%0a", NULL, NULL},
        {"/outside.txt", NULL, NULL},
        {"/absolute.txt", NULL, NULL},
        {"/up/secret.txt", NULL, NULL},
        {"/loop", NULL, NULL},
        {"/fifo", NULL, NULL},
        {"app.js", NULL, NULL},
        {"", NULL, NULL},
    };
    struct static_site site = {folder, NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange ex;
        begin(&ex, METHOD_GET);
        bool served = static_serve(&site, &ex, str_from(cases[i].path));
        if (served != (cases[i].body != NULL))
            fail_msg("%s: served %d, '%.*s'", cases[i].path, served, STR_ARG(ex.res.body));
        if (served) {
            assert_int_equal(ex.res.status, 200);
            assert_str(ex.res.body, cases[i].body);
            assert_str(answer_header(&ex, "Content-Type"), cases[i].type);
            assert_str(answer_header(&ex, "Cache-Control"), "public, max-age=0, must-revalidate");
            assert_str(answer_header(&ex, "X-Content-Type-Options"), "nosniff");
        }
        arena_free(&ex.arena);
    }
}

/* A link that stays inside is followed where the kernel can tell (openat2; not under valgrind). */
static void test_inner_link(void **state)
{
    (void)state;
    long rc = syscall(SYS_openat2, -1, "", NULL, (size_t)0);
    assert_int_equal(rc, -1);
    bool can_tell = errno != ENOSYS && errno != EPERM;
    struct static_site site = {folder, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    assert_int_equal(static_serve(&site, &ex, STR("/inside.txt")), can_tell);
    if (can_tell)
        assert_str(ex.res.body, "plain");
    arena_free(&ex.arena);
}

static void test_methods(void **state)
{
    (void)state;
    static const struct {
        enum http_method method;
        const char *path;
        int status; /* 0: not served */
    } cases[] = {
        {METHOD_GET, "/about", 200},  {METHOD_HEAD, "/about", 200}, {METHOD_POST, "/about", 405},
        {METHOD_PUT, "/app.js", 405}, {METHOD_DELETE, "/", 405},    {METHOD_POST, "/nothing", 0},
    };
    struct static_site site = {folder, NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange ex;
        begin(&ex, cases[i].method);
        assert_int_equal(static_serve(&site, &ex, str_from(cases[i].path)), cases[i].status != 0);
        assert_int_equal(ex.res.status, cases[i].status);
        if (cases[i].status == 405) {
            assert_str(ex.res.body, "Method Not Allowed");
            assert_str(answer_header(&ex, "Allow"), "GET, HEAD");
        }
        arena_free(&ex.arena);
    }
}

/* Serves app.js with a header and expects this status and body. */
static void expect_with(const char *name, const char *value, int status, const char *body,
                        const char *content_range)
{
    struct static_site site = {folder, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    send_header(&ex, name, value);
    assert_true(static_serve(&site, &ex, STR("/app.js")));
    if (ex.res.status != status)
        fail_msg("%s: %s gave %d, not %d", name, value, ex.res.status, status);
    if (body != NULL)
        assert_str(ex.res.body, body);
    assert_str(answer_header(&ex, "Content-Range"), content_range);
    arena_free(&ex.arena);
}

static void test_etag(void **state)
{
    (void)state;
    struct static_site site = {folder, NULL};
    struct exchange ex;
    char etag[64], list[160];
    begin(&ex, METHOD_GET);
    assert_true(static_serve(&site, &ex, STR("/app.js")));
    snprintf(etag, sizeof(etag), "%.*s", STR_ARG(answer_header(&ex, "ETag")));
    arena_free(&ex.arena);
    assert_memory_equal(etag, "W/\"", 3);

    expect_with("if-none-match", etag, 304, "", "");
    expect_with("if-none-match", etag + 2, 304, "", "");
    snprintf(list, sizeof(list), "\"x\", %s", etag);
    expect_with("if-none-match", list, 304, "", "");
    expect_with("if-none-match", "*", 304, "", "");
    expect_with("if-none-match", "\"x\"", 200, "0123456789", "");
    expect_with("if-none-match", "", 200, "0123456789", "");
}

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        int status;
        const char *body, *content_range;
    } cases[] = {
        {"bytes=0-3", 206, "0123", "bytes 0-3/10"},
        {"bytes=4-", 206, "456789", "bytes 4-9/10"},
        {"bytes=-3", 206, "789", "bytes 7-9/10"},
        {"bytes=-99", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=9-99", 206, "9", "bytes 9-9/10"},
        {"bytes=0-18446744073709551615", 206, "0123456789", "bytes 0-9/10"},
        {"bytes=10-", 416, NULL, "bytes */10"},
        {"bytes=-0", 416, NULL, "bytes */10"},
        {"bytes=5-2", 200, "0123456789", ""},
        {"bytes=-", 200, "0123456789", ""},
        {"bytes=a-b", 200, "0123456789", ""},
        {"bytes=0-1,4-5", 200, "0123456789", ""},
        {"bytes=0-18446744073709551616", 200, "0123456789", ""},
        {"lines=0-3", 200, "0123456789", ""},
        {"bytes", 200, "0123456789", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect_with("range", cases[i].range, cases[i].status, cases[i].body,
                    cases[i].content_range);

    struct static_site site = {folder, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    send_header(&ex, "range", "bytes=0-3");
    send_header(&ex, "if-range", "\"x\"");
    assert_true(static_serve(&site, &ex, STR("/app.js")));
    assert_int_equal(ex.res.status, 200);
    arena_free(&ex.arena);
}

static void test_too_big(void **state)
{
    (void)state;
    char path[256];
    name_in_root(path, sizeof(path), "site/big.bin");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)LIMIT_STATIC_BYTES + 1), 0);
    close(fd);
    struct static_site site = {folder, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    assert_true(static_serve(&site, &ex, STR("/big.bin")));
    assert_int_equal(ex.res.status, 500);
    arena_free(&ex.arena);
    begin(&ex, METHOD_GET);
    send_header(&ex, "range", "bytes=0-1");
    assert_true(static_serve(&site, &ex, STR("/big.bin")));
    assert_int_equal(ex.res.status, 206);
    arena_free(&ex.arena);
}

static void test_not_found_page(void **state)
{
    (void)state;
    struct static_site site = {folder, NULL}, none = {NULL, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    assert_true(static_serve_not_found(&site, &ex));
    assert_int_equal(ex.res.status, 404);
    assert_str(ex.res.body, "lost");
    assert_null(headers_get(&ex.res.headers, STR("ETag")));
    arena_free(&ex.arena);
    begin(&ex, METHOD_GET);
    assert_false(static_serve_not_found(&none, &ex));
    assert_false(static_serve(&none, &ex, STR("/")));
    arena_free(&ex.arena);
}

static void test_embedded(void **state)
{
    (void)state;
    const struct embedded_file *page = embedded_find("web/index.html");
    assert_non_null(page);
    struct static_site site = {NULL, "web/"};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    assert_true(static_serve(&site, &ex, STR("/")));
    assert_int_equal(ex.res.status, 200);
    assert_ptr_equal(ex.res.body.ptr, page->data);
    assert_int_equal(ex.res.body.len, page->len);
    assert_memory_equal(answer_header(&ex, "ETag").ptr, "W/\"", 3);
    assert_false(static_serve(&site, &ex, STR("/../scripts/dev/issuer.lua")));
    assert_false(static_serve(&site, &ex, STR("/nothing.html")));
    arena_free(&ex.arena);

    /* The folder goes first. */
    site.folder = folder;
    begin(&ex, METHOD_GET);
    assert_true(static_serve(&site, &ex, STR("/")));
    assert_str(ex.res.body, "home");
    arena_free(&ex.arena);
}

/* Out of descriptors nobody knows whether there is such a file. */
static void test_no_descriptors(void **state)
{
    (void)state;
    const struct static_site site = {.folder = folder};
    struct rlimit before, none;
    struct exchange *ex = exchange_new(NULL, NULL);
    assert_non_null(ex);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool found = static_serve(&site, ex, STR("/app.js"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(found);
    assert_int_equal(ex->res.status, 503);
    assert_string_equal(ex->error_code, "out_of_files");
    exchange_release(ex);
    ex = exchange_new(NULL, NULL);
    assert_non_null(ex);
    assert_true(static_serve(&site, ex, STR("/app.js")));
    assert_int_equal(ex->res.status, 200);
    exchange_release(ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_methods),
        cmocka_unit_test(test_inner_link),     cmocka_unit_test(test_etag),
        cmocka_unit_test(test_range),          cmocka_unit_test(test_too_big),
        cmocka_unit_test(test_not_found_page), cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, make_site, remove_site);
}
