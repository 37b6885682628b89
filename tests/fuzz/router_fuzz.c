/* Patterns, an empty line, paths: what matches, matches as the pattern says. */
#include "fuzz.h"
#include "http/router.h"

enum { PATTERNS_MAX = 24 };

struct table {
    struct router *router;
    struct str patterns[PATTERNS_MAX];
    unsigned count;
};

static bool is_literal(struct str pattern)
{
    return str_find(pattern, ':') == pattern.len && str_find(pattern, '*') == pattern.len;
}

static void check_params(const struct route_match *match, struct str path)
{
    require(match->param_count <= ROUTE_PARAMS_MAX, "room for the parameters");
    for (unsigned i = 0; i < match->param_count; i++) {
        struct str value = match->params[i].value;
        require(value.len == 0 ||
                    (value.ptr >= path.ptr && value.ptr + value.len <= path.ptr + path.len),
                "a parameter is a piece of the path");
    }
}

static void check(struct table *table, struct str path)
{
    for (unsigned m = 0; m < METHOD_COUNT; m++) {
        struct route_match match = {0};
        enum route_result result = router_match(table->router, (enum http_method)m, path, &match);
        if (result == ROUTE_FOUND) {
            require(match.target != NULL, "the target that was given");
            check_params(&match, path);
        }
        require(result != ROUTE_WRONG_METHOD || (match.methods & METHOD_BIT(m)) == 0,
                "another method is the one that was not allowed");
        for (unsigned i = 0; i < table->count && m == METHOD_GET; i++)
            require(!is_literal(table->patterns[i]) || !str_eq(table->patterns[i], path) ||
                        result != ROUTE_NONE,
                    "a literal pattern matches itself");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned methods[] = {METHOD_ALL, METHOD_BIT(METHOD_GET), METHOD_BIT(METHOD_POST)};
    struct table table = {.router = router_new()};
    struct str rest = whole_input(data, size), line;
    require(table.router != NULL, "memory");
    while ((line = next_line(&rest)).len > 0) {
        struct err err;
        if (table.count < PATTERNS_MAX &&
            router_add(table.router, line, methods[table.count % 3], &table, &err) == 0)
            table.patterns[table.count++] = line;
    }
    for (unsigned i = 0; i < PATTERNS_MAX && rest.ptr != NULL; i++)
        check(&table, next_line(&rest));
    router_free(table.router);
    return 0;
}
