/* Redirects and rewrites. A match captures values from path and query, the target is put together
 * from them.
 *
 * Captured text comes from the client and ends up in a Location header, so it is escaped, never
 * reaches the host part of a target, and cannot turn "/..." into "//host/...". */
#include "http/redirect.h"

#include <errno.h>

#include "http/target.h"

enum { CAPTURES_MAX = 32 };

struct captures {
    unsigned count;
    struct redirect_pair items[CAPTURES_MAX]; /* values percent-encoded, as sent */
};

static bool capture(struct captures *captures, struct str name, struct str value)
{
    if (captures->count == CAPTURES_MAX)
        return false;
    captures->items[captures->count++] = (struct redirect_pair){name, value};
    return true;
}

static const struct str *captured(const struct captures *captures, struct str name)
{
    for (unsigned i = 0; i < captures->count; i++) {
        if (str_eq(captures->items[i].name, name))
            return &captures->items[i].value;
    }
    return NULL;
}

/* The length of the placeholder's name at the start of `s`. */
static size_t name_length(struct str s)
{
    size_t len = 0;
    while (len < s.len && (str_is_alnum(s.ptr[len]) || s.ptr[len] == '_'))
        len++;
    return len;
}

static bool is_placeholder(struct str s)
{
    return s.len > 1 && s.ptr[0] == ':' && name_length(str_skip(s, 1)) == s.len - 1;
}

/* ---- checking rules ---------------------------------------------------------------------------
 */

/* The host part of "https://host/path", with its port; empty for a path. */
static struct str authority_of(struct str url)
{
    size_t scheme = str_starts_with(url, STR("https://"))  ? 8
                    : str_starts_with(url, STR("http://")) ? 7
                                                           : 0;
    if (scheme == 0)
        return (struct str){url.ptr, 0};
    struct str host = str_skip(url, scheme);
    size_t len = 0;
    while (len < host.len && strchr("/?#", host.ptr[len]) == NULL)
        len++;
    return (struct str){host.ptr, len};
}

struct str redirect_path(const struct redirect_rule *rule)
{
    struct str host = authority_of(rule->from);
    return host.len == 0 ? rule->from
                         : str_skip(rule->from, (size_t)(host.ptr + host.len - rule->from.ptr));
}

static int check_from(const struct redirect_rule *rule, struct err *err)
{
    struct str from = redirect_path(rule);
    if (rule->from.len == 0)
        return err_set(err, -EINVAL, "'from' is missing");
    if (from.len == 0 || from.ptr[0] != '/')
        return err_set(err, -EINVAL,
                       "'from' must begin with '/' or be http(s)://HOST/PATH, got '%.*s'",
                       STR_ARG(rule->from));
    if (str_starts_with(from, STR("/.netlify")))
        return err_set(err, -EINVAL, "'from' must not begin with '/.netlify', got '%.*s'",
                       STR_ARG(from));
    size_t star = str_find(from, '*');
    if (star < from.len && (star + 1 < from.len || from.ptr[star - 1] != '/'))
        return err_set(err, -EINVAL, "'*' must be the whole last segment of 'from', got '%.*s'",
                       STR_ARG(from));
    return 0;
}

/* A port may follow the host's ':', a placeholder may not. */
static bool is_fixed_host(struct str host)
{
    for (size_t i = str_find(host, ':') + 1; i < host.len; i++) {
        if (host.ptr[i] < '0' || host.ptr[i] > '9')
            return false;
    }
    return true;
}

