/* Webhooks as data: a scheme by its name, or a form of one's own. */
#include "options/options_webhook.h"

#include <errno.h>

#include "base/limits.h"
#include "http/headers.h"

static const char *const policy_keys[] = {"webhook", "secret", "tolerance", NULL};

/* ---- a form of one's own ---- */

/* `header`, `timestamp` or `id`: the name of a header, in lower case. */
static int read_name(struct options_reader *r, const char *key, struct str *out)
{
    struct str name = {NULL, 0};
    options_str(r, key, &name);
    if (r->rc != 0 || name.ptr == NULL)
        return r->rc;
    if (!header_name_is_valid(name))
        return options_fault(
            r, key, "'%.*s' is no header's name; write one such as \"x-signature\"", STR_ARG(name));
    *out = arena_lower(r->arena, name);
    return out->ptr != NULL ? 0 : options_no_memory(r);
}

/* What is not signed may be changed by anybody: of the body and of the time that must not be. */
static int check_signed(struct options_reader *r, const struct webhook *webhook)
{
    const struct webhook_names *names = &webhook->names[0];
    struct str rest = webhook->signed_text, piece;
    bool is_name, body = false, timestamp = false;
    unsigned count = 0;
    for (; webhook_next_piece(&rest, &piece, &is_name); count++) {
        bool is_id = is_name && str_eq(piece, STR("id"));
        bool is_body = is_name && str_eq(piece, STR("body"));
        bool is_time = is_name && str_eq(piece, STR("timestamp"));
        if (is_name && !is_id && !is_body && !is_time)
            return options_fault(r, "signed", "'{%.*s}' is not one of {body}, {timestamp}, {id}",
                                 STR_ARG(piece));
        if ((is_time && names->timestamp.len == 0) || (is_id && names->id.len == 0))
            return options_fault(r, "signed",
                                 "has {%.*s}: say in which header it comes, %.*s = \"x-%.*s\"",
                                 STR_ARG(piece), STR_ARG(piece), STR_ARG(piece));
        body = body || is_body;
        timestamp = timestamp || is_time;
    }
    if (!body)
        return options_fault(r, "signed", "must have {body} in it: nobody signed it otherwise");
    if (names->timestamp.len > 0 && !timestamp)
        return options_fault(r, "timestamp",
                             "is not signed, so anybody may change it; write signed = "
                             "\"{timestamp}.{body}\", as the sender puts them together");
    if (count > LIMIT_WEBHOOK_PIECES)
        return options_fault(r, "signed", "has more than %d pieces", LIMIT_WEBHOOK_PIECES);
    return 0;
}

static int read_choices(struct options_reader *r, struct webhook *webhook)
{
    struct str alg = STR("sha256"), encoding = STR("hex");
    options_str(r, "alg", &alg);
    options_str(r, "encoding", &encoding);
    webhook->digest = webhook_find_digest(alg);
    webhook->encoding = str_eq(encoding, STR("base64")) ? WEBHOOK_BASE64 : WEBHOOK_HEX;
    if (r->rc == 0 && webhook->digest == NULL)
        return options_fault(r, "alg", "'%.*s' is not one of sha256, sha384, sha512, sha1",
                             STR_ARG(alg));
    if (r->rc == 0 && !str_eq(encoding, STR("base64")) && !str_eq(encoding, STR("hex")))
        return options_fault(r, "encoding", "'%.*s' is not one of hex, base64", STR_ARG(encoding));
    return r->rc;
}

