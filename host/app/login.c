/* Sessions in cookies. */
#include "app/login.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sealed.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/limits.h"
#include "client/client_rules.h"
#include "http/target.h"
#include "json/strict.h"
#include "shared/nonce_secret.h"
#include "shared/revocations.h"

#define NAME   "__Host-luafn"
#define ISSUER "luafn session" /* of what is revoked here */

enum { RENEW_BEFORE = 30 /* seconds */ };

/* ---- cookies ---- */

struct walk {
    const struct headers *headers;
    uint32_t next;
    struct str rest;
};

/* All cookies of all fields. */
static bool next_cookie(struct walk *w, struct str *name, struct str *value)
{
    struct str piece;
    for (;;) {
        while (w->rest.ptr == NULL) {
            if (w->next == w->headers->len)
                return false;
            const struct header *field = &w->headers->items[w->next++];
            if (str_eq(field->name, STR("cookie")))
                w->rest = field->value;
        }
        if (!str_split_next(&w->rest, ';', &piece))
            continue;
        piece = str_trim(piece);
        size_t equals = str_find(piece, '=');
        if (equals == piece.len)
            continue;
        *name = (struct str){piece.ptr, equals};
        *value = str_skip(piece, equals + 1);
        return true;
    }
}

struct str login_cookie(const struct exchange *ex, struct str wanted)
{
    struct walk w = {.headers = &ex->req.headers};
    struct str found = {NULL, 0}, name, value;
    while (next_cookie(&w, &name, &value)) {
        if (!str_eq(name, wanted))
            continue;
        if (found.ptr != NULL)
            return (struct str){NULL, 0};
        found = value;
    }
    return found;
}

/* The field's value without our cookies. */
static struct str without_ours(struct exchange *ex, struct str field)
{
    char *out = arena_alloc(&ex->arena, field.len + str_count(field, ';') + 1); /* "; " for each */
    size_t len = 0;
    struct str piece;
    if (out == NULL)
        return (struct str){NULL, 0};
    while (str_split_next(&field, ';', &piece)) {
        piece = str_trim(piece);
        if (str_starts_with(piece, STR(NAME)) || piece.len == 0)
            continue;
        if (len > 0) {
            memcpy(out + len, "; ", 2);
            len += 2;
        }
        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
    }
    return (struct str){out, len};
}

int login_take(struct exchange *ex, struct str *sealed)
{
    struct headers *headers = &ex->req.headers;
    uint32_t kept = 0;
    *sealed = login_cookie(ex, STR(NAME));
    for (uint32_t i = 0; i < headers->len; i++) {
        struct header field = headers->items[i];
        bool ours = str_eq(field.name, STR("cookie")) &&
                    str_find_text(field.value, STR(NAME)) < field.value.len;
        if (ours)
            field.value = without_ours(ex, field.value);
        if (ours && field.value.ptr == NULL)
            return -ENOMEM;
        if (!ours || field.value.len > 0)
            headers->items[kept++] = field;
    }
    headers->len = kept;
    return 0;
}

static struct str cookie_text(struct arena *arena, struct str name, struct str value, int age)
{
    struct str text = arena_printf(arena, "%.*s=%.*s; Path=/; Secure; HttpOnly; SameSite=Lax",
                                   STR_ARG(name), STR_ARG(value));
    return text.ptr != NULL && age >= 0
               ? arena_printf(arena, "%.*s; Max-Age=%d", STR_ARG(text), age)
               : text;
}

int login_set_cookie(struct exchange *ex, struct str name, struct str value, int age)
{
    struct str text = cookie_text(&ex->arena, name, value, age);
    return text.ptr != NULL ? headers_add(&ex->res.headers, &ex->arena, STR("Set-Cookie"), text)
                            : -ENOMEM;
}