static int check_to(const struct redirect_rule *rule, struct err *err)
{
    struct str to = rule->to;
    if (to.len == 0) {
        if (str_ends_with(rule->from, STR("/*")) && rule->status == 200)
            return 0;
        return err_set(err, -EINVAL, "'to' is missing");
    }
    for (size_t i = 0; i < to.len; i++) {
        if (to.ptr[i] <= ' ' || to.ptr[i] > '~' || to.ptr[i] == '\\')
            return err_set(err, -EINVAL, "'to' holds a character that a URL cannot, in '%.*s'",
                           STR_ARG(to));
    }
    struct str host = authority_of(to);
    if (host.len == 0 && (to.ptr[0] != '/' || str_starts_with(to, STR("//"))))
        return err_set(err, -EINVAL, "'to' must be a path or begin with http(s)://, got '%.*s'",
                       STR_ARG(to));
    if (host.len > 0 && rule->status == 404)
        return err_set(err, -EINVAL, "'to' of a 404 must be a path, got '%.*s'", STR_ARG(to));
    if (!is_fixed_host(host))
        return err_set(err, -EINVAL, "a placeholder cannot be part of the host, in '%.*s'",
                       STR_ARG(to));
    return 0;
}

static bool is_condition(struct str name)
{
    return str_eq_nocase(name, STR("Language")) || str_eq_nocase(name, STR("Country")) ||
           str_eq_nocase(name, STR("Cookie")) || str_eq_nocase(name, STR("Role"));
}

int redirect_check(const struct redirect_rule *rule, struct err *err)
{
    static const int known[] = {200, 301, 302, 303, 307, 308, 404};
    bool found = false;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        found = found || known[i] == rule->status;
    if (!found)
        return err_set(err, -EINVAL, "'status' must be 200, 301, 302, 303, 307, 308 or 404, got %d",
                       rule->status);
    int rc = check_from(rule, err);
    if (rc == 0)
        rc = check_to(rule, err);
    for (unsigned i = 0; rc == 0 && i < rule->condition_count; i++) {
        if (!is_condition(rule->conditions[i].name))
            rc = err_set(err, -EINVAL,
                         "a condition is Language, Country, Cookie or Role, got '%.*s'",
                         STR_ARG(rule->conditions[i].name));
    }
    for (unsigned i = 0; rc == 0 && i < rule->header_count; i++) {
        if (!header_name_is_valid(rule->headers[i].name) ||
            !header_value_is_valid(rule->headers[i].value))
            rc = err_set(err, -EINVAL, "'%.*s' is not a header that can be sent",
                         STR_ARG(rule->headers[i].name));
    }
    return rc;
}

/* ---- matching ---------------------------------------------------------------------------------
 */

/* Equal when both are percent-decoded? */
static bool equal_decoded(struct str a, struct str b, bool plus_is_space)
{
    size_t i = 0, j = 0;
    while (i < a.len && j < b.len) {
        char x, y;
        size_t a_used = target_percent_next(a, i, &x), b_used = target_percent_next(b, j, &y);
        if (plus_is_space && b_used == 1 && y == '+')
            y = ' ';
        if (x != y)
            return false;
        i += a_used;
        j += b_used;
    }
    return i == a.len && j == b.len;
}

static struct str without_final_slash(struct str path)
{
    if (path.len > 0 && path.ptr[path.len - 1] == '/')
        path.len--;
    return path;
}

/* Both are walked segment by segment; `path` is normalised. A splat keeps the slash at its end: it
 * is part of what was asked for. */
static bool match_path(struct str from, struct str path, struct captures *captures)
{
    const char *end = path.ptr + path.len;
    from = without_final_slash(from);
    path = without_final_slash(path);
    while (from.len > 0) {
        from = str_skip(from, 1);
        if (str_eq(from, STR("*"))) {
            size_t rest = path.len > 0 ? (size_t)(end - path.ptr) - 1 : 0;
            return capture(captures, STR("splat"), (struct str){end - rest, rest});
        }
        if (path.len == 0)
            return false;
        path = str_skip(path, 1);
        struct str want = {from.ptr, str_find(from, '/')};
        struct str got = {path.ptr, str_find(path, '/')};
        from = str_skip(from, want.len);
        path = str_skip(path, got.len);
        if (is_placeholder(want)) {
            if (got.len == 0 || !capture(captures, str_skip(want, 1), got))
                return false;
        } else if (!equal_decoded(want, got, false)) {
            return false;
        }
    }
    return path.len == 0;
}

