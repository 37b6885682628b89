/* Static files: a path becomes a file below one folder, or a page inside the program.
 *
 * The kernel keeps us inside the folder: openat2 with RESOLVE_BENEATH refuses every step that would
 * leave it, symbolic links included; where that call is missing, no link is followed at all. What
 * is checked here before that is a second wall, and keeps dot files private. Files are read whole,
 * on the loop. */
#include "http/static.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/embedded.h"
#include "base/log.h"
#include "http/content_type.h"
#include "http/target.h"
#include "base/limits.h"

/* An open file or an embedded one. */
struct source {
    int fd;      /* owned; -1 for an embedded page */
    int trouble; /* where nothing was found: the folder could not be asked, for this errno; 0: it
                    was */
    const struct embedded_file *page;
    struct str name; /* decides the content type */
    size_t size;
    char etag[48]; /* NUL-terminated */
};

/* ---- from a path to a file --------------------------------------------------------------------
 */

/* What configures the site lies in its folder, but is no part of it. */
static const char *const private_names[] = {"_redirects", "_headers", "netlify.toml",
                                            "functions.lua"};

/* Decodes a path into a file name below the root, without '/' at either end. False where it cannot
 * be one: empty segments, hidden names, separators in disguise, control characters. */
static bool name_from_path(struct arena *arena, struct str path, struct str *name)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    *name = percent_decode(arena, str_skip(path, 1), false);
    if (name->ptr == NULL || strlen(name->ptr) != name->len)
        return false;
    struct str raw = str_skip(path, 1), decoded = *name, raw_part, part;
    bool first = true;
    while (str_split_next(&decoded, '/', &part)) {
        bool last = decoded.ptr == NULL;
        if (!str_split_next(&raw, '/', &raw_part) || last != (raw.ptr == NULL))
            return false; /* an encoded '/' */
        if (part.len == 0 && !last)
            return false;
        if (part.len > 0 && part.ptr[0] == '.' && !(first && str_eq(part, STR(".well-known"))))
            return false;
        first = false;
    }
    for (size_t i = 0; i < sizeof(private_names) / sizeof(private_names[0]); i++) {
        if (str_eq(*name, str_from(private_names[i])))
            return false;
    }
    for (size_t i = 0; i < name->len; i++) {
        if ((unsigned char)name->ptr[i] < ' ' || name->ptr[i] == '\\' || name->ptr[i] == 0x7f)
            return false;
    }
    return true;
}

/* O_NONBLOCK: opening a FIFO must not wait for its writer. */
enum { OPEN_FILE = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

/* For kernels and containers without openat2: segment by segment, no symbolic link followed.
 * Takes `dir` over. */
static int open_by_walk(int dir, struct str name)
{
    struct str part;
    while (dir >= 0 && str_split_next(&name, '/', &part)) {
        char segment[256]; /* names on Linux have at most 255 bytes */
        int next = -1;
        if (part.len < sizeof(segment) && !str_eq(part, STR(".."))) {
            memcpy(segment, part.ptr, part.len);
            segment[part.len] = '\0';
            int how = name.ptr == NULL ? OPEN_FILE : O_PATH | O_DIRECTORY | O_CLOEXEC;
            next = openat(dir, segment, how | O_NOFOLLOW);
        }
        close(dir);
        dir = next;
    }
    return dir;
}

/* Opens a file below `folder`, or returns -1. `name` is NUL-terminated. */
static int open_beneath(const char *folder, struct str name)
{
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    struct open_how how = {.flags = OPEN_FILE, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, name.ptr, &how, sizeof(how));
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return open_by_walk(root, name);
    close(root);
    return fd;
}

static bool open_in_folder(const char *folder, struct str name, struct source *out)
{
    int fd = open_beneath(folder, name);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
            out->trouble = errno;
        return false;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return false;
    }
    *out = (struct source){.fd = fd, .name = name, .size = (size_t)st.st_size};
    snprintf(out->etag, sizeof(out->etag), "W/\"%llx-%llx%08lx\"", (unsigned long long)st.st_size,
             (unsigned long long)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec);
    return true;
}

static bool open_embedded(struct arena *arena, const char *prefix, struct str name,
                          struct source *out)
{
    struct str full = arena_printf(arena, "%s%.*s", prefix, STR_ARG(name));
    const struct embedded_file *page = full.ptr != NULL ? embedded_find(full.ptr) : NULL;
    if (page == NULL)
        return false;
    *out = (struct source){.fd = -1, .page = page, .name = name, .size = page->len};
    struct str data = {page->data, page->len};
    snprintf(out->etag, sizeof(out->etag), "W/\"%016llx\"", (unsigned long long)str_hash(data));
    return true;
}

