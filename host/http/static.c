/* Static files: a path becomes a file below one folder, or a page inside the program.
 *
 * The kernel keeps us inside the folder: openat2 with RESOLVE_BENEATH refuses every step that would
 * leave it, symbolic links included; where that call is missing, no link is followed at all. What
 * is checked here before that is a second wall, and keeps dot files private. What the answer says
 * comes from fstat alone; of a small file the bytes are read at once, a large one is handed on
 * open.
 */
#include "http/static.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/embedded.h"
#include "base/limits.h"
#include "base/log.h"
#include "http/condition.h"
#include "http/content_type.h"
#include "http/date.h"
#include "http/encoding.h"
#include "http/target.h"

/* An open file or an embedded one. */
struct source {
    int fd;      /* owned; -1 for an embedded page */
    int trouble; /* where nothing was found: the folder could not be asked, for this errno; 0: it
                    was */
    const struct embedded_file *page;
    struct str name; /* decides the content type */
    uint64_t size;
    struct file_id id; /* of an open file */
    bool settled;
    int64_t modified;     /* seconds; -1: not known */
    char etag[64];        /* NUL-terminated */
    enum encoding coding; /* of a file that lies beside the one with that name */
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
    *name = target_percent_decode(arena, str_skip(path, 1), false);
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

/* For kernels and containers without openat2: segment by segment, no symbolic link followed. */
static int open_by_walk(int root, struct str name)
{
    struct str part;
    int dir = root;
    while (dir >= 0 && str_split_next(&name, '/', &part)) {
        char segment[256]; /* names on Linux have at most 255 bytes */
        int next = -1;
        if (part.len < sizeof(segment) && !str_eq(part, STR(".."))) {
            memcpy(segment, part.ptr, part.len);
            segment[part.len] = '\0';
            int how = name.ptr == NULL ? OPEN_FILE : O_PATH | O_DIRECTORY | O_CLOEXEC;
            next = openat(dir, segment, how | O_NOFOLLOW);
        }
        if (dir != root)
            close(dir);
        dir = next;
    }
    return dir;
}

/* Opens a file below the folder, or returns -1. `name` is NUL-terminated. */
static int open_beneath(int root, struct str name)
{
    struct open_how how = {.flags = OPEN_FILE, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, root, name.ptr, &how, sizeof(how));
    return fd < 0 && (errno == ENOSYS || errno == EPERM) ? open_by_walk(root, name) : fd;
}

/* From what stat says. Strong, once nobody can write other bytes at the same time of the clock: the
 * number of the inode and the time of its last change tell files apart whose times and sizes were
 * made equal, as by builds that others can repeat. */
static void make_tag(struct source *source)
{
    const struct file_id *id = &source->id;
    const struct str fields = {(const char *)id, sizeof(*id)};
    snprintf(source->etag, sizeof(source->etag), "%s\"%llx-%llx%08lx-%016llx\"",
             source->settled ? "" : "W/", (unsigned long long)id->size,
             (unsigned long long)id->modified, (unsigned long)id->modified_ns,
             (unsigned long long)str_hash(fields));
}

static bool is_trouble(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM;
}

static bool open_in_folder(int root, struct str name, struct source *out)
{
    int fd = open_beneath(root, name);
    if (fd < 0) {
        if (is_trouble(errno))
            out->trouble = errno;
        return false;
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return false;
    }
    *out = (struct source){.fd = fd, .name = name, .size = (uint64_t)st.st_size};
    out->id = file_id_of(&st);
    out->settled = file_is_settled(&out->id);
    out->modified = st.st_mtim.tv_sec >= 0 ? st.st_mtim.tv_sec : -1;
    make_tag(out);
    return true;
}

static bool open_embedded(struct arena *arena, const char *prefix, struct str name,
                          struct source *out)
{
    struct str full = arena_printf(arena, "%s%.*s", prefix, STR_ARG(name));
    const struct embedded_file *page = full.ptr != NULL ? embedded_find(full.ptr) : NULL;
    if (page == NULL)
        return false;
    *out = (struct source){.fd = -1, .page = page, .name = name, .size = page->len, .modified = -1};
    struct str data = {page->data, page->len};
    snprintf(out->etag, sizeof(out->etag), "W/\"%016llx\"", (unsigned long long)str_hash(data));
    return true;
}

/* Where files are looked for. */
struct place {
    const struct static_site *site;
    struct arena *arena;
    int root; /* the folder; -1: there is none */
};

/* The folder goes before the pages inside the program. `name` is NUL-terminated. */
static bool open_source(const struct place *place, struct str name, struct source *out)
{
    if (place->root >= 0 && open_in_folder(place->root, name, out))
        return true;
    return out->trouble == 0 && place->site->embedded_prefix != NULL &&
           open_embedded(place->arena, place->site->embedded_prefix, name, out);
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
static bool find_in(const struct place *place, struct str name, struct source *out)
{
    static const char *const pretty[] = {".html", ".htm", "/index.html", "/index.htm"};
    bool folder = name.len == 0 || name.ptr[name.len - 1] == '/';
    if (!folder && open_source(place, name, out))
        return true;
    if (!folder && is_plain_file_name(name))
        return false;
    if (name.len == 0)
        return open_source(place, STR("index.html"), out) ||
               open_source(place, STR("index.htm"), out);
    name.len -= folder;
    for (size_t i = 0; i < sizeof(pretty) / sizeof(pretty[0]); i++) {
        struct str candidate = arena_printf(place->arena, "%.*s%s", STR_ARG(name), pretty[i]);
        if (candidate.ptr != NULL && open_source(place, candidate, out))
            return true;
    }
    return false;
}

/* A file of that name and ".br" or ".gz" is what it is compressed to, for who accepts that; not an
 * older one. Whole seconds count: what copies files keeps no more of their order. */
static void prefer_packed(const struct place *place, const struct request *req,
                          struct source *source)
{
    unsigned offered = ENCODING_ALL;
    enum encoding coding;
    while ((coding = encoding_wanted(req, offered, false)) != ENCODING_IDENTITY) {
        struct source beside = {.fd = -1};
        struct str name = arena_printf(place->arena, "%.*s%.*s", STR_ARG(source->name),
                                       STR_ARG(encoding_ending(coding)));
        if (name.ptr != NULL && open_in_folder(place->root, name, &beside) &&
            beside.modified >= source->modified) {
            close_source(source);
            beside.name = source->name;
            beside.coding = coding;
            *source = beside;
            return;
        }
        close_source(&beside);
        offered &= ~ENCODING_BIT(coding);
    }
}

/* The file that `name` means; `exact`: it and no other. *out tells of trouble where there is none.
 */
static bool find_source(const struct static_site *site, struct exchange *ex, struct str name,
                        bool exact, struct source *out)
{
    struct place place = {site, &ex->arena, -1};
    *out = (struct source){.fd = -1};
    if (site->folder != NULL) {
        place.root = open(site->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (place.root < 0 && is_trouble(errno))
            out->trouble = errno;
    }
    bool found =
        out->trouble == 0 && (exact ? open_source(&place, name, out) : find_in(&place, name, out));
    if (found && out->fd >= 0 && encoding_suits(content_type_of(out->name)))
        prefer_packed(&place, &ex->req, out);
    if (place.root >= 0)
        close(place.root);
    return found;
}

/* ---- the answer -------------------------------------------------------------------------------
 */

static int set_common(struct exchange *ex, const struct source *source)
{
    struct headers *headers = &ex->res.headers;
    if (headers_set(headers, &ex->arena, STR("X-Content-Type-Options"), STR("nosniff")) != 0 ||
        headers_set(headers, &ex->arena, STR("Cache-Control"),
                    STR("public, max-age=0, must-revalidate")) != 0)
        return -ENOMEM;
    return encoding_suits(content_type_of(source->name)) ? encoding_vary(&ex->res, &ex->arena) : 0;
}

static int set_tag(struct exchange *ex, const struct source *source)
{
    struct str copy = arena_copy(&ex->arena, str_from(source->etag));
    return copy.ptr != NULL ? headers_set(&ex->res.headers, &ex->arena, STR("ETag"), copy)
                            : -ENOMEM;
}

/* A date of the future would be a lie (RFC 9110 8.8.2.1). */
static int set_modified(struct exchange *ex, const struct source *source)
{
    int64_t now = (int64_t)time(NULL);
    if (source->modified < 0 || source->modified > now)
        return 0;
    char *text = arena_alloc(&ex->arena, DATE_LEN);
    if (text == NULL)
        return -ENOMEM;
    date_format(text, source->modified);
    return headers_set(&ex->res.headers, &ex->arena, STR("Last-Modified"),
                       (struct str){text, DATE_LEN});
}

/* What has this date may have been sent compressed, too: with the tag of its own. */
static struct validators validators_of(const struct exchange *ex, const struct source *source)
{
    bool encoded =
        source->coding != ENCODING_IDENTITY ||
        (source->size <= LIMIT_COMPRESS_MAX && encoding_suits(content_type_of(source->name)) &&
         encoding_wanted(&ex->req, ENCODING_ALL, false) != ENCODING_IDENTITY);
    return (struct validators){.etag = str_from(source->etag),
                               .modified = source->modified,
                               .dated = source->settled && !encoded};
}

static int answer_bad_range(struct exchange *ex, const struct source *source)
{
    struct str range = arena_printf(&ex->arena, "bytes */%llu", (unsigned long long)source->size);
    if (range.ptr == NULL || response_set_body(&ex->res, &ex->arena, 416, STR("text/plain"),
                                               STR("Range Not Satisfiable")) != 0)
        return -ENOMEM;
    return headers_set(&ex->res.headers, &ex->arena, STR("Content-Range"), range);
}

/* NULL when out of memory. */
static struct file_body *name_file(struct exchange *ex, const struct source *source)
{
    struct file_body *file = arena_alloc(&ex->arena, sizeof(*file));
    if (file != NULL)
        *file = (struct file_body){
            .id = source->id, .settled = source->settled, .type = content_type_of(source->name)};
    ex->res.file = file;
    return file;
}

/* The part of a file as the body: its bytes, where they are few; none, where nobody reads them; or
 * the open file. */
static int take_file(struct exchange *ex, struct source *source, uint64_t first, uint64_t len)
{
    struct file_body *file = name_file(ex, source);
    if (file == NULL)
        return -ENOMEM;
    if (ex->req.method == METHOD_HEAD || len > LIMIT_FILE_WHOLE) {
        file->offset = first;
        file->left = len;
        if (ex->req.method == METHOD_HEAD)
            return 0;
        file->file = file_take(source->fd, &source->id);
        source->fd = -1;
        return file->file != NULL ? arena_defer(&ex->arena, file_release, file->file) : -errno;
    }
    char *data = arena_alloc(&ex->arena, (size_t)len + 1);
    if (data == NULL)
        return -ENOMEM;
    ex->res.body = (struct str){data, (size_t)len};
    return file_read_fd(source->fd, data, (size_t)len, first);
}

static int take_body(struct exchange *ex, struct source *source, uint64_t first, uint64_t len)
{
    if (source->page == NULL)
        return take_file(ex, source, first, len);
    ex->res.body = (struct str){source->page->data + first, (size_t)len};
    return 0;
}

static int set_part(struct exchange *ex, const struct source *source, uint64_t first, uint64_t len)
{
    struct str range =
        arena_printf(&ex->arena, "bytes %llu-%llu/%llu", (unsigned long long)first,
                     (unsigned long long)(first + len - 1), (unsigned long long)source->size);
    return range.ptr != NULL
               ? headers_set(&ex->res.headers, &ex->arena, STR("Content-Range"), range)
               : -ENOMEM;
}

static int set_coding(struct exchange *ex, const struct source *source)
{
    return source->coding == ENCODING_IDENTITY
               ? 0
               : headers_set(&ex->res.headers, &ex->arena, STR("Content-Encoding"),
                             encoding_name(source->coding));
}

static int answer_not_found(struct exchange *ex, struct source *source)
{
    int rc = response_set_body(&ex->res, &ex->arena, 404, content_type_of(source->name), STR(""));
    rc = rc == 0 ? take_body(ex, source, 0, source->size) : rc;
    rc = rc == 0 ? set_coding(ex, source) : rc;
    return rc == 0 ? set_common(ex, source) : rc;
}

static int answer_file(struct exchange *ex, struct source *source,
                       const struct validators *validators)
{
    uint64_t first = 0, len = source->size;
    enum range range = condition_range(&ex->req, validators, source->size, &first, &len);
    if (range == RANGE_BAD)
        return answer_bad_range(ex, source);
    int status = range == RANGE_PART ? 206 : 200;
    int rc =
        response_set_body(&ex->res, &ex->arena, status, content_type_of(source->name), STR(""));
    if (rc == 0)
        rc = set_coding(ex, source);
    if (rc == 0 && range == RANGE_PART)
        rc = set_part(ex, source, first, len);
    if (rc == 0)
        rc = take_body(ex, source, first, len);
    if (rc == 0)
        rc = headers_set(&ex->res.headers, &ex->arena, STR("Accept-Ranges"), STR("bytes"));
    if (rc == 0)
        rc = set_common(ex, source);
    if (rc == 0)
        rc = set_modified(ex, source);
    return rc == 0 ? set_tag(ex, source) : rc;
}

static int answer_unchanged(struct exchange *ex, const struct source *source)
{
    ex->res.status = 304;
    if (source->fd >= 0 && source->coding == ENCODING_IDENTITY && name_file(ex, source) == NULL)
        return -ENOMEM;
    int rc = set_common(ex, source);
    return rc == 0 ? set_tag(ex, source) : rc;
}

static int answer_wrong_method(struct exchange *ex)
{
    if (response_set_body(&ex->res, &ex->arena, 405, STR("text/plain; charset=utf-8"),
                          STR("Method Not Allowed")) != 0)
        return -ENOMEM;
    return headers_set(&ex->res.headers, &ex->arena, STR("Allow"), STR("GET, HEAD"));
}

static int answer_source(struct exchange *ex, struct source *source)
{
    if (ex->req.method != METHOD_GET && ex->req.method != METHOD_HEAD)
        return answer_wrong_method(ex);
    const struct validators validators = validators_of(ex, source);
    switch (condition_judge(&ex->req, &validators)) {
    case CONDITION_FAILED:
        return response_set_body(&ex->res, &ex->arena, 412, STR("text/plain; charset=utf-8"),
                                 STR("Precondition Failed"));
    case CONDITION_UNCHANGED:
        return answer_unchanged(ex, source);
    case CONDITION_MET:
        break;
    }
    return answer_file(ex, source, &validators);
}

/* Nobody knows whether there is such a file: that is no 404. */
static int answer_trouble(struct exchange *ex)
{
    ex->error_code = "out_of_files";
    ex->res = (struct response){0};
    int rc = response_set_error(&ex->res, &ex->arena, 503, STR("out_of_files"),
                                STR("The host can open no more files at the moment"));
    return rc == 0 ? headers_set(&ex->res.headers, &ex->arena, STR("Retry-After"), STR("1")) : rc;
}

/* Turns a failure to answer into a 500 without a body, which takes no memory. */
static void finish(struct exchange *ex, int rc)
{
    if (rc == -EMFILE)
        rc = answer_trouble(ex);
    if (rc == 0)
        return;
    log_message(LOG_ERROR, "static file not sent: %s", strerror(-rc));
    ex->res = (struct response){.status = 500};
}

bool static_serve(const struct static_site *site, struct exchange *ex, struct str path)
{
    struct str name;
    struct source source;
    if (!name_from_path(&ex->arena, path, &name))
        return false;
    if (!find_source(site, ex, name, false, &source)) {
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
    struct source source;
    if (!find_source(site, ex, STR("404.html"), true, &source))
        return false;
    finish(ex, answer_not_found(ex, &source));
    close_source(&source);
    return true;
}