/* A rule of one host is for requests to it, over that scheme; the port does not matter. */
static bool match_host(struct str from, const struct request *req)
{
    struct str host = authority_of(from);
    if (host.len == 0)
        return true;
    struct str scheme = {from.ptr, str_find(from, ':')};
    return str_eq(scheme, req->scheme) &&
           str_eq_nocase(target_authority_host(host), target_authority_host(req->host));
}

/* The raw value of the first parameter of that name. */
static bool query_get(struct str query, struct str name, struct str *value)
{
    struct str piece;
    while (str_split_next(&query, '&', &piece)) {
        size_t equals = str_find(piece, '=');
        if (piece.len > 0 && equal_decoded(name, (struct str){piece.ptr, equals}, true)) {
            *value = str_skip(piece, equals < piece.len ? equals + 1 : equals);
            return true;
        }
    }
    return false;
}

static bool match_query(const struct redirect_rule *rule, struct str query,
                        struct captures *captures)
{
    for (unsigned i = 0; i < rule->query_count; i++) {
        struct str want = rule->query[i].value, got;
        if (!query_get(query, rule->query[i].name, &got))
            return false;
        if (is_placeholder(want)) {
            if (!capture(captures, str_skip(want, 1), got))
                return false;
        } else if (!equal_decoded(want, got, true)) {
            return false;
        }
    }
    return true;
}

/* ---- conditions -------------------------------------------------------------------------------
 */

static bool cookie_get(const struct request *req, struct str name, struct str *value)
{
    for (uint32_t i = 0; i < req->headers.len; i++) {
        if (!str_eq(req->headers.items[i].name, STR("cookie")))
            continue;
        struct str rest = req->headers.items[i].value, piece;
        while (str_split_next(&rest, ';', &piece)) {
            piece = str_trim(piece);
            size_t equals = str_find(piece, '=');
            if (equals < piece.len && str_eq((struct str){piece.ptr, equals}, name)) {
                *value = str_skip(piece, equals + 1);
                return true;
            }
        }
    }
    return false;
}

/* The language that the cookie nf_lang or else the browser asks for first, as "en" or "zh-TW". */
static struct str language_of(const struct request *req)
{
    struct str value;
    if (!cookie_get(req, STR("nf_lang"), &value)) {
        const struct str *header = headers_get(&req->headers, STR("accept-language"));
        if (header == NULL)
            return (struct str){NULL, 0};
        value = *header;
    }
    value.len = str_find(value, ',');
    value.len = str_find(value, ';');
    return str_trim(value);
}

/* "zh-tw" is that language alone, "zh" it and all its kinds (RFC 4647 3.3.1). */
static bool language_matches(struct str language, struct str wanted)
{
    bool longer = language.len > wanted.len && language.ptr[wanted.len] == '-';
    if (longer)
        language.len = wanted.len;
    return wanted.len > 0 && str_eq_nocase(language, wanted);
}

static bool condition_holds(struct str name, struct str wanted, const struct request *req,
                            const struct str *roles, unsigned role_count)
{
    struct str value;
    if (str_eq_nocase(name, STR("Cookie")))
        return cookie_get(req, wanted, &value);
    if (str_eq_nocase(name, STR("Language")))
        return language_matches(language_of(req), wanted);
    if (str_eq_nocase(name, STR("Country")))
        return cookie_get(req, STR("nf_country"), &value) && str_eq_nocase(value, wanted);
    for (unsigned i = 0; i < role_count; i++) {
        if (str_eq(roles[i], wanted))
            return true;
    }
    return false;
}

static bool match_conditions(const struct redirect_rule *rule, const struct request *req,
                             const struct str *roles, unsigned role_count)
{
    for (unsigned i = 0; i < rule->condition_count; i++) {
        struct str any = rule->conditions[i].value, wanted;
        bool holds = false;
        while (!holds && str_split_next(&any, ',', &wanted))
            holds =
                condition_holds(rule->conditions[i].name, str_trim(wanted), req, roles, role_count);
        if (!holds)
            return false;
    }
    return true;
}

/* ---- targets ----------------------------------------------------------------------------------
 */

/* Characters that would end the part of the URL they are put into, or that no URL holds. */
static bool must_escape(char c, bool in_query)
{
    return c <= ' ' || c > '~' || strchr("\"<>\\^`{|}#?", c) != NULL || (in_query && c == '&');
}