int login_give(struct exchange *ex, struct str sealed)
{
    ex->session_cookie = sealed.len > 0 ? cookie_text(&ex->arena, STR(NAME), sealed, -1)
                                        : cookie_text(&ex->arena, STR(NAME), STR(""), 0);
    return ex->session_cookie.ptr != NULL ? 0 : -ENOMEM;
}

/* ---- what is in them ---- */

struct str login_issuer(const struct config *config)
{
    return config->issuers[config->login.issuer].verifier.issuer;
}

const struct str *login_secrets(const struct config_login *login, unsigned *count)
{
    static struct str own;
    if (login->secret_count > 0) {
        *count = login->secret_count;
        return login->secrets;
    }
    own = nonce_secret_get();
    *count = 1;
    return &own;
}

/* `exp` of the token, or 0. */
static double end_of(struct str text)
{
    struct token token;
    if (token_parse(text, &token) != 0)
        return 0;
    double ends = json_number_value(json_object_get(token.claims, "exp"));
    token_clear(&token);
    return ends;
}

/* Renewed a little before its end, so that no request fails on its way. */
void login_set_times(struct login_session *s, double life)
{
    double now = clock_now(), ends = end_of(s->token);
    s->token_ends = now + (life > 0 ? life : LIMIT_LOGIN_TOKEN);
    if (ends > 0 && ends < s->token_ends)
        s->token_ends = ends;
    double third = (s->token_ends - now) / 3;
    s->renew = s->token_ends - (third < RENEW_BEFORE ? third : RENEW_BEFORE);
}

static const char *const purposes[] = {"session", "session in the store", "renewal", "sign-in"};

int login_seal_text(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str text, struct str *sealed)
{
    unsigned count;
    struct buf out = BUF_INIT;
    int rc = sealed_write(login_secrets(&config->login, &count)[0], purposes[purpose], text, &out);
    *sealed = rc == 0 ? arena_copy(arena, buf_str(&out)) : (struct str){NULL, 0};
    buf_free(&out);
    return rc == 0 && sealed->ptr == NULL ? -ENOMEM : rc;
}

int login_open_text(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str sealed, struct str *text)
{
    unsigned count;
    struct buf out = BUF_INIT;
    const struct str *secrets = login_secrets(&config->login, &count);
    int rc =
        sealed.len > 0 ? sealed_read(secrets, count, purposes[purpose], sealed, &out) : -ENOENT;
    *text = rc == 0 ? arena_copy(arena, buf_str(&out)) : (struct str){NULL, 0};
    buf_free(&out);
    return rc == -EBADMSG ? -ENOENT : rc == 0 && text->ptr == NULL ? -ENOMEM : rc;
}

int login_seal_json(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    const json_t *json, struct str *sealed)
{
    size_t len = json != NULL ? json_dumpb(json, NULL, 0, JSON_COMPACT) : 0;
    char *text = len > 0 ? arena_alloc(arena, len) : NULL;
    *sealed = (struct str){NULL, 0};
    if (text == NULL || json_dumpb(json, text, len, JSON_COMPACT) != len)
        return -ENOMEM;
    return login_seal_text(config, arena, purpose, (struct str){text, len}, sealed);
}

/* It was made here, so that it is JSON. */
int login_open_json(const struct config *config, struct arena *arena, enum login_purpose purpose,
                    struct str sealed, json_t **json)
{
    struct str text;
    int rc = login_open_text(config, arena, purpose, sealed, &text);
    *json = rc == 0 ? strict_json_watched(text, 0, NULL) : NULL;
    return rc == 0 && *json == NULL ? -ENOMEM : rc;
}

