/* Attacks made from a good token: every change to it must be noticed. */
#include "auth/base64url.h"
#include "auth/token.h"
#include "cli/audit_attacks.h"

/* The three parts of a compact token, and what the first two say. */
struct parts {
    struct str header, payload, signature;
    struct str header_text, payload_text, signature_bytes;
};

static struct str decode(struct audit_plan *plan, struct str part)
{
    char *bytes = arena_alloc(plan->arena, BASE64URL_DECODED_MAX(part.len));
    size_t len;
    if (bytes == NULL || base64url_decode(part, bytes, &len) != 0)
        return (struct str){NULL, 0};
    return (struct str){bytes, len};
}

static bool split(struct audit_plan *plan, struct parts *p)
{
    struct str rest = plan->token;
    bool three = str_split_next(&rest, '.', &p->header) &&
                 str_split_next(&rest, '.', &p->payload) &&
                 str_split_next(&rest, '.', &p->signature) && rest.ptr == NULL;
    if (!three)
        return false;
    p->header_text = decode(plan, p->header);
    p->payload_text = decode(plan, p->payload);
    p->signature_bytes = decode(plan, p->signature);
    return p->header_text.len > 2 && p->payload_text.len > 2 && p->signature_bytes.len > 0;
}

/* Printed pieces, joined by dots. */
static struct str join(struct audit_plan *plan, struct str a, struct str b, struct str c)
{
    return arena_printf(plan->arena, "%.*s.%.*s.%.*s", STR_ARG(a), STR_ARG(b), STR_ARG(c));
}

/* ---- what is let in ---- */

static void add_good(struct audit_plan *plan)
{
    static const char *const schemes[] = {"Bearer", "bearer", "BEARER"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct str name = arena_printf(plan->arena, "the good token, %s", schemes[i]);
        struct attack *attack = audit_add(plan, name, plan->token);
        if (attack == NULL)
            return;
        attack->good = true;
        attack->headers[0] = arena_printf(plan->arena, "%s %.*s", schemes[i], STR_ARG(plan->token));
    }
}

/* ---- the signature ---- */

static void flip(struct audit_plan *plan, const struct parts *p, size_t at, const char *name)
{
    struct str copy = arena_copy(plan->arena, p->signature_bytes);
    if (copy.ptr == NULL)
        return;
    char *bytes = arena_alloc(plan->arena, copy.len);
    if (bytes == NULL)
        return;
    memcpy(bytes, copy.ptr, copy.len);
    bytes[at] = (char)(bytes[at] ^ 1);
    audit_add(plan, str_from(name),
              join(plan, p->header, p->payload, audit_encode(plan, (struct str){bytes, copy.len})));
}

/* Other spellings of the same bytes: unused bits of the last character, padding, the alphabet of
 * ordinary Base64. */
static void respell(struct audit_plan *plan, const struct parts *p)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct str s = p->signature;
    char *copy = arena_alloc(plan->arena, s.len + 1);
    if (copy == NULL)
        return;
    memcpy(copy, s.ptr, s.len);
    const char *last = strchr(alphabet, s.ptr[s.len - 1]);
    if (s.len % 4 != 0 && last != NULL) {
        copy[s.len - 1] = alphabet[(last - alphabet) | 1];
        audit_add(plan, STR("unused bits of the signature"),
                  join(plan, p->header, p->payload, (struct str){copy, s.len}));
        audit_add(
            plan, STR("signature padded"),
            arena_printf(plan->arena, "%.*s%s", STR_ARG(plan->token), s.len % 4 == 2 ? "==" : "="));
    }
    bool changed = false;
    for (size_t i = 0; i < s.len; i++) {
        copy[i] = s.ptr[i] == '-' ? '+' : s.ptr[i] == '_' ? '/' : s.ptr[i];
        changed = changed || copy[i] != s.ptr[i];
    }
    if (changed)
        audit_add(plan, STR("signature in ordinary Base64"),
                  join(plan, p->header, p->payload, (struct str){copy, s.len}));
}

static void change_signature(struct audit_plan *plan, const struct parts *p)
{
    struct str s = p->signature;
    flip(plan, p, 0, "first byte of the signature flipped");
    flip(plan, p, p->signature_bytes.len / 2, "middle byte of the signature flipped");
    flip(plan, p, p->signature_bytes.len - 1, "last byte of the signature flipped");
    audit_add(plan, STR("signature empty"), join(plan, p->header, p->payload, STR("")));
    audit_add(plan, STR("signature cut by 4"),
              join(plan, p->header, p->payload, (struct str){s.ptr, s.len > 4 ? s.len - 4 : 0}));
    audit_add(plan, STR("signature longer by 4"),
              arena_printf(plan->arena, "%.*sAAAA", STR_ARG(plan->token)));
    audit_add(plan, STR("no third part"),
              arena_printf(plan->arena, "%.*s.%.*s", STR_ARG(p->header), STR_ARG(p->payload)));
    char *zeros = arena_zalloc(plan->arena, p->signature_bytes.len);
    if (zeros != NULL)
        audit_add(plan, STR("signature of zeros"),
                  join(plan, p->header, p->payload,
                       audit_encode(plan, (struct str){zeros, p->signature_bytes.len})));
    respell(plan, p);
}

