/* Cross-origin requests, by the Fetch standard. */
#include "http/cors.h"

#include <errno.h>

#include "base/log.h"
#include "http/host_name.h"

#define ALLOW_ORIGIN   STR("Access-Control-Allow-Origin")
#define REQUEST_PREFIX "access-control-request-"

/* The port of an origin that browsers leave out. */
static struct str usual_port(bool https)
{
    return https ? STR(":443") : STR(":80");
}

static bool is_port(struct str text) /* ":8080" */
{
    uint64_t port = 0;
    return text.len > 1 && text.ptr[0] == ':' && str_to_u64(str_skip(text, 1), 65535, &port) == 0 &&
           text.ptr[1] != '0';
}

int cors_origin(struct str text, struct arena *arena, struct str *out)
{
    static const char never[] = "/*@?#\\% ";
    char host[HOST_NAME_SIZE];
    *out = text;
    if (str_eq(text, STR("*")) || str_eq(text, STR("null")))
        return 0;
    size_t scheme = str_find(text, ':');
    bool https = str_eq_nocase((struct str){text.ptr, scheme}, STR("https"));
    if ((!https && !str_eq_nocase((struct str){text.ptr, scheme}, STR("http"))) ||
        !str_starts_with(str_skip(text, scheme), STR("://")) ||
        host_name_canonical(str_skip(text, scheme + 3), host) != 0 || strpbrk(host, never) != NULL)
        return -EINVAL;
    struct str name = str_from(host);
    const char *bracket = strchr(host, ']'), *colon = strchr(bracket != NULL ? bracket : host, ':');
    struct str port = colon != NULL ? str_from(colon) : (struct str){NULL, 0};
    if (colon == host || (colon != NULL && !is_port(port)))
        return -EINVAL;
    if (str_eq(port, usual_port(https)))
        name.len -= port.len;
    *out = arena_printf(arena, "%s://%.*s", https ? "https" : "http", STR_ARG(name));
    return out->ptr != NULL ? 0 : -ENOMEM;
}

/* What to send as Access-Control-Allow-Origin; ptr NULL when the request's origin is not allowed or
 * there is none. Not a text of the configuration, which the answer may outlive. */
static struct str allowed_origin(const struct cors *cors, const struct exchange *ex)
{
    const struct str *origin = headers_get(&ex->req.headers, STR("origin"));
    if (origin == NULL)
        return (struct str){NULL, 0};
    for (unsigned i = 0; i < cors->origin_count; i++) {
        if (str_eq(cors->origins[i], STR("*")))
            return STR("*");
        if (str_eq(cors->origins[i], *origin))
            return *origin;
    }
    return (struct str){NULL, 0};
}

static bool is_open_to_all(const struct cors *cors)
{
    return cors->origin_count == 1 && str_eq(cors->origins[0], STR("*"));
}

static bool list_has(struct str list, struct str item)
{
    struct str part;
    while (str_split_next(&list, ',', &part)) {
        part = str_trim(part);
        if (str_eq_nocase(part, item) || str_eq(part, STR("*")))
            return true;
    }
    return false;
}

/* Caches must not give one origin the answer for another. */
static int add_vary(struct exchange *ex, struct str name)
{
    struct headers *headers = &ex->res.headers;
    for (uint32_t i = 0; i < headers->len; i++) {
        if (str_eq_nocase(headers->items[i].name, STR("vary")) &&
            list_has(headers->items[i].value, name))
            return 0;
    }
    return headers_add(headers, &ex->arena, STR("Vary"), name);
}

static int add_headers(const struct cors *cors, struct exchange *ex)
{
    struct headers *headers = &ex->res.headers;
    if (!is_open_to_all(cors) && add_vary(ex, STR("Origin")) != 0)
        return -ENOMEM;
    struct str origin = allowed_origin(cors, ex);
    if (origin.ptr == NULL)
        return 0;
    if (headers_add(headers, &ex->arena, ALLOW_ORIGIN, origin) != 0)
        return -ENOMEM;
    /* "*" never goes with credentials: every site could then act as the user. */
    if (!cors->credentials || str_eq(origin, STR("*")))
        return 0;
    return headers_add(headers, &ex->arena, STR("Access-Control-Allow-Credentials"), STR("true"));
}

/* Without memory the answer goes out without some of these headers: the browser then keeps it from
 * the page, which is the safe side. */
static void warn_on_failure(int rc)
{
    if (rc != 0)
        log_message(LOG_WARN, "out of memory: an answer lacks CORS headers");
}

void cors_add_headers(const struct cors *cors, struct exchange *ex)
{
    if (cors->origin_count > 0 && headers_get(&ex->res.headers, ALLOW_ORIGIN) == NULL)
        warn_on_failure(add_headers(cors, ex));
}

static struct str method_list(struct arena *arena, unsigned methods)
{
    struct str list = {"", 0};
    for (int m = 0; m < METHOD_COUNT && list.ptr != NULL; m++) {
        if ((methods & METHOD_BIT(m)) != 0)
            list = arena_printf(arena, "%.*s%s%s", STR_ARG(list), list.len > 0 ? ", " : "",
                                request_method_name((enum http_method)m));
    }
    return list;
}

/* Is this a list of header names that may be sent back? */
static bool is_name_list(struct str list)
{
    struct str part;
    while (str_split_next(&list, ',', &part)) {
        if (!header_name_is_valid(str_trim(part)))
            return false;
    }
    return true;
}

/* What the browser asked for and gets: the route's methods, any header, and for how long. */
static int add_permissions(const struct cors *cors, struct exchange *ex, unsigned methods)
{
    struct headers *headers = &ex->res.headers;
    struct str list = method_list(&ex->arena, methods);
    if (list.ptr == NULL ||
        headers_set(headers, &ex->arena, STR("Access-Control-Allow-Methods"), list) != 0)
        return -ENOMEM;
    const struct str *names = headers_get(&ex->req.headers, STR(REQUEST_PREFIX "headers"));
    if (names != NULL && is_name_list(*names) &&
        (headers_set(headers, &ex->arena, STR("Access-Control-Allow-Headers"), *names) != 0 ||
         add_vary(ex, STR("Access-Control-Request-Headers")) != 0))
        return -ENOMEM;
    if (cors->max_age == 0)
        return 0;
    struct str age = arena_printf(&ex->arena, "%u", cors->max_age);
    return age.ptr != NULL ? headers_set(headers, &ex->arena, STR("Access-Control-Max-Age"), age)
                           : -ENOMEM;
}

bool cors_preflight(const struct cors *cors, struct exchange *ex, unsigned methods)
{
    if (cors->origin_count == 0 || ex->req.method != METHOD_OPTIONS ||
        headers_get(&ex->req.headers, STR("origin")) == NULL ||
        headers_get(&ex->req.headers, STR(REQUEST_PREFIX "method")) == NULL)
        return false;
    ex->res.status = 204;
    if (allowed_origin(cors, ex).ptr != NULL)
        warn_on_failure(add_permissions(cors, ex, methods));
    cors_add_headers(cors, ex);
    return true;
}
