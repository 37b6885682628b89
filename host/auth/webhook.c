/* Checking who signed a request: see webhook.h. */
#include "auth/webhook.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>

#include "auth/webhook_internal.h"
#include "base/base64.h"
#include "base/buf.h"
#include "json/strict.h"

enum {
    MAC_MAX = 64,
    ED25519_KEY = 32,
    ED25519_SIGNATURE = 64,
    SIGNATURES = 16, /* of one request: those beyond are not looked at */
    ID_MAX = 200     /* bytes of an id that are kept as they are */
};

#define NAME(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

/* ---- the schemes ---- */

static const struct webhook schemes[] = {
    {.name = "standard",
     .kind = WEBHOOK_STANDARD,
     .encoding = WEBHOOK_BASE64,
     .digest = "SHA256",
     .names = {{NAME("webhook-signature"), NAME("webhook-timestamp"), NAME("webhook-id")},
               {NAME("svix-signature"), NAME("svix-timestamp"), NAME("svix-id")}},
     .signed_text = NAME("{id}.{timestamp}.{body}")},
    {.name = "github",
     .digest = "SHA256",
     .names = {{NAME("x-hub-signature-256"), {NULL, 0}, NAME("x-github-delivery")}},
     .prefix = NAME("sha256="),
     .signed_text = NAME("{body}")},
    {.name = "stripe",
     .kind = WEBHOOK_STRIPE,
     .digest = "SHA256",
     .names = {{NAME("stripe-signature"), {NULL, 0}, {NULL, 0}}},
     .signed_text = NAME("{timestamp}.{body}")},
    {.name = "slack",
     .digest = "SHA256",
     .names = {{NAME("x-slack-signature"), NAME("x-slack-request-timestamp"), {NULL, 0}}},
     .prefix = NAME("v0="),
     .signed_text = NAME("v0:{timestamp}:{body}")},
    {.name = "shopify",
     .encoding = WEBHOOK_BASE64,
     .digest = "SHA256",
     .names = {{NAME("x-shopify-hmac-sha256"), {NULL, 0}, NAME("x-shopify-webhook-id")},
               {NAME("shopify-hmac-sha256"), {NULL, 0}, NAME("shopify-webhook-id")}},
     .signed_text = NAME("{body}")},
    {.name = "twilio",
     .kind = WEBHOOK_TWILIO,
     .encoding = WEBHOOK_BASE64,
     .digest = "SHA1",
     .names = {{NAME("x-twilio-signature"), {NULL, 0}, {NULL, 0}}}},
};

const struct webhook *webhook_find(struct str name)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (str_eq(name, str_from(schemes[i].name)))
            return &schemes[i];
    }
    return NULL;
}

const char *webhook_find_digest(struct str name)
{
    static const char *const digests[][2] = {
        {"sha1", "SHA1"}, {"sha256", "SHA256"}, {"sha384", "SHA384"}, {"sha512", "SHA512"}};
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        if (str_eq(name, str_from(digests[i][0])))
            return digests[i][1];
    }
    return NULL;
}

bool webhook_next_piece(struct str *rest, struct str *piece, bool *is_name)
{
    size_t open = str_find(*rest, '{'), close = str_find(*rest, '}');
    *is_name = open == 0 && close < rest->len;
    if (rest->len == 0)
        return false;
    size_t len = *is_name ? close + 1 : open > 0 ? open : rest->len;
    *piece = *is_name ? (struct str){rest->ptr + 1, close - 1} : (struct str){rest->ptr, len};
    *rest = str_skip(*rest, len);
    return true;
}

/* ---- secrets ---- */

/* What a text encodes, canonically and with its padding. -EINVAL where it is none, or longer than
 * `max`. */
static ptrdiff_t decode_base64(struct str text, unsigned char *out, size_t max)
{
    char bytes[BASE64_DECODED_MAX(256)];
    if (text.len == 0 || text.len % 4 != 0 || text.len > 256)
        return -EINVAL;
    ptrdiff_t len = base64_decode(text, BASE64_STANDARD, bytes, NULL);
    if (len < 0 || (size_t)len > max)
        return -EINVAL;
    memcpy(out, bytes, (size_t)len);
    return len;
}