static int seal(const struct config *config, struct arena *arena, enum login_purpose purpose,
                const struct login_session *s, struct str *sealed)
{
    struct str issuer = login_issuer(config);
    json_t *json = json_pack(
        "{s:s%,s:s%,s:s%,s:s%,s:s%,s:s%,s:s%,s:s%,s:f,s:f,s:f,s:f}", "iss", issuer.ptr, issuer.len,
        "id", s->id.ptr, s->id.len, "sid", s->sid.ptr, s->sid.len, "sub", s->sub.ptr, s->sub.len,
        "hint", s->hint.ptr, s->hint.len, "token", s->token.ptr, s->token.len, "refresh",
        s->refresh.ptr, s->refresh.len, "endpoint", s->endpoint.ptr, s->endpoint.len, "since",
        s->signed_in, "until", s->expires, "good", s->token_ends, "renew", s->renew);
    int rc = login_seal_json(config, arena, purpose, json, sealed);
    json_decref(json);
    return rc;
}

int login_seal(const struct config *config, struct arena *arena, enum login_purpose purpose,
               const struct login_session *s, struct str *sealed)
{
    struct login_session bare = *s;
    struct str less;
    bare.hint = STR("");
    int rc = seal(config, arena, purpose, s, sealed);
    if (rc != 0 || purpose != LOGIN_COOKIE || sealed->len <= LOGIN_COOKIE_BYTES || s->hint.len == 0)
        return rc;
    rc = seal(config, arena, purpose, &bare, &less);
    if (rc == 0 && less.len <= LOGIN_COOKIE_BYTES)
        *sealed = less;
    return rc;
}

struct str login_text(struct arena *arena, const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    return arena_copy(arena, json_is_string(value)
                                 ? (struct str){json_string_value(value), json_string_length(value)}
                                 : STR(""));
}

bool login_is_text(const json_t *json, const char *name, struct str wanted)
{
    const json_t *value = json_object_get(json, name);
    return json_is_string(value) &&
           str_eq((struct str){json_string_value(value), json_string_length(value)}, wanted);
}

static double number_of(const json_t *json, const char *name)
{
    return json_number_value(json_object_get(json, name));
}

struct revocation login_revocation(struct str id, double now)
{
    return revocations_make(REVOCATION_JTI, STR(ISSUER), id, REVOCATION_ALWAYS, now);
}

static bool is_named(enum revocation_kind kind, struct str issuer, struct str id, double since,
                     double now)
{
    uint64_t name = revocations_id(kind, id);
    return id.len > 0 && (revocations_match(name, since, now) ||
                          revocations_match(name ^ revocations_issuer(issuer), since, now));
}

/* While nobody knows what was revoked, nor does who judges its token: that is a 503. */
static bool was_ended(const struct login_session *s, struct str issuer, double now)
{
    uint64_t generation = revocations_generation();
    return generation != 0 && generation != UINT64_MAX &&
           (revocations_match(revocations_id(REVOCATION_JTI, s->id) ^
                                  revocations_issuer(STR(ISSUER)),
                              s->signed_in, now) ||
            is_named(REVOCATION_SID, issuer, s->sid, s->signed_in, now) ||
            is_named(REVOCATION_SUB, issuer, s->sub, s->signed_in, now));
}

static bool is_whole(const struct login_session *s)
{
    return s->token.ptr != NULL && s->refresh.ptr != NULL && s->endpoint.ptr != NULL &&
           s->id.ptr != NULL && s->sid.ptr != NULL && s->sub.ptr != NULL && s->hint.ptr != NULL;
}

int login_open(const struct config *config, struct arena *arena, enum login_purpose purpose,
               struct str sealed, double now, struct login_session *s)
{
    json_t *json;
    struct str issuer = login_issuer(config);
    int rc = login_open_json(config, arena, purpose, sealed, &json);
    if (rc != 0)
        return rc;
    *s = (struct login_session){
        .token = login_text(arena, json, "token"),
        .refresh = login_text(arena, json, "refresh"),
        .endpoint = login_text(arena, json, "endpoint"),
        .id = login_text(arena, json, "id"),
        .sid = login_text(arena, json, "sid"),
        .sub = login_text(arena, json, "sub"),
        .hint = login_text(arena, json, "hint"),
        .signed_in = number_of(json, "since"),
        .expires = number_of(json, "until"),
        .token_ends = number_of(json, "good"),
        .renew = number_of(json, "renew"),
    };
    bool whole = is_whole(s);
    bool good = whole && login_is_text(json, "iss", issuer) && s->id.len > 0 && now < s->expires &&
                !was_ended(s, issuer, now);
    json_decref(json);
    return good ? 0 : whole ? -ENOENT : -ENOMEM;
}