static void add_captured(struct buf *out, struct str value, bool in_query)
{
    for (size_t i = 0; i < value.len; i++) {
        if (must_escape(value.ptr[i], in_query))
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)value.ptr[i]);
        else
            buf_add_char(out, value.ptr[i]);
    }
}

static void add_template(struct buf *out, struct str to, const struct captures *captures)
{
    bool in_query = false;
    for (size_t i = 0; i < to.len; i++) {
        struct str rest = str_skip(to, i + 1);
        struct str name = {rest.ptr, to.ptr[i] == ':' ? name_length(rest) : 0};
        const struct str *value = name.len > 0 ? captured(captures, name) : NULL;
        if (value == NULL) {
            in_query = in_query || to.ptr[i] == '?';
            buf_add_char(out, to.ptr[i]);
            continue;
        }
        add_captured(out, *value, in_query);
        i += name.len;
    }
}

static bool make_target(const struct redirect_rule *rule, const struct request *req,
                        const struct captures *captures, struct arena *arena, struct str *target)
{
    struct str to = rule->to;
    if (to.len == 0) /* from "/x/" and a star: the same path */
        to = arena_printf(arena, "%.*s:splat", (int)(redirect_path(rule).len - 1),
                          redirect_path(rule).ptr);
    if (to.ptr == NULL)
        return false;
    struct str fragment = str_skip(to, str_find(to, '#'));
    to.len -= fragment.len;
    struct buf out = BUF_INIT;
    add_template(&out, to, captures);
    if (req->query.len > 0 && rule->query_count == 0 && str_find(to, '?') == to.len) {
        buf_add_char(&out, '?');
        add_captured(&out, req->query, false);
    }
    buf_add_str(&out, fragment);
    /* "/" and an empty or rooted capture must not become "//host". */
    size_t skip = 0;
    while (to.ptr[0] == '/' && skip + 1 < out.len && out.data[skip + 1] == '/')
        skip++;
    target->ptr = NULL;
    if (!buf_failed(&out))
        *target = arena_copy(arena, str_skip(buf_str(&out), skip));
    buf_free(&out);
    return target->ptr != NULL;
}

static bool same_pairs(const struct redirect_pair *a, unsigned a_count,
                       const struct redirect_pair *b, unsigned b_count)
{
    bool same = a_count == b_count;
    for (unsigned i = 0; same && i < a_count; i++)
        same = str_eq(a[i].name, b[i].name) && str_eq(a[i].value, b[i].value);
    return same;
}

bool redirect_equal(const struct redirect_rule *a, const struct redirect_rule *b)
{
    return str_eq(a->from, b->from) && str_eq(a->to, b->to) && a->status == b->status &&
           a->force == b->force && same_pairs(a->query, a->query_count, b->query, b->query_count) &&
           same_pairs(a->conditions, a->condition_count, b->conditions, b->condition_count) &&
           same_pairs(a->headers, a->header_count, b->headers, b->header_count);
}

bool redirect_asks_role(const struct redirect_rule *rule)
{
    for (unsigned i = 0; i < rule->condition_count; i++) {
        if (str_eq_nocase(rule->conditions[i].name, STR("Role")))
            return true;
    }
    return false;
}

bool redirect_match_roles(const struct redirect_rule *rule, const struct request *req,
                          struct str path, const struct str *roles, unsigned role_count,
                          struct arena *arena, struct str *target)
{
    struct captures captures = {.count = 0};
    return match_host(rule->from, req) && match_path(redirect_path(rule), path, &captures) &&
           match_query(rule, req->query, &captures) &&
           match_conditions(rule, req, roles, role_count) &&
           make_target(rule, req, &captures, arena, target);
}

bool redirect_match(const struct redirect_rule *rule, const struct request *req,
                    struct arena *arena, struct str *target)
{
    struct str path;
    return target_normalize_path(arena, req->path, &path) == 0 &&
           redirect_match_roles(rule, req, path, NULL, 0, arena, target);
}