int webhook_read_secret(const struct webhook *webhook, struct str text, struct arena *arena,
                        struct webhook_secret *out)
{
    unsigned char bytes[192];
    *out = (struct webhook_secret){.key = text};
    if (text.len == 0 || webhook->kind != WEBHOOK_STANDARD)
        return text.len > 0 ? 0 : -EINVAL;
    out->is_ed25519 = str_starts_with(text, STR("whpk_"));
    if (out->is_ed25519 || str_starts_with(text, STR("whsec_")))
        text = str_skip(text, out->is_ed25519 ? 5 : 6);
    ptrdiff_t len = decode_base64(text, bytes, sizeof(bytes));
    if (len < (out->is_ed25519 ? ED25519_KEY : LIMIT_WEBHOOK_SECRET_MIN) ||
        (out->is_ed25519 && len != ED25519_KEY))
        return -EINVAL;
    out->key = arena_copy(arena, (struct str){(const char *)bytes, (size_t)len});
    return out->key.ptr != NULL ? 0 : -ENOMEM;
}

/* ---- what the head brings ---- */

struct given {
    struct str text; /* still encoded */
    bool is_ed25519;
};

struct parts {
    struct given signatures[SIGNATURES];
    unsigned count;
    struct str timestamp, id; /* ptr NULL: the scheme has none, or of the id: none came */
    double time;              /* of the timestamp */
};

/* The only field of that name. False: there is none, or there are several. */
static bool read_one(const struct request *req, struct str name, struct str *out)
{
    bool many;
    const struct str *value = headers_get_single(&req->headers, name, &many);
    if (value != NULL)
        *out = *value;
    return value != NULL;
}

static void add_signature(struct parts *parts, struct str text, bool is_ed25519)
{
    if (parts->count < SIGNATURES)
        parts->signatures[parts->count++] = (struct given){text, is_ed25519};
}

static bool read_time(struct parts *parts)
{
    uint64_t seconds;
    if (str_to_u64(parts->timestamp, (uint64_t)LIMIT_DATE_MAX, &seconds) != 0)
        return false;
    parts->time = (double)seconds;
    return true;
}

/* "v1,BASE64 v1a,BASE64": versions that nobody here knows are passed over. */
static void read_list(struct str value, struct parts *parts)
{
    struct str item;
    while (str_split_next(&value, ' ', &item)) {
        if (str_starts_with(item, STR("v1,")))
            add_signature(parts, str_skip(item, 3), false);
        else if (str_starts_with(item, STR("v1a,")))
            add_signature(parts, str_skip(item, 4), true);
    }
}

/* "t=SECONDS,v1=HEX,v1=HEX,v0=HEX": one t. */
static bool read_stripe(struct str value, struct parts *parts)
{
    struct str item;
    while (str_split_next(&value, ',', &item)) {
        if (str_starts_with(item, STR("v1=")))
            add_signature(parts, str_skip(item, 3), false);
        if (!str_starts_with(item, STR("t=")))
            continue;
        if (parts->timestamp.ptr != NULL)
            return false;
        parts->timestamp = str_skip(item, 2);
    }
    return parts->timestamp.ptr != NULL;
}

static const struct webhook_names *names_of(const struct webhook *webhook,
                                            const struct request *req)
{
    const struct webhook_names *other = &webhook->names[1];
    bool is_other = other->signature.len > 0 &&
                    headers_get(&req->headers, webhook->names[0].signature) == NULL &&
                    headers_get(&req->headers, other->signature) != NULL;
    return is_other ? other : &webhook->names[0];
}

static bool needs_id(const struct webhook *webhook)
{
    return str_find_text(webhook->signed_text, STR("{id}")) < webhook->signed_text.len;
}

/* The id may be missing where it is not signed; two are never one. */
static bool read_id(const struct webhook *webhook, const struct request *req, struct str name,
                    struct parts *parts)
{
    if (name.len == 0)
        return true;
    bool one = read_one(req, name, &parts->id);
    if (!needs_id(webhook))
        return one || headers_get(&req->headers, name) == NULL;
    /* With a dot in it, another id and another time would make the same text. */
    return one && parts->id.len > 0 &&
           (webhook->kind != WEBHOOK_STANDARD || str_find(parts->id, '.') == parts->id.len);
}

