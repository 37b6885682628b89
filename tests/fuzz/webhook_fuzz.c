/* Headers and bodies of webhooks: whatever comes, nobody gets in without the secret; what is signed
 * with it does, and not any more when something is added.
 *
 * Lines: the scheme's number, signature, timestamp, id, content type, target; the rest is the body.
 */
#include "fuzz.h"

#include "auth/webhook.h"

static const char *const schemes[] = {"standard", "github", "stripe", "slack", "shopify", "twilio"};
enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

static struct webhook_secret secret = {.key = {"a key that no input has: 8d3f2ab07c4e", 37}};

static void add(struct request *req, struct arena *arena, struct str name, struct str value)
{
    if (name.len > 0 && value.len > 0 && header_value_is_valid(value))
        require(headers_add(&req->headers, arena, name, value) == 0, "memory");
}

static struct request read_request(const struct webhook *webhook, struct arena *arena,
                                   struct str rest)
{
    const struct webhook_names *names = &webhook->names[0];
    struct request req = {.scheme = STR("https"), .host = STR("hooks.example")};
    add(&req, arena, names->signature, next_line(&rest));
    add(&req, arena, names->timestamp, next_line(&rest));
    add(&req, arena, names->id, next_line(&rest));
    add(&req, arena, STR("content-type"), next_line(&rest));
    req.target = next_line(&rest);
    size_t mark = str_find(req.target, '?');
    req.query = mark < req.target.len ? str_skip(req.target, mark + 1) : STR("");
    req.body = rest;
    return req;
}

/* The sender's own, over whatever body there is. */
static void check_signed(const struct webhook *webhook, struct request *req, struct arena *arena,
                         struct str junk)
{
    struct webhook_delivery delivery;
    if (webhook_sign(webhook, req, arena, 1767225600, STR("id-1")) != 0)
        return;
    require(webhook_check_head(webhook, req) == WEBHOOK_GOOD, "a head that was signed is good");
    require(webhook_check(webhook, req, arena, 1767225600, &delivery) == WEBHOOK_GOOD,
            "what was signed is good");
    require(delivery.id.len > 0 && delivery.until > 1767225600, "a delivery has a name");
    add(req, arena, webhook->names[0].signature, junk.len > 0 ? junk : STR("x"));
    if (headers_count(&req->headers, webhook->names[0].signature) == 2)
        require(webhook_check(webhook, req, arena, 1767225600, &delivery) == WEBHOOK_INVALID,
                "two signatures are none");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct webhook_delivery delivery;
    struct str rest = whole_input(data, size), first = next_line(&rest), line = rest;
    if (first.len == 0 || size > 16 * 1024)
        return 0;
    struct webhook webhook =
        *webhook_find(str_from(schemes[(unsigned char)first.ptr[0] % SCHEMES]));
    webhook.secrets = &secret;
    webhook.secret_count = 1;
    webhook.tolerance = 1e12;
    arena_init(&arena);
    struct request req = read_request(&webhook, &arena, rest);
    enum webhook_result head = webhook_check_head(&webhook, &req);
    enum webhook_result result = webhook_check(&webhook, &req, &arena, 1767225600, &delivery);
    require(result == WEBHOOK_INVALID, "nobody gets in without the secret");
    require(head == WEBHOOK_GOOD || head == WEBHOOK_INVALID, "a head has two verdicts");
    check_signed(&webhook, &req, &arena, next_line(&line));
    arena_free(&arena);
    return 0;
}
