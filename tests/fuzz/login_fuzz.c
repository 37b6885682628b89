/* Cookies of any form, and any text under the right key: none of ours is left in the request,
 * others stay as they are, and what opens has a name and has not ended. */
#include "app/login.h"
#include "fuzz.h"

#define OURS "__Host-luafn"

static struct str secrets[] = {{"a secret of thirty-two bytes, or so", 35}};
static struct verifier_spec issuers[] = {{.verifier = {.issuer = {"i", 1}}}};
static const struct config host = {.issuers = issuers,
                                   .issuer_count = 1,
                                   .login = {.on = true, .secrets = secrets, .secret_count = 1}};

/* Cookies of that kind, over all fields. */
static unsigned count(const struct headers *headers, bool ours)
{
    unsigned found = 0;
    for (uint32_t i = 0; i < headers->len; i++) {
        struct str rest = headers->items[i].value, piece;
        while (str_split_next(&rest, ';', &piece)) {
            piece = str_trim(piece);
            found += piece.len > 0 && str_starts_with(piece, STR(OURS)) == ours;
        }
    }
    return found;
}

static void check_cookies(struct exchange *ex)
{
    const struct headers *headers = &ex->req.headers;
    unsigned others = count(headers, false);
    struct str sealed, again;
    require(login_take(ex, &sealed) == 0, "memory");
    require(count(headers, true) == 0, "ours are taken");
    require(count(headers, false) == others, "others stay");
    require_sendable(headers);
    require(login_take(ex, &again) == 0 && again.ptr == NULL, "once");
    struct login_session s;
    require(sealed.ptr == NULL || login_open(&host, &ex->arena, LOGIN_COOKIE, sealed, 0, &s) != 0,
            "nobody seals but the host");
}

static void check_sealed(struct exchange *ex, struct str text)
{
    struct str sealed, back;
    struct login_session s;
    require(login_seal_text(&host, &ex->arena, LOGIN_COOKIE, text, &sealed) == 0, "memory");
    require(login_open_text(&host, &ex->arena, LOGIN_COOKIE, sealed, &back) == 0, "it opens");
    require(str_eq(back, text), "it is the same");
    if (login_open(&host, &ex->arena, LOGIN_COOKIE, sealed, 1, &s) != 0)
        return;
    require(s.id.len > 0 && s.expires > 1, "it has a name, and has not ended");
    require(login_seal(&host, &ex->arena, LOGIN_STORE, &s, &sealed) == 0, "it can be sealed again");
}

/* Two lines of cookies; the rest is sealed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct exchange_sink sink = {0};
    struct str rest = whole_input(data, size);
    struct exchange *ex = exchange_new(&sink, NULL);
    require(ex != NULL, "memory");
    for (int i = 0; i < 2; i++) {
        struct str line = next_line(&rest);
        if (line.len > 0 && header_value_is_valid(line))
            require(headers_add(&ex->req.headers, &ex->arena, STR("cookie"), line) == 0, "memory");
    }
    check_cookies(ex);
    if (rest.len > 0) /* nothing is sealed as nothing */
        check_sealed(ex, rest);
    exchange_release(ex);
    return 0;
}