static bool read_parts(const struct webhook *webhook, const struct request *req,
                       struct parts *parts)
{
    const struct webhook_names *names = names_of(webhook, req);
    struct str value;
    *parts = (struct parts){.count = 0};
    if (!read_one(req, names->signature, &value) || !read_id(webhook, req, names->id, parts) ||
        (names->timestamp.len > 0 && !read_one(req, names->timestamp, &parts->timestamp)))
        return false;
    if (webhook->kind == WEBHOOK_STANDARD)
        read_list(value, parts);
    else if (webhook->kind != WEBHOOK_STRIPE && str_starts_with(value, webhook->prefix))
        add_signature(parts, str_skip(value, webhook->prefix.len), false);
    else if (webhook->kind == WEBHOOK_STRIPE && !read_stripe(value, parts))
        return false;
    return parts->count > 0 && (parts->timestamp.ptr == NULL || read_time(parts));
}

enum webhook_result webhook_check_head(const struct webhook *webhook, const struct request *req)
{
    struct parts parts;
    return read_parts(webhook, req, &parts) ? WEBHOOK_GOOD : WEBHOOK_INVALID;
}

/* ---- what was signed ---- */

static void fill(const struct webhook *webhook, const struct request *req,
                 const struct parts *parts, struct webhook_message *out)
{
    struct str rest = webhook->signed_text, piece;
    bool is_name;
    out->count = 0;
    while (webhook_next_piece(&rest, &piece, &is_name)) {
        if (!is_name)
            webhook_add_piece(out, piece);
        else if (str_eq(piece, STR("body")))
            webhook_add_piece(out, req->body);
        else
            webhook_add_piece(out, str_eq(piece, STR("id")) ? parts->id : parts->timestamp);
    }
}

/* With a key of its own for webhooks, Twilio says so and signs with SHA-256. */
static const char *digest_of(const struct webhook *webhook, const struct request *req)
{
    const struct str *settings =
        headers_get(&req->headers, STR("x-twilio-webhooks-signature-settings"));
    bool newer = webhook->kind == WEBHOOK_TWILIO && settings != NULL &&
                 str_find_text(*settings, STR("algorithm=HMAC_SHA256")) < settings->len;
    return newer ? "SHA256" : webhook->digest;
}

/* ---- signatures ---- */

/* Writes the MAC; false when out of memory. */
static bool mac_of(const char *digest, struct str key, const struct webhook_message *message,
                   unsigned char out[MAC_MAX], size_t *len)
{
    char name[16];
    snprintf(name, sizeof(name), "%s", digest);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", name, 0),
                                 OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
    bool good =
        ctx != NULL && EVP_MAC_init(ctx, (const unsigned char *)key.ptr, key.len, params) == 1;
    for (unsigned i = 0; good && i < message->count; i++)
        good = message->pieces[i].len == 0 ||
               EVP_MAC_update(ctx, (const unsigned char *)message->pieces[i].ptr,
                              message->pieces[i].len) == 1;
    good = good && EVP_MAC_final(ctx, out, len, MAC_MAX) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return good;
}

