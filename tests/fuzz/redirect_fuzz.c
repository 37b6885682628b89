/* A rule and a request of any kind: what leads away leads to the host that the rule names, and can
 * be sent as Location. */
#include "fuzz.h"
#include "http/redirect.h"
#include "http/target.h"

static struct str origin_of(struct str target)
{
    size_t at = 0;
    for (unsigned slashes = 0; at < target.len; at++) {
        slashes += target.ptr[at] == '/';
        if (slashes == 3 || target.ptr[at] == '?' || target.ptr[at] == '#')
            break;
    }
    return (struct str){target.ptr, at};
}

static void check(const struct redirect_rule *rule, const struct request *req, struct str target)
{
    (void)req;
    for (size_t i = 0; i < target.len; i++)
        require((unsigned char)target.ptr[i] > ' ' && target.ptr[i] != 0x7f, "visible characters");
    if (rule->to.len == 0 || rule->to.ptr[0] == '/')
        require(target.len > 0 && target.ptr[0] == '/' &&
                    (target.len == 1 || (target.ptr[1] != '/' && target.ptr[1] != '\\')),
                "it stays on this host");
    else
        require(str_starts_with(target, origin_of(rule->to)), "it leads to the rule's host");
}

static bool is_sendable(struct str target)
{
    for (size_t i = 0; i < target.len; i++) {
        if ((unsigned char)target.ptr[i] <= ' ' || (unsigned char)target.ptr[i] >= 0x7f ||
            target.ptr[i] == '#')
            return false;
    }
    return target.len > 0 && target.ptr[0] == '/';
}

/* Lines: status, from, to, a query pair's name and value, the target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = whole_input(data, size), target;
    uint64_t status = 0;
    struct redirect_pair query;
    if (str_to_u64(next_line(&rest), 999, &status) != 0)
        return 0;
    struct redirect_rule rule = {.status = (int)status, .query = &query};
    rule.from = next_line(&rest);
    rule.to = next_line(&rest);
    query.name = next_line(&rest);
    query.value = next_line(&rest);
    rule.query_count = query.name.len > 0;
    struct request req = {.method = METHOD_GET, .target = next_line(&rest)};
    struct err err;
    if (redirect_check(&rule, &err) != 0 || !is_sendable(req.target))
        return 0;
    size_t mark = str_find(req.target, '?');
    req.path = (struct str){req.target.ptr, mark};
    if (mark < req.target.len)
        req.query = str_skip(req.target, mark + 1);
    struct arena arena;
    arena_init(&arena);
    if (redirect_match(&rule, &req, &arena, &target))
        check(&rule, &req, target);
    arena_free(&arena);
    return 0;
}