/* The folder goes before the pages inside the program. `name` is NUL-terminated. */
static bool open_source(const struct static_site *site, struct arena *arena, struct str name,
                        struct source *out)
{
    if (site->folder != NULL && open_in_folder(site->folder, name, out))
        return true;
    return out->trouble == 0 && site->embedded_prefix != NULL &&
           open_embedded(arena, site->embedded_prefix, name, out);
}

static void close_source(struct source *source)
{
    if (source->fd >= 0)
        close(source->fd);
}

/* Paths with these endings name a file and nothing else. */
static bool is_plain_file_name(struct str name)
{
    static const char *const endings[] = {".html", ".png", ".jpg", ".js",   ".css",
                                          ".svg",  ".gif", ".ico", ".woff", ".woff2"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (str_ends_with(name, str_from(endings[i])))
            return true;
    }
    return false;
}

/* Tries the name itself, then the pretty forms. */
static bool find_source(const struct static_site *site, struct arena *arena, struct str name,
                        struct source *out)
{
    static const char *const pretty[] = {".html", ".htm", "/index.html", "/index.htm"};
    bool folder = name.len == 0 || name.ptr[name.len - 1] == '/';
    if (!folder && open_source(site, arena, name, out))
        return true;
    if (!folder && is_plain_file_name(name))
        return false;
    if (name.len == 0)
        return open_source(site, arena, STR("index.html"), out) ||
               open_source(site, arena, STR("index.htm"), out);
    name.len -= folder;
    for (size_t i = 0; i < sizeof(pretty) / sizeof(pretty[0]); i++) {
        struct str candidate = arena_printf(arena, "%.*s%s", STR_ARG(name), pretty[i]);
        if (candidate.ptr != NULL && open_source(site, arena, candidate, out))
            return true;
    }
    return false;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

/* Reads `len` bytes from `offset` on; ptr NULL when that fails. */
static struct str read_part(struct arena *arena, const struct source *source, size_t offset,
                            size_t len)
{
    const struct str failed = {NULL, 0};
    if (source->page != NULL)
        return (struct str){source->page->data + offset, len};
    char *data = arena_alloc(arena, len + 1);
    if (data == NULL)
        return failed;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(source->fd, data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* 0: the file has become shorter */
            return failed;
        done += (size_t)n;
    }
    return (struct str){data, len};
}

static int set_common(struct exchange *ex, const char *etag)
{
    struct headers *headers = &ex->res.headers;
    struct arena *arena = &ex->arena;
    if (headers_set(headers, arena, STR("X-Content-Type-Options"), STR("nosniff")) != 0 ||
        headers_set(headers, arena, STR("Cache-Control"),
                    STR("public, max-age=0, must-revalidate")) != 0)
        return -ENOMEM;
    if (etag == NULL)
        return 0;
    struct str copy = arena_copy(arena, str_from(etag));
    return copy.ptr != NULL ? headers_set(headers, arena, STR("ETag"), copy) : -ENOMEM;
}

/* If-None-Match, by weak comparison (RFC 9110 8.8.3.2). */
static bool is_unchanged(const struct request *req, const char *etag)
{
    const struct str *header = headers_get(&req->headers, STR("if-none-match"));
    if (header == NULL)
        return false;
    struct str list = *header, tag, own = str_skip(str_from(etag), 2);
    while (str_split_next(&list, ',', &tag)) {
        tag = str_trim(tag);
        if (str_eq(tag, STR("*")))
            return true;
        if (str_starts_with(tag, STR("W/")))
            tag = str_skip(tag, 2);
        if (str_eq(tag, own))
            return true;
    }
    return false;
}

/* If-Match compares strongly, and our tags are weak: only "*" holds (RFC 9110 13.1.1). */
static bool fails_if_match(const struct request *req)
{
    const struct str *header = headers_get(&req->headers, STR("if-match"));
    return header != NULL && !str_eq(*header, STR("*"));
}

enum range { RANGE_NONE, RANGE_PART, RANGE_BAD };

/* RFC 9110 14.2: one range of bytes. What is not understood, several ranges and If-Range (our tags
 * are weak, so it never holds) mean the whole file. */
static enum range parse_range(const struct request *req, size_t size, size_t *first, size_t *len)
{
    const struct str *header = headers_get(&req->headers, STR("range"));
    if (header == NULL || req->method != METHOD_GET ||
        headers_get(&req->headers, STR("if-range")) != NULL ||
        !str_starts_with(*header, STR("bytes=")))
        return RANGE_NONE;
    struct str spec = str_trim(str_skip(*header, 6));
    size_t dash = str_find(spec, '-');
    if (dash == spec.len)
        return RANGE_NONE;
    struct str from = {spec.ptr, dash}, to = str_skip(spec, dash + 1);
    uint64_t start = 0, end = UINT64_MAX;
    if ((from.len == 0 && to.len == 0) ||
        (from.len > 0 && str_to_u64(from, UINT64_MAX, &start) != 0) ||
        (to.len > 0 && str_to_u64(to, UINT64_MAX, &end) != 0))
        return RANGE_NONE;
    if (from.len == 0) { /* the last `end` bytes */
        start = end < size ? size - end : 0;
        end = end > 0 ? UINT64_MAX : 0;
        if (end == 0)
            return RANGE_BAD;
    } else if (end < start) {
        return RANGE_NONE;
    }
    if (start >= size)
        return RANGE_BAD;
    *first = (size_t)start;
    *len = (end >= size ? size - 1 : (size_t)end) - (size_t)start + 1;
    return RANGE_PART;
}

static int answer_bad_range(struct exchange *ex, const struct source *source)
{
    struct str range = arena_printf(&ex->arena, "bytes */%zu", source->size);
    if (range.ptr == NULL || response_set_body(&ex->res, &ex->arena, 416, STR("text/plain"),
                                               STR("Range Not Satisfiable")) != 0)
        return -ENOMEM;
    return headers_set(&ex->res.headers, &ex->arena, STR("Content-Range"), range);
}

static int answer_file(struct exchange *ex, const struct source *source, int status)
{
    size_t first = 0, len = source->size;
    if (status == 200) {
        switch (parse_range(&ex->req, source->size, &first, &len)) {
        case RANGE_BAD:
            return answer_bad_range(ex, source);
        case RANGE_PART:
            status = 206;
            break;
        case RANGE_NONE:
            break;
        }
    }
    if (len > LIMIT_STATIC_BYTES)
        return -EFBIG;
    struct str body = read_part(&ex->arena, source, first, len);
    if (body.ptr == NULL)
        return -EIO;
    struct headers *headers = &ex->res.headers;
    if (response_set_body(&ex->res, &ex->arena, status, content_type_of(source->name), body) != 0)
        return -ENOMEM;
    if (status == 404)
        return set_common(ex, NULL);
    if (status == 206) {
        struct str range =
            arena_printf(&ex->arena, "bytes %zu-%zu/%zu", first, first + len - 1, source->size);
        if (range.ptr == NULL || headers_set(headers, &ex->arena, STR("Content-Range"), range) != 0)
            return -ENOMEM;
    }
    if (headers_set(headers, &ex->arena, STR("Accept-Ranges"), STR("bytes")) != 0)
        return -ENOMEM;
    return set_common(ex, source->etag);
}

static int answer_wrong_method(struct exchange *ex)
{
    if (response_set_body(&ex->res, &ex->arena, 405, STR("text/plain; charset=utf-8"),
                          STR("Method Not Allowed")) != 0)
        return -ENOMEM;
    return headers_set(&ex->res.headers, &ex->arena, STR("Allow"), STR("GET, HEAD"));
}

static int answer_source(struct exchange *ex, const struct source *source)
{
    if (ex->req.method != METHOD_GET && ex->req.method != METHOD_HEAD)
        return answer_wrong_method(ex);
    if (fails_if_match(&ex->req))
        return response_set_body(&ex->res, &ex->arena, 412, STR("text/plain; charset=utf-8"),
                                 STR("Precondition Failed"));
    if (is_unchanged(&ex->req, source->etag)) {
        ex->res.status = 304;
        return set_common(ex, source->etag);
    }
    return answer_file(ex, source, 200);
}

/* Nobody knows whether there is such a file: that is no 404. */
static int answer_trouble(struct exchange *ex)
{
    ex->error_code = "out_of_files";
    int rc = response_set_error(&ex->res, &ex->arena, 503, STR("out_of_files"),
                                STR("The host can open no more files at the moment"));
    return rc == 0 ? headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) : rc;
}

/* Turns a failure to answer into a 500 without a body, which takes no memory. */
static void finish(struct exchange *ex, int rc)
{
    if (rc == 0)
        return;
    log_message(LOG_ERROR, "static file not sent: %s", strerror(-rc));
    ex->res = (struct response){.status = 500};
}

bool static_serve(const struct static_site *site, struct exchange *ex, struct str path)
{
    struct str name;
    struct source source = {.fd = -1};
    if (!name_from_path(&ex->arena, path, &name))
        return false;
    if (!find_source(site, &ex->arena, name, &source)) {
        if (source.trouble == 0)
            return false;
        log_message(LOG_WARN, "static file not opened: %s", strerror(source.trouble));
        finish(ex, answer_trouble(ex));
        return true;
    }
    finish(ex, answer_source(ex, &source));
    close_source(&source);
    return true;
}

bool static_serve_not_found(const struct static_site *site, struct exchange *ex)
{
    struct source source = {.fd = -1};
    if (!open_source(site, &ex->arena, STR("404.html"), &source))
        return false;
    finish(ex, answer_file(ex, &source, 404));
    close_source(&source);
    return true;
}