/* Small letters alone, as all senders write. */
static ptrdiff_t decode_hex(struct str text, unsigned char out[MAC_MAX])
{
    if (text.len == 0 || text.len % 2 != 0 || text.len > 2 * (size_t)MAC_MAX)
        return -EINVAL;
    for (size_t i = 0; i < text.len; i++) {
        int value = str_hex_value(text.ptr[i]);
        if (value < 0 || (text.ptr[i] >= 'A' && text.ptr[i] <= 'F'))
            return -EINVAL;
        out[i / 2] = (unsigned char)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    return (ptrdiff_t)(text.len / 2);
}

static ptrdiff_t decode(const struct webhook *webhook, struct str text, unsigned char out[MAC_MAX])
{
    return webhook->encoding == WEBHOOK_HEX ? decode_hex(text, out)
                                            : decode_base64(text, out, MAC_MAX);
}

/* Where the search stands: every secret is tried, whatever the others said. */
struct search {
    const struct webhook *webhook;
    const char *digest;
    const struct parts *parts;
    unsigned char given[SIGNATURES][MAC_MAX];
    ptrdiff_t given_len[SIGNATURES];
    bool found, out_of_memory;
    char hex[2 * MAC_MAX + 1]; /* what was found */
};

static void find_mac(struct search *s, struct str key, const struct webhook_message *message)
{
    unsigned char mac[MAC_MAX];
    size_t len = 0;
    if (!mac_of(s->digest, key, message, mac, &len)) {
        s->out_of_memory = true;
        return;
    }
    for (unsigned i = 0; i < s->parts->count; i++) {
        if (s->parts->signatures[i].is_ed25519 || s->given_len[i] != (ptrdiff_t)len ||
            CRYPTO_memcmp(s->given[i], mac, len) != 0)
            continue;
        s->found = true;
        str_write_hex(mac, len, s->hex);
    }
}

static void find_ed25519(struct search *s, struct str key, const struct webhook_message *message)
{
    struct buf text = BUF_INIT;
    for (unsigned i = 0; i < message->count; i++)
        buf_add_str(&text, message->pieces[i]);
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL,
                                                 (const unsigned char *)key.ptr, key.len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    s->out_of_memory = s->out_of_memory || buf_failed(&text) || ctx == NULL || pkey == NULL;
    for (unsigned i = 0; i < s->parts->count && !s->out_of_memory; i++) {
        if (!s->parts->signatures[i].is_ed25519 || s->given_len[i] != ED25519_SIGNATURE ||
            EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) != 1 ||
            EVP_DigestVerify(ctx, s->given[i], ED25519_SIGNATURE, (const unsigned char *)text.data,
                             text.len) != 1)
            continue;
        s->found = true;
        str_write_hex(s->given[i], ED25519_SIGNATURE, s->hex);
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    buf_free(&text);
}

static void try_secrets(struct search *s, const struct webhook_message *message)
{
    for (unsigned i = 0; i < s->webhook->secret_count; i++) {
        const struct webhook_secret *secret = &s->webhook->secrets[i];
        if (secret->is_ed25519)
            find_ed25519(s, secret->key, message);
        else
            find_mac(s, secret->key, message);
    }
}

/* 0, or -EINVAL: nothing could have signed that, or -ENOMEM. */
static int search(struct search *s, const struct request *req, struct arena *arena)
{
    struct webhook_message message;
    struct str fields;
    int rc = 0;
    for (unsigned i = 0; i < s->parts->count; i++)
        s->given_len[i] = decode(s->webhook, s->parts->signatures[i].text, s->given[i]);
    if (s->webhook->kind != WEBHOOK_TWILIO) {
        fill(s->webhook, req, s->parts, &message);
        try_secrets(s, &message);
    } else if (webhook_twilio_fields(req, arena, &fields, &rc)) {
        for (int other = 0; other <= 1; other++) {
            webhook_twilio_fill(req, fields, other == 1, &message);
            try_secrets(s, &message);
        }
    }
    return s->out_of_memory ? -ENOMEM : rc;
}

/* ---- the delivery ---- */

/* The member `id` of Stripe's body, which is signed by now. */
static bool read_json_id(struct str body, struct arena *arena, struct str *out)
{
    if (body.len == 0 || body.len > LIMIT_WEBHOOK_JSON)
        return true;
    json_t *value = strict_json_watched(body, 0, NULL);
    if (value == NULL && errno == ENOMEM)
        return false;
    const json_t *id = json_object_get(value, "id");
    if (json_is_string(id) && json_string_length(id) > 0)
        *out = arena_copy(arena, (struct str){json_string_value(id), json_string_length(id)});
    bool good = !json_is_string(id) || out->ptr != NULL || json_string_length(id) == 0;
    json_decref(value);
    return good;
}

static enum webhook_result name_delivery(const struct search *s, const struct request *req,
                                         struct arena *arena, double now,
                                         struct webhook_delivery *out)
{
    double from = s->parts->timestamp.ptr != NULL && s->parts->time > now ? s->parts->time : now;
    *out = (struct webhook_delivery){.id = s->parts->id, .until = from + s->webhook->tolerance};
    if (s->webhook->kind == WEBHOOK_STRIPE && !read_json_id(req->body, arena, &out->id))
        return WEBHOOK_MEMORY;
    char hash[WEBHOOK_HASH_HEX];
    if (out->id.len > ID_MAX)
        webhook_write_hash(out->id, hash);
    if (out->id.len == 0 || out->id.len > ID_MAX)
        out->id = arena_copy(arena, str_from(out->id.len == 0 ? s->hex : hash));
    return out->id.ptr != NULL ? WEBHOOK_GOOD : WEBHOOK_MEMORY;
}

enum webhook_result webhook_check(const struct webhook *webhook, const struct request *req,
                                  struct arena *arena, double now, struct webhook_delivery *out)
{
    struct parts parts;
    if (!read_parts(webhook, req, &parts))
        return WEBHOOK_INVALID;
    struct search s = {
        .webhook = webhook, .digest = digest_of(webhook, req), .parts = &parts, .found = false};
    if (search(&s, req, arena) != 0)
        return WEBHOOK_MEMORY;
    if (!s.found)
        return WEBHOOK_INVALID;
    if (parts.timestamp.ptr != NULL && fabs(floor(now) - parts.time) > webhook->tolerance)
        return WEBHOOK_STALE;
    return name_delivery(&s, req, arena, now, out);
}

/* ---- signing ---- */

static int add_header(struct request *req, struct arena *arena, struct str name, struct str value)
{
    if (name.len == 0)
        return 0;
    return value.ptr != NULL ? headers_set(&req->headers, arena, name, value) : -ENOMEM;
}

static struct str encode(const struct webhook *webhook, struct arena *arena,
                         const unsigned char *mac, size_t len)
{
    char text[2 * MAC_MAX + 1];
    if (webhook->encoding == WEBHOOK_HEX) {
        str_write_hex(mac, len, text);
        return arena_copy(arena, str_from(text));
    }
    size_t text_len = base64_encode((struct str){(const char *)mac, len}, BASE64_STANDARD, text);
    return arena_copy(arena, (struct str){text, text_len});
}

static struct str signature_value(const struct webhook *webhook, struct arena *arena,
                                  const struct parts *parts, struct str signature)
{
    if (webhook->kind == WEBHOOK_STRIPE)
        return arena_printf(arena, "t=%.*s,v1=%.*s", STR_ARG(parts->timestamp), STR_ARG(signature));
    return arena_printf(arena, "%.*s%.*s",
                        STR_ARG(webhook->kind == WEBHOOK_STANDARD ? STR("v1,") : webhook->prefix),
                        STR_ARG(signature));
}

int webhook_sign(const struct webhook *webhook, struct request *req, struct arena *arena,
                 double now, struct str id)
{
    const struct webhook_names *names = &webhook->names[0];
    struct parts parts = {.timestamp = arena_printf(arena, "%.0f", floor(now)), .id = id};
    struct webhook_message message;
    struct str fields;
    unsigned char mac[MAC_MAX];
    size_t len = 0;
    int rc = 0;
    if (webhook->secrets[0].is_ed25519)
        return -ENOTSUP;
    if (webhook->kind != WEBHOOK_TWILIO)
        fill(webhook, req, &parts, &message);
    else if (webhook_twilio_fields(req, arena, &fields, &rc))
        webhook_twilio_fill(req, fields, false, &message);
    else
        return rc != 0 ? rc : -ENOTSUP;
    if (parts.timestamp.ptr == NULL ||
        !mac_of(digest_of(webhook, req), webhook->secrets[0].key, &message, mac, &len))
        return -ENOMEM;
    struct str signature = encode(webhook, arena, mac, len);
    if (signature.ptr == NULL)
        return -ENOMEM;
    rc = add_header(req, arena, names->signature,
                    signature_value(webhook, arena, &parts, signature));
    if (rc == 0)
        rc = add_header(req, arena, names->timestamp, parts.timestamp);
    return rc == 0 ? add_header(req, arena, names->id, id) : rc;
}