/* ---- header and payload ---- */

/* The object's text with a member put first or last. */
static struct str with_member(struct audit_plan *plan, struct str object, const char *member,
                              bool first)
{
    struct str inner = str_skip((struct str){object.ptr, object.len - 1}, 1);
    return first ? arena_printf(plan->arena, "{%s,%.*s}", member, STR_ARG(inner))
                 : arena_printf(plan->arena, "{%.*s,%s}", STR_ARG(inner), member);
}

static void change_header(struct audit_plan *plan, const struct parts *p)
{
    static const char *const members[] = {"\"alg\":\"none\"",  "\"alg\":\"HS256\"",
                                          "\"alg\":\"RS512\"", "\"kid\":\"x\"",
                                          "\"crit\":[\"x\"]",  "\"b64\":false",
                                          "\"typ\":\"JWE\"",   "\"jku\":\"http://127.0.0.1:9/\""};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        for (int first = 0; first < 2; first++) {
            struct str text = with_member(plan, p->header_text, members[i], first == 1);
            audit_add(plan,
                      arena_printf(plan->arena, "header: %s %s", members[i],
                                   first == 1 ? "first" : "last"),
                      join(plan, audit_encode(plan, text), p->payload, p->signature));
        }
    }
    audit_add(plan, STR("header replaced, alg none"),
              join(plan, audit_encode(plan, STR("{\"alg\":\"none\"}")), p->payload, STR("")));
    audit_add(plan, STR("space in the header"),
              join(plan,
                   audit_encode(plan, arena_printf(plan->arena, "%.*s ", STR_ARG(p->header_text))),
                   p->payload, p->signature));
}

static void change_payload(struct audit_plan *plan, const struct parts *p)
{
    static const char *const members[] = {"\"sub\":\"admin\"", "\"exp\":9999999999",
                                          "\"scope\":\"admin\"", "\"roles\":[\"admin\"]"};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        for (int first = 0; first < 2; first++) {
            struct str text = with_member(plan, p->payload_text, members[i], first == 1);
            audit_add(plan,
                      arena_printf(plan->arena, "payload: %s %s", members[i],
                                   first == 1 ? "first" : "last"),
                      join(plan, p->header, audit_encode(plan, text), p->signature));
        }
    }
    audit_add(plan, STR("space in the payload"),
              join(plan, p->header,
                   audit_encode(plan, arena_printf(plan->arena, "%.*s ", STR_ARG(p->payload_text))),
                   p->signature));
    audit_add(plan, STR("header padded"),
              arena_printf(plan->arena, "%.*s=.%.*s.%.*s", STR_ARG(p->header), STR_ARG(p->payload),
                           STR_ARG(p->signature)));
    audit_add(plan, STR("payload padded"),
              arena_printf(plan->arena, "%.*s.%.*s=.%.*s", STR_ARG(p->header), STR_ARG(p->payload),
                           STR_ARG(p->signature)));
}

/* ---- the way it is sent ---- */

static void add_pair(struct audit_plan *plan, struct str name, struct str a, struct str b)
{
    struct attack *attack = audit_add(plan, name, a);
    if (attack == NULL)
        return;
    attack->headers[1] = arena_printf(plan->arena, "Bearer %.*s", STR_ARG(b));
    attack->header_count = attack->headers[1].ptr != NULL ? 2 : 1;
}

static void change_delivery(struct audit_plan *plan)
{
    struct str t = plan->token;
    static const char *const forms[][2] = {{"Basic ", ""},    {"", ""},           {"Bearer  ", ""},
                                           {"Bearer ", " x"}, {"Bearer,", ""},    {"Bearer ", "."},
                                           {"Bearer .", ""},  {"Bearer ", ".e30"}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct attack *attack = audit_add(
            plan, arena_printf(plan->arena, "sent as '%sTOKEN%s'", forms[i][0], forms[i][1]), t);
        if (attack != NULL)
            attack->headers[0] =
                arena_printf(plan->arena, "%s%.*s%s", forms[i][0], STR_ARG(t), forms[i][1]);
    }
    audit_add(plan, STR("twice in one header"),
              arena_printf(plan->arena, "%.*s, Bearer %.*s", STR_ARG(t), STR_ARG(t)));
    add_pair(plan, STR("two headers, good first"), t, STR("junk"));
    add_pair(plan, STR("two headers, good last"), STR("junk"), t);
    add_pair(plan, STR("two headers, the same"), t, t);
    struct attack *attack = audit_add(plan, STR("in the query alone"), t);
    if (attack != NULL) {
        attack->header_count = 0;
        attack->query = arena_printf(plan->arena, "access_token=%.*s", STR_ARG(t));
    }
}

bool audit_change(struct audit_plan *plan)
{
    struct parts p;
    if (!split(plan, &p))
        return false;
    add_good(plan);
    change_signature(plan, &p);
    change_header(plan, &p);
    change_payload(plan, &p);
    change_delivery(plan);
    return true;
}