/* The table at the top of the stack; pops it. */
static int read_form(struct options_reader *r, struct webhook *webhook)
{
    static const char *const keys[] = {"header", "alg",       "encoding", "prefix",
                                       "signed", "timestamp", "id",       NULL};
    struct webhook_names *names = &webhook->names[0];
    *webhook = (struct webhook){.name = "custom", .signed_text = STR("{body}")};
    size_t before = options_enter(r, "webhook", 0);
    options_check_keys(r, keys);
    read_name(r, "header", &names->signature);
    if (r->rc == 0 && names->signature.len == 0)
        options_fault(r, "header", "is missing: where the signature is, header = \"x-signature\"");
    read_name(r, "timestamp", &names->timestamp);
    read_name(r, "id", &names->id);
    options_str(r, "prefix", &webhook->prefix);
    options_str(r, "signed", &webhook->signed_text);
    read_choices(r, webhook);
    if (r->rc == 0)
        check_signed(r, webhook);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

static int read_scheme(struct options_reader *r, struct webhook *webhook)
{
    struct str name;
    if (!options_get(r, "webhook"))
        return r->rc;
    if (lua_istable(r->L, -1))
        return read_form(r, webhook);
    if (lua_type(r->L, -1) != LUA_TSTRING) {
        lua_pop(r->L, 1);
        return options_fault(
            r, "webhook",
            "must be a scheme's name, or a table such as { header = \"x-signature\" }");
    }
    name.ptr = lua_tolstring(r->L, -1, &name.len);
    const struct webhook *scheme = webhook_find(name);
    if (scheme != NULL)
        *webhook = *scheme;
    else
        options_fault(
            r, "webhook",
            "'%.*s' is not one of standard, github, stripe, slack, shopify, twilio; another "
            "form is a table: { header = \"x-signature\", ... }",
            STR_ARG(name));
    lua_pop(r->L, 1);
    return r->rc;
}

/* ---- secrets ---- */

/* The text at the top of the stack; pops it. */
static int add_secret(struct options_reader *r, struct webhook *webhook)
{
    struct str text = {NULL, 0};
    bool is_text = lua_type(r->L, -1) == LUA_TSTRING;
    if (is_text)
        text.ptr = lua_tolstring(r->L, -1, &text.len);
    struct str copy = is_text ? arena_copy(r->arena, text) : text;
    lua_pop(r->L, 1);
    if (!is_text)
        return options_fault(r, "secret", "must be a text, or a list of texts");
    if (copy.ptr == NULL)
        return options_no_memory(r);
    int rc = webhook_read_secret(webhook, copy, r->arena, &webhook->secrets[webhook->secret_count]);
    webhook->secret_count += rc == 0;
    if (rc == -ENOMEM)
        return options_no_memory(r);
    if (rc != 0 && copy.len == 0)
        return options_fault(r, "secret", "must not be empty");
    if (rc != 0)
        return options_fault(
            r, "secret",
            "is none of Standard Webhooks: \"whsec_\" and at least %d bytes in base64, "
            "or \"whpk_\" and the 32 bytes of an Ed25519 key",
            LIMIT_WEBHOOK_SECRET_MIN);
    return 0;
}

static int read_secrets(struct options_reader *r, struct webhook *webhook)
{
    lua_State *L = r->L;
    if (!options_get(r, "secret"))
        return r->rc != 0
                   ? r->rc
                   : options_fault(
                         r, "secret",
                         "is missing, or its variable is not set, or none of those that this "
                         "file sees: write secret = env.WEBHOOK_SECRET, and "
                         "WEBHOOK_SECRET=... into .env");
    bool list = lua_istable(L, -1);
    if (list)
        options_check_list(r, "secret", "{ env.NEW, env.OLD }, whose variables are all set");
    size_t count = list ? (size_t)lua_rawlen(L, -1) : 1;
    if (r->rc == 0 && (count == 0 || count > LIMIT_WEBHOOK_SECRETS))
        options_fault(r, "secret", "must be 1 to %d texts", LIMIT_WEBHOOK_SECRETS);
    if (r->rc != 0)
        return r->rc;
    webhook->secrets = arena_zalloc(r->arena, count * sizeof(*webhook->secrets));
    if (webhook->secrets == NULL)
        return options_no_memory(r);
    for (size_t i = 0; r->rc == 0 && i < count; i++) {
        if (list)
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
        else
            lua_pushvalue(L, -1);
        add_secret(r, webhook);
    }
    lua_pop(L, 1);
    return r->rc;
}

/* ---- all of it ---- */

int options_read_webhook(struct options_reader *r, struct policy *policy)
{
    struct webhook *webhook = arena_zalloc(r->arena, sizeof(*webhook));
    if (webhook == NULL)
        return options_no_memory(r);
    options_check_keys(r, policy_keys);
    read_scheme(r, webhook);
    webhook->tolerance = LIMIT_WEBHOOK_WINDOW;
    options_seconds(r, "tolerance", 1, LIMIT_WEBHOOK_TOLERANCE, &webhook->tolerance);
    read_secrets(r, webhook);
    policy->kind = POLICY_WEBHOOK;
    policy->webhook = webhook;
    return r->rc;
}
