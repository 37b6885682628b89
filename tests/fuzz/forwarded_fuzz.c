/* Any bytes as what a client says of itself, and behind it what its proxy adds, in the same line or
 * in one of its own: the client is whom the proxy names, whatever stands in front. */
#include "fuzz.h"
#include "http/forwarded.h"

static struct str client_of(struct arena *arena, enum forwarded_by by, struct str lines[2])
{
    struct network trusted;
    require(forwarded_parse_network(STR("127.0.0.1"), &trusted), "a network");
    struct proxies proxies = {.from = &trusted, .from_count = 1, .header = by, .trust_host = true};
    struct request req = {.client_ip = STR("127.0.0.1"), .scheme = STR("http"), .host = STR("own")};
    struct str name = by == FORWARDED_BY_X ? STR("x-forwarded-for") : STR("forwarded");
    for (unsigned i = 0; i < 2 && lines[i].ptr != NULL; i++)
        require(headers_add(&req.headers, arena, name, lines[i]) == 0, "memory");
    require(forwarded_apply(&proxies, &req, arena) == 0, "memory");
    require(str_eq(req.scheme, STR("http")) || str_eq(req.scheme, STR("https")), "a scheme");
    return req.client_ip;
}

static void check(struct arena *arena, enum forwarded_by by, struct str claim, const char *added)
{
    struct str one = arena_printf(arena, "%.*s, %s", STR_ARG(claim), added);
    struct str same[2] = {one, {NULL, 0}}, own[2] = {claim, str_from(added)};
    struct str alone[2] = {claim, {NULL, 0}};
    struct network network;
    require(str_eq(client_of(arena, by, same), STR("192.0.2.1")), "in one line");
    require(str_eq(client_of(arena, by, own), STR("192.0.2.1")), "in a line of its own");
    require(forwarded_parse_network(client_of(arena, by, alone), &network), "an address");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct str claim = whole_input(data, size);
    if (claim.len > 512 || !header_value_is_valid(claim) || str_count(claim, ',') > 20)
        return 0;
    arena_init(&arena);
    check(&arena, FORWARDED_BY_X, claim, "192.0.2.1");
    check(&arena, FORWARDED_BY_RFC7239, claim, "for=192.0.2.1");
    check(&arena, FORWARDED_BY_RFC7239, claim, "for=\"192.0.2.1:80\";by=\"[::1]\"");
    check(&arena, FORWARDED_BY_RFC7239, claim, "by=\"_a,b\";for=192.0.2.1;proto=https");
    arena_free(&arena);
    return 0;
}
