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

/* Makes it a file that nobody has written to for a while. */
static void settle(const char *name)
{
    char path[256];
    name_in_root(path, sizeof(path), name);
    const struct timespec times[2] = {{.tv_sec = 784111777}, {.tv_sec = 784111777}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* The tag of app.js, without W/. */
static void get_tag(char *tag, size_t size, bool weak)
{
    struct static_site site = {folder, NULL};
    struct exchange ex;
    begin(&ex, METHOD_GET);
    assert_true(static_serve(&site, &ex, STR("/app.js")));
    struct str header = answer_header(&ex, "ETag");
    assert_int_equal(str_starts_with(header, STR("W/")), weak);
    header = weak ? str_skip(header, 2) : header;
    assert_int_equal(header.ptr[0], '"');
    snprintf(tag, size, "%.*s", STR_ARG(header));
    arena_free(&ex.arena);
}

static void test_etag(void **state)
{
    (void)state;
    char tag[80], weak[96], list[160], other[80];
    char path[256];
    name_in_root(path, sizeof(path), "site/app.js");
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    get_tag(other, sizeof(other), true);
    settle("site/app.js");
    get_tag(tag, sizeof(tag), false);
    assert_string_not_equal(tag, other);

    snprintf(weak, sizeof(weak), "W/%s", tag);
    snprintf(list, sizeof(list), "\"x\", %s", weak);
    expect_with("if-none-match", tag, 304, "", "");
    expect_with("if-none-match", weak, 304, "", "");
    expect_with("if-none-match", list, 304, "", "");
    expect_with("if-none-match", "*", 304, "", "");
    expect_with("if-none-match", "\"x\"", 200, "0123456789", "");
    expect_with("if-none-match", "", 200, "0123456789", "");
    expect_with("if-match", tag, 200, "0123456789", "");
    expect_with("if-match", weak, 412, NULL, "");
    expect_with("if-match", "*", 200, "0123456789", "");
}

/* The date of app.js is made to be that of the examples of RFC 9110 5.6.7. */
static void test_dates(void **state)
{
    (void)state;
    static const struct {
        const char *date;
        bool unchanged, unmodified, exact;
    } cases[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, true, true},
        {"Sunday, 06-Nov-94 08:49:37 GMT", true, true, true},
        {"Sun Nov  6 08:49:37 1994", true, true, true},
        {"Sun, 06 Nov 1994 08:49:38 GMT", true, true, false},
        {"Sun, 06 Nov 1994 08:49:36 GMT", false, false, false},
        {"Thu, 01 Jan 1970 00:00:00 GMT", false, false, false},
        {"Sun, 06 Nov 1994 08:49:37", false, true, false}, /* no dates: as if not sent */
        {"06 Nov 1994 08:49:37 GMT", false, true, false},
        {"Sun, 06 Nov 1994 8:49:37 GMT", false, true, false},
        {"Sun, 06 Nov 1994 24:49:37 GMT", false, true, false},
        {"Sun, 06 Foo 1994 08:49:37 GMT", false, true, false},
        {"784111777", false, true, false},
        {"", false, true, false},
    };
    settle("site/app.js");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *date = cases[i].date;
        expect_with("if-modified-since", date, cases[i].unchanged ? 304 : 200, NULL, "");
        expect_with("if-unmodified-since", date, cases[i].unmodified ? 200 : 412, NULL, "");
    }
    struct static_site site = {folder, NULL};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct exchange ex;
        begin(&ex, METHOD_GET);
        send_header(&ex, "range", "bytes=0-3");
        send_header(&ex, "if-range", cases[i].date);
        assert_true(static_serve(&site, &ex, STR("/app.js")));
        if (ex.res.status != (cases[i].exact ? 206 : 200))
            fail_msg("if-range: %s gave %d", cases[i].date, ex.res.status);
        assert_str(answer_header(&ex, "Last-Modified"), "Sun, 06 Nov 1994 08:49:37 GMT");
        arena_free(&ex.arena);
    }
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

    char tag[80], weak[96];
    settle("site/app.js");
    get_tag(tag, sizeof(tag), false);
    snprintf(weak, sizeof(weak), "W/%s", tag);
    const char *const validators[] = {tag, weak, "\"x\"", "*", ""};
    struct static_site site = {folder, NULL};
    for (size_t i = 0; i < sizeof(validators) / sizeof(validators[0]); i++) {
        struct exchange ex;
        begin(&ex, METHOD_GET);
        send_header(&ex, "range", "bytes=0-3");
        send_header(&ex, "if-range", validators[i]);
        assert_true(static_serve(&site, &ex, STR("/app.js")));
        assert_int_equal(ex.res.status, i == 0 ? 206 : 200);
        arena_free(&ex.arena);
    }
}

/* More than a piece is not read here, and shares one descriptor. */
static void test_large(void **state)
{
    (void)state;
    enum { SIZE = 3 * LIMIT_FILE_PIECE };
    char path[256], piece[16];
    name_in_root(path, sizeof(path), "site/big.bin");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    assert_int_equal(pwrite(fd, "end", 3, SIZE - 3), 3);
    close(fd);
    struct static_site site = {folder, NULL};
    struct exchange first, second;
    begin(&first, METHOD_GET);
    begin(&second, METHOD_GET);
    send_header(&second, "range", "bytes=100000-");
    assert_true(static_serve(&site, &first, STR("/big.bin")));
    assert_true(static_serve(&site, &second, STR("/big.bin")));
    assert_int_equal(first.res.status, 200);
    assert_int_equal(second.res.status, 206);
    assert_int_equal(response_length(&first.res), SIZE);
    assert_int_equal(response_length(&second.res), SIZE - 100000);
    assert_non_null(first.res.file->file);
    assert_ptr_equal(first.res.file->file, second.res.file->file);
    arena_free(&first.arena);
    struct file_body *body = second.res.file;
    body->offset += body->left - 3;
    body->left = 3;
    assert_int_equal(file_body_read(body, piece, 3), 0);
    assert_memory_equal(piece, "end", 3);
    body->left = 1;
    assert_int_equal(file_body_read(body, piece, 1), -ENODATA);
    arena_free(&second.arena);

    begin(&first, METHOD_HEAD);
    assert_true(static_serve(&site, &first, STR("/big.bin")));
    assert_int_equal(response_length(&first.res), SIZE);
    assert_null(first.res.file->file);
    arena_free(&first.arena);

    begin(&first, METHOD_GET);
    send_header(&first, "range", "bytes=0-1");
    assert_true(static_serve(&site, &first, STR("/big.bin")));
    assert_null(first.res.file->file);
    assert_int_equal(first.res.body.len, 2);
    arena_free(&first.arena);
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
        cmocka_unit_test(test_range),          cmocka_unit_test(test_large),
        cmocka_unit_test(test_dates),          cmocka_unit_test(test_not_found_page),
        cmocka_unit_test(test_no_descriptors), cmocka_unit_test(test_embedded),
    };
    return cmocka_run_group_tests(tests, make_site, remove_site);
}
