/* Origins of a configuration and the fields of a request, of any kind: only a listed origin is let
 * in, never everybody with credentials, and every field can be sent. */
#include "fuzz.h"
#include "http/cors.h"

enum { ORIGINS_MAX = 8 };

struct policy {
    struct cors cors;
    struct str origins[ORIGINS_MAX];
};

static void set_policy(struct policy *policy, struct str list, unsigned flags)
{
    policy->cors = (struct cors){
        .origins = policy->origins, .credentials = (flags & 1) != 0, .max_age = flags >> 1};
    struct str origin;
    while (policy->cors.origin_count < ORIGINS_MAX && str_split_next(&list, ' ', &origin)) {
        if (origin.len > 0 && header_value_is_valid(origin))
            policy->origins[policy->cors.origin_count++] = origin;
    }
}

static bool is_listed(const struct cors *cors, struct str origin)
{
    for (unsigned i = 0; i < cors->origin_count; i++) {
        if (str_eq(cors->origins[i], origin) || str_eq(cors->origins[i], STR("*")))
            return true;
    }
    return false;
}

static void check(const struct cors *cors, const struct exchange *ex)
{
    const struct headers *headers = &ex->res.headers;
    const struct str *asked = headers_get(&ex->req.headers, STR("origin"));
    const struct str *allowed = headers_get(headers, STR("access-control-allow-origin"));
    bool credentials = headers_count(headers, STR("access-control-allow-credentials")) > 0;
    require_sendable(headers);
    require(headers_count(headers, STR("access-control-allow-origin")) <= 1, "one answer");
    require(allowed == NULL || (asked != NULL && is_listed(cors, *asked)), "a listed origin");
    require(allowed == NULL || str_eq(*allowed, STR("*")) || str_eq(*allowed, *asked), "the asked");
    require(!credentials || (cors->credentials && allowed != NULL && !str_eq(*allowed, STR("*"))),
            "credentials for one origin");
    require(allowed != NULL || headers_count(headers, STR("access-control-allow-methods")) == 0,
            "permissions for an origin");
}

static void add(struct exchange *ex, const char *name, struct str value)
{
    if (value.len > 0 && header_value_is_valid(value))
        require(headers_add(&ex->req.headers, &ex->arena, str_from(name), value) == 0, "memory");
}

/* A byte of flags; lines: origins, origin, method, names. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct exchange_sink sink = {0};
    if (size < 1)
        return 0;
    struct str rest = whole_input(data + 1, size - 1);
    struct policy policy;
    set_policy(&policy, next_line(&rest), data[0]);
    struct exchange *ex = exchange_new(&sink, NULL);
    require(ex != NULL, "memory");
    ex->req.method = (data[0] & 128) != 0 ? METHOD_GET : METHOD_OPTIONS;
    add(ex, "origin", next_line(&rest));
    add(ex, "access-control-request-method", next_line(&rest));
    add(ex, "access-control-request-headers", next_line(&rest));
    if (!cors_preflight(&policy.cors, ex, data[0]))
        cors_add_headers(&policy.cors, ex);
    check(&policy.cors, ex);
    exchange_release(ex);
    return 0;
}