/* ---- who asks ---- */

bool login_is_same_origin(const struct exchange *ex, bool silent)
{
    const struct request *req = &ex->req;
    const struct str *site = headers_get(&req->headers, STR("sec-fetch-site"));
    const struct str *origin = headers_get(&req->headers, STR("origin"));
    if (site != NULL && !str_eq(*site, STR("same-origin")) && !str_eq(*site, STR("none")))
        return false;
    if (origin == NULL)
        return site != NULL || silent;
    size_t scheme = str_find(*origin, ':');
    return str_eq((struct str){origin->ptr, scheme}, req->scheme) &&
           str_starts_with(str_skip(*origin, scheme), STR("://")) &&
           str_eq_nocase(str_skip(*origin, scheme + 3), req->host);
}

static bool is_or_absent(const struct exchange *ex, struct str name, struct str wanted)
{
    const struct str *value = headers_get(&ex->req.headers, name);
    return value == NULL || str_eq(*value, wanted);
}

/* Such cookies are kept over TLS and of this machine alone. */
static bool keeps_cookies(const struct request *req)
{
    struct str name = target_authority_host(req->host);
    char host[256];
    if (str_eq(req->scheme, STR("https")) || name.len == 0 || name.len >= sizeof(host))
        return name.len > 0;
    if (name.ptr[0] == '[' && name.len > 2)
        name = (struct str){name.ptr + 1, name.len - 2};
    memcpy(host, name.ptr, name.len);
    host[name.len] = '\0';
    return client_host_is_loopback(host);
}

bool login_can_begin(const struct exchange *ex)
{
    const struct str *accept = headers_get(&ex->req.headers, STR("accept"));
    return ex->req.method == METHOD_GET && accept != NULL &&
           str_find_text(*accept, STR("text/html")) < accept->len &&
           headers_count(&ex->req.headers, STR("authorization")) == 0 &&
           is_or_absent(ex, STR("sec-fetch-mode"), STR("navigate")) &&
           is_or_absent(ex, STR("sec-fetch-dest"), STR("document")) && keeps_cookies(&ex->req);
}

static enum policy_result refuse_page(struct exchange *ex)
{
    ex->error_code = "cross_site";
    if (response_set_error(&ex->res, &ex->arena, 403, STR("cross_site"),
                           STR("A session changes nothing for pages of other origins")) != 0)
        ex->res = (struct response){.status = 500};
    return POLICY_DENY;
}

static bool changes_nothing(enum http_method method)
{
    return method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS;
}

enum policy_result login_check(const struct policy *policy, struct exchange *ex,
                               const struct login_session *session, double now, bool keys_final,
                               struct verdict *verdict)
{
    struct headers *headers = &ex->req.headers;
    if (session == NULL || headers_count(headers, STR("authorization")) > 0)
        return policy_check(policy, ex, now, keys_final, verdict);
    if (!changes_nothing(ex->req.method) && !login_is_same_origin(ex, false))
        return refuse_page(ex);
    struct str value = arena_printf(&ex->arena, "Bearer %.*s", STR_ARG(session->token));
    if (value.ptr == NULL || headers_add(headers, &ex->arena, STR("authorization"), value) != 0) {
        ex->res = (struct response){.status = 500};
        return POLICY_DENY;
    }
    enum policy_result result = policy_check(policy, ex, now, keys_final, verdict);
    headers->len--; /* the token is nobody's behind a rewrite */
    return result;
}
