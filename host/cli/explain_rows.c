/* Rows about form, header, issuer, key and signature; about times, profile, scopes, role and
 * claims. */
#include "cli/explain_rows.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "auth/revoked.h"
#include "auth/shown.h"
#include "base/limits.h"
#include "json/dump.h"
#include "json/strict.h"

enum { VALUE_BYTES = 120 };

static void add(struct explain *e, const char *check, enum explain_result result,
                struct str expected, struct str actual)
{
    if (e->count < EXPLAIN_ROWS)
        e->rows[e->count++] = (struct explain_row){check, expected, actual, result};
}

static enum explain_result pass_if(bool good)
{
    return good ? EXPLAIN_PASS : EXPLAIN_FAIL;
}

struct str explain_value(struct arena *arena, const json_t *value)
{
    if (value == NULL)
        return STR("none");
    char *text = dump_json_text(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);
    struct str whole = str_from(text != NULL ? text : "?");
    struct str shown = whole.len <= VALUE_BYTES
                           ? arena_copy(arena, whole)
                           : arena_printf(arena, "%.*s...", VALUE_BYTES, whole.ptr);
    free(text);
    return shown;
}

struct str explain_text(struct arena *arena, struct str text)
{
    json_t *value = json_stringn(text.ptr != NULL ? text.ptr : "", text.len);
    struct str shown = value != NULL ? explain_value(arena, value) : STR("(not UTF-8)");
    json_decref(value);
    return shown;
}

/* ---- form ---- */

/* Would this part do, as header or as payload, in a token whose other parts are good? */
static bool is_good_part(struct explain *e, struct str part, bool is_payload)
{
    struct token token;
    struct str text = is_payload ? arena_printf(e->arena, "e30.%.*s.", STR_ARG(part))
                                 : arena_printf(e->arena, "%.*s.e30.", STR_ARG(part));
    if (text.ptr == NULL || token_parse(text, &token) != 0)
        return false;
    token_clear(&token);
    return true;
}

static const char *find_reason(struct str part)
{
    char bytes[BASE64URL_DECODED_MAX(LIMIT_TOKEN_BYTES)];
    const char *why = NULL;
    size_t len;
    if (part.len == 0)
        return "empty";
    if (base64url_decode(part, bytes, &len) != 0)
        return "not canonical base64url: other characters, padding, or unused bits that are not zero";
    json_t *value = strict_json_load_wide((struct str){bytes, len}, JSON_REJECT_DUPLICATES, &why);
    if (value != NULL)
        why = "not a JSON object";
    json_decref(value);
    return why;
}

static bool add_part(struct explain *e, const char *check, struct str part, bool is_payload)
{
    bool good = is_good_part(e, part, is_payload);
    add(e, check, pass_if(good), STR("a JSON object in base64url"),
        good ? arena_printf(e->arena, "%zu characters", part.len) : str_from(find_reason(part)));
    return good;
}

static struct str describe_parts(struct explain *e, struct str text, unsigned count)
{
    if (text.len > 0 && text.ptr[0] == '{')
        return STR("the JSON serialisation, which no bearer token has");
    if (count == 5)
        return STR("5, as an encrypted token (JWE) has");
    return arena_printf(e->arena, "%u", count);
}

bool explain_form(struct explain *e, struct str text, struct token *token)
{
    struct str part[3] = {{NULL, 0}}, rest = text, next;
    unsigned count = 0;
    for (; str_split_next(&rest, '.', &next); count++) {
        if (count < 3)
            part[count] = next;
    }
    add(e, "size", pass_if(text.len <= LIMIT_TOKEN_BYTES),
        arena_printf(e->arena, "at most %d bytes", LIMIT_TOKEN_BYTES),
        arena_printf(e->arena, "%zu bytes", text.len));
    add(e, "parts", pass_if(count == 3), STR("3, with dots between"),
        describe_parts(e, text, count));
    if (text.len > LIMIT_TOKEN_BYTES || count != 3)
        return false;
    bool good = add_part(e, "header", part[0], false);
    good = add_part(e, "payload", part[1], true) && good;
    char bytes[BASE64URL_DECODED_MAX(LIMIT_TOKEN_BYTES)];
    size_t len = 0;
    bool encoded = base64url_decode(part[2], bytes, &len) == 0;
    add(e, "encoding", pass_if(encoded), STR("a signature in base64url"),
        encoded ? arena_printf(e->arena, "%zu bytes", len) : STR("not canonical base64url"));
    return good && encoded && token_parse(text, token) == 0;
}

/* ---- header ---- */

static unsigned allowed_algorithms(const struct explain *e)
{
    unsigned allowed = e->verifier != NULL ? e->verifier->algorithms : 0;
    for (unsigned i = 0; e->verifier == NULL && i < e->policy->verifier_count; i++)
        allowed |= e->policy->verifiers[i].algorithms;
    return allowed;
}

static struct str algorithm_names(const struct explain *e, unsigned allowed)
{
    struct str names = STR("");
    for (unsigned alg = 1; alg < ALG_COUNT; alg++) {
        if ((allowed & ALG_BIT(alg)) != 0)
            names = arena_printf(e->arena, "%.*s%s%s", STR_ARG(names), names.len > 0 ? ", " : "",
                                 alg_name((enum alg)alg));
    }
    return names;
}

static enum alg algorithm_of(const struct token *token)
{
    const json_t *alg = json_object_get(token->header, "alg");
    return alg_parse((struct str){json_string_value(alg), json_string_length(alg)});
}

static void add_header(struct explain *e, const struct token *token)
{
    static const char *const refused[] = {"crit", "b64"};
    static const char *const ignored[] = {"jwk", "jku", "x5u", "x5c"};
    unsigned allowed = allowed_algorithms(e);
    enum alg alg = algorithm_of(token);
    add(e, "alg", pass_if(alg != ALG_NONE_KNOWN && (allowed & ALG_BIT(alg)) != 0),
        algorithm_names(e, allowed),
        explain_value(e->arena, json_object_get(token->header, "alg")));
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const json_t *value = json_object_get(token->header, refused[i]);
        if (value != NULL)
            add(e, refused[i], EXPLAIN_FAIL, STR("none: extensions are refused"),
                explain_value(e->arena, value));
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        const json_t *value = json_object_get(token->header, ignored[i]);
        if (value != NULL)
            add(e, ignored[i], EXPLAIN_NOTE, STR("never read"), explain_value(e->arena, value));
    }
}

/* ---- issuer and audience ---- */

const struct verifier *explain_find_verifier(const struct policy *policy, const json_t *claims)
{
    const json_t *iss = json_object_get(claims, "iss");
    struct str text = {json_string_value(iss), json_string_length(iss)};
    for (unsigned i = 0; text.ptr != NULL && i < policy->verifier_count; i++) {
        if (str_eq(text, policy->verifiers[i].issuer))
            return &policy->verifiers[i];
    }
    return NULL;
}

/* Equal but for one slash at the end? */
static bool differ_by_slash(struct str a, struct str b)
{
    const struct str *longer = a.len > b.len ? &a : &b;
    size_t shorter = a.len < b.len ? a.len : b.len;
    return longer->len == shorter + 1 && longer->ptr[shorter] == '/' &&
           memcmp(a.ptr, b.ptr, shorter) == 0;
}

static void add_issuer(struct explain *e, const json_t *iss, bool good)
{
    struct str text = {json_string_value(iss), json_string_length(iss)};
    struct str expected = STR(""), actual = explain_value(e->arena, iss);
    for (unsigned i = 0; i < e->policy->verifier_count; i++) {
        struct str issuer = e->policy->verifiers[i].issuer;
        expected = arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(expected), i > 0 ? " or " : "",
                                STR_ARG(explain_text(e->arena, issuer)));
        if (text.ptr != NULL && differ_by_slash(text, issuer))
            actual =
                arena_printf(e->arena, "%.*s: only the slash at the end differs", STR_ARG(actual));
    }
    add(e, "iss", pass_if(good), expected, actual);
}

static bool has_audience(const struct verifier *verifier, const json_t *aud)
{
    struct str text = {json_string_value(aud), json_string_length(aud)};
    for (unsigned i = 0; text.ptr != NULL && i < verifier->audience_count; i++) {
        if (str_eq(text, verifier->audiences[i]))
            return true;
    }
    for (size_t i = 0; i < json_array_size(aud); i++) {
        const json_t *item = json_array_get(aud, i);
        if (json_is_string(item) && has_audience(verifier, item))
            return true;
    }
    return false;
}

static const json_t *audience_of(const struct explain *e, const json_t *claims)
{
    struct str claim = e->verifier->audience_claim;
    return claim.len > 0 ? claims_at(claims, claim) : json_object_get(claims, "aud");
}

/* `aud`, or the claim that stands for it. */
static void add_audience(struct explain *e, const json_t *aud)
{
    struct str expected = STR(""), claim = e->verifier->audience_claim;
    for (unsigned i = 0; i < e->verifier->audience_count; i++)
        expected = arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(expected), i > 0 ? " or " : "",
                                STR_ARG(explain_text(e->arena, e->verifier->audiences[i])));
    if (claim.len > 0)
        expected = arena_printf(e->arena, "%.*s in %.*s", STR_ARG(expected),
                                STR_ARG(explain_text(e->arena, claim)));
    add(e, "aud", pass_if(has_audience(e->verifier, aud)), expected, explain_value(e->arena, aud));
}

/* ---- key and signature ---- */

static struct str known_kids(const struct explain *e, const struct keyset *keys)
{
    struct str names = STR("");
    for (unsigned i = 0; i < keyset_size(keys); i++) {
        struct str kid = key_kid(keyset_at(keys, i));
        if (kid.len > 0)
            names = arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(names), names.len > 0 ? ", " : "",
                                 STR_ARG(explain_text(e->arena, kid)));
    }
    return names.len > 0 ? names : STR("any: there is one key, without a name");
}

/* "RSA, 2048 bits", "EC, P-256", "a shared secret". */
static struct str key_kind(const struct explain *e, const struct key *key)
{
    for (unsigned alg = 1; alg < ALG_COUNT; alg++) {
        json_t *jwk = key_fits(key, (enum alg)alg) ? jwk_write_key(key, (enum alg)alg) : NULL;
        if (jwk == NULL)
            continue;
        const char *kty = json_string_value(json_object_get(jwk, "kty"));
        const char *crv = json_string_value(json_object_get(jwk, "crv"));
        size_t n = json_string_length(json_object_get(jwk, "n"));
        struct str kind = crv != NULL ? arena_printf(e->arena, "%s, %s", kty, crv)
                                      : arena_printf(e->arena, "%s, %zu bits", kty, n * 3 / 4 * 8);
        json_decref(jwk);
        return kind;
    }
    return STR("a shared secret");
}

static bool is_signed_by(const struct explain *e, const struct token *token, struct key *key)
{
    enum alg alg = algorithm_of(token);
    if (!key_fits(key, alg))
        return false;
    int rc = key_verify(key, e->verifier->backend, alg, token->signing_input, token->signature);
    if (rc == -ENOTSUP)
        rc = key_verify(key, KEY_BACKEND_OPENSSL, alg, token->signing_input, token->signature);
    return rc == 0;
}

/* A line for each key of the provider that goes unused. */
static void add_left_out(struct explain *e, const struct keyset *keys)
{
    struct str notes = keyset_notes(keys), line;
    while (str_split_next(&notes, '\n', &line) && line.len > 0)
        add(e, "left out", EXPLAIN_NOTE, STR(""), explain_text(e->arena, line));
}

static void add_key(struct explain *e, const struct token *token)
{
    const struct keyset *keys = e->verifier->keys != NULL ? e->verifier->keys->keys : NULL;
    const json_t *member = json_object_get(token->header, "kid");
    struct str kid = {json_string_value(member), json_string_length(member)};
    add(e, "key set", keys != NULL ? EXPLAIN_NOTE : EXPLAIN_FAIL, STR(""), e->key_set);
    if (keys == NULL)
        return;
    add_left_out(e, keys);
    bool named = member == NULL || kid.ptr != NULL;
    struct key *key = named ? keyset_find(keys, kid, algorithm_of(token)) : NULL;
    add(e, "kid", pass_if(key != NULL), known_kids(e, keys), explain_value(e->arena, member));
    if (key == NULL)
        return;
    enum alg alg = algorithm_of(token);
    add(e, "key", pass_if(key_fits(key, alg)),
        arena_printf(e->arena, "a key for %s",
                     alg != ALG_NONE_KNOWN ? alg_name(alg) : "a known alg"),
        key_kind(e, key));
    bool good = is_signed_by(e, token, key);
    add(e, "signature", pass_if(good), STR("made by this key"),
        good                        ? STR("it is")
        : token->signature.len == 0 ? STR("there is none")
                                    : STR("it is not"));
}

/* ---- times ---- */

static bool is_date(const json_t *value)
{
    double seconds = json_number_value(value);
    return json_is_number(value) && seconds >= LIMIT_DATE_MIN && seconds <= LIMIT_DATE_MAX;
}

static struct str describe_distance(const struct explain *e, double seconds)
{
    double away = floor(fabs(seconds));
    if (away == 0)
        return STR("now");
    return arena_printf(e->arena, "%.0f s %s", away, seconds < 0 ? "ago" : "from now");
}

/* "2026-01-02T03:04:05.000Z, 300 s ago", or what stands there instead of a date. */
static struct str describe_time(const struct explain *e, const json_t *value)
{
    if (!is_date(value))
        return explain_value(e->arena, value);
    double seconds = json_number_value(value);
    struct shown shown;
    struct str distance = describe_distance(e, seconds - e->now);
    return arena_printf(e->arena, "%.*s, %.*s", STR_ARG(shown_date(&shown, seconds)),
                        STR_ARG(distance));
}

static struct str expect_time(const struct explain *e, const char *text)
{
    struct shown shown;
    struct str now = shown_date(&shown, e->now);
    double tolerance = e->verifier->clock_tolerance;
    return tolerance > 0
               ? arena_printf(e->arena, "%s %.*s, give or take %g s", text, STR_ARG(now), tolerance)
               : arena_printf(e->arena, "%s %.*s", text, STR_ARG(now));
}

static void add_times(struct explain *e, const json_t *claims, bool needs_exp)
{
    const json_t *nbf = json_object_get(claims, "nbf");
    const json_t *exp = json_object_get(claims, "exp");
    const json_t *iat = json_object_get(claims, "iat");
    double tolerance = e->verifier->clock_tolerance;
    if (nbf != NULL)
        add(e, "nbf", pass_if(is_date(nbf) && json_number_value(nbf) <= e->now + tolerance),
            expect_time(e, "not after"), describe_time(e, nbf));
    bool current =
        exp == NULL ? !needs_exp : is_date(exp) && e->now < json_number_value(exp) + tolerance;
    if (exp != NULL || needs_exp)
        add(e, "exp", pass_if(current), expect_time(e, "after"), describe_time(e, exp));
    if (json_is_number(iat) && json_number_value(iat) > e->now)
        add(e, "iat", EXPLAIN_NOTE, STR("in the past; not checked"),
            arena_printf(e->arena, "%.*s: is a clock wrong?", STR_ARG(describe_time(e, iat))));
    else if (iat != NULL)
        add(e, "iat", json_is_number(iat) ? EXPLAIN_NOTE : EXPLAIN_FAIL,
            json_is_number(iat) ? STR("not checked") : STR("a number"), describe_time(e, iat));
}

/* ---- profile ---- */

static void add_profile(struct explain *e, const struct token *token)
{
    static const char *const required[] = {"exp", "sub", "client_id", "iat", "jti"};
    const json_t *typ = json_object_get(token->header, "typ");
    struct str text = {json_string_value(typ), json_string_length(typ)};
    enum claims_type type = verify_type(token->header, token->claims);
    if (type >= CLAIMS_LOGOUT_TOKEN)
        add(e, "typ", EXPLAIN_FAIL, STR("an access token"),
            type == CLAIMS_EVENT ? STR("a security event") : STR("a logout token"));
    if (e->verifier->profile != PROFILE_AT_JWT)
        return;
    add(e, "typ",
        pass_if(str_eq_nocase(text, STR("at+jwt")) ||
                str_eq_nocase(text, STR("application/at+jwt"))),
        STR("\"at+jwt\""), explain_value(e->arena, typ));
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        const json_t *value = json_object_get(token->claims, required[i]);
        if (value == NULL)
            add(e, required[i], EXPLAIN_FAIL, STR("required by RFC 9068"), STR("none"));
    }
}

/* ---- proof of possession ---- */

bool explain_needs_proof(struct explain *e, const json_t *claims)
{
    if (e->verifier == NULL || claims == NULL)
        return false;
    e->dpop = e->policy->dpop.mode != DPOP_UNSET ? e->policy->dpop.mode : e->verifier->dpop.mode;
    e->needs_proof = dpop_refuses_bearer(e->dpop, claims) && dpop_is_bound(claims);
    return e->needs_proof;
}

static bool names_nonce(const struct explain *e)
{
    const struct dpop *own = &e->policy->dpop, *of_issuer = &e->verifier->dpop;
    return (own->nonce != DPOP_NONCE_UNSET ? own->nonce : of_issuer->nonce) == DPOP_NONCE_ON;
}

static void add_proof(struct explain *e, const json_t *claims)
{
    const json_t *key = json_object_get(json_object_get(claims, "cnf"), "jkt");
    if (dpop_refuses_bearer(e->dpop, claims))
        add(e, "dpop", pass_if(dpop_is_bound(claims)),
            names_nonce(e) ? STR("bound to a key (cnf.jkt), which signs a proof with a nonce")
                           : STR("bound to a key (cnf.jkt), which signs a proof"),
            explain_value(e->arena, key));
    else if (e->dpop == DPOP_OPTIONAL)
        add(e, "dpop", EXPLAIN_NOTE, STR("a proof where it is bound to a key"),
            STR("not bound: a bearer token"));
}

/* ---- certificate ---- */

bool explain_needs_cert(struct explain *e, const json_t *claims)
{
    if (e->verifier == NULL || claims == NULL)
        return false;
    e->mtls = e->policy->mtls != MTLS_UNSET ? e->policy->mtls : e->verifier->mtls;
    e->needs_cert = e->mtls != MTLS_OFF && mtls_is_bound(claims);
    return e->needs_cert;
}

static void add_cert(struct explain *e, const json_t *claims)
{
    const json_t *cert = json_object_get(json_object_get(claims, "cnf"), "x5t#S256");
    if (e->mtls == MTLS_REQUIRED || (cert != NULL && e->mtls != MTLS_OFF))
        add(e, "mtls", pass_if(cert != NULL),
            STR("bound to a certificate (cnf.x5t#S256), which the client shows"),
            explain_value(e->arena, cert));
    else if (cert != NULL)
        add(e, "mtls", EXPLAIN_NOTE, STR("not checked"), explain_value(e->arena, cert));
}

/* ---- what was revoked ---- */

static void add_revoked(struct explain *e, json_t *json, bool answered)
{
    static const char *const texts[] = {
        [REVOKED] = "it was revoked", [REVOKED_TOO_OLD] = "older than revocations are kept"};
    struct claims *claims = claims_new(json_incref(json), STR(""), ALG_NONE_KNOWN, CLAIMS_ANY);
    if (claims == NULL)
        return;
    enum revoked_result result = revoked_look(claims, e->verifier->issuer, e->now, answered);
    bool known = str_find_text(e->revoked, STR("not known")) == e->revoked.len;
    bool good = result == REVOKED_NOT;
    claims_unref(claims);
    add(e, "revoked", good && !known ? EXPLAIN_NOTE : pass_if(good), STR("not, by jti, sid or sub"),
        good ? e->revoked : str_from(texts[result]));
}

/* ---- the route's rules ---- */

static struct str all_scopes(const struct explain *e, const json_t *claims)
{
    static const char *const members[] = {"scope", "scp", "permissions"};
    struct str found = STR("");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const json_t *value = json_object_get(claims, members[i]);
        if (value != NULL)
            found =
                arena_printf(e->arena, "%.*s%s%s %.*s", STR_ARG(found), found.len > 0 ? ", " : "",
                             members[i], STR_ARG(explain_value(e->arena, value)));
    }
    return found.len > 0 ? found : STR("none");
}

static void add_scopes(struct explain *e, const json_t *claims)
{
    const struct policy *policy = e->policy;
    struct str any = STR(""), found = all_scopes(e, claims);
    bool has_any = false;
    for (unsigned i = 0; i < policy->scope_count; i++) {
        struct str name = explain_text(e->arena, policy->scopes[i]);
        bool has = claims_have_scope(claims, policy->scopes[i]);
        if (!policy->scope_any)
            add(e, "scope", pass_if(has), name, found);
        any =
            arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(any), i > 0 ? " or " : "", STR_ARG(name));
        has_any = has_any || has;
    }
    if (policy->scope_any && policy->scope_count > 0)
        add(e, "scope", pass_if(has_any), any, found);
}

static void add_claims(struct explain *e, const json_t *claims)
{
    const char *name;
    json_t *wanted;
    json_object_foreach(e->policy->claims, name, wanted)
    {
        const json_t *value = claims_at(claims, str_from(name));
        add(e, "claim", pass_if(claims_match(value, wanted)),
            arena_printf(e->arena, "%s: %s%.*s", name, json_is_array(wanted) ? "one of " : "",
                         STR_ARG(explain_value(e->arena, wanted))),
            explain_value(e->arena, value));
    }
}

static void add_role(struct explain *e, const json_t *claims)
{
    const struct policy *policy = e->policy;
    struct str expected = explain_text(e->arena, policy->role);
    if (policy->role_path.len > 0)
        expected = arena_printf(e->arena, "%.*s in %.*s", STR_ARG(expected),
                                STR_ARG(explain_text(e->arena, policy->role_path)));
    add(e, "role", pass_if(claims_have_role(claims, policy->role_path, policy->role)), expected,
        explain_value(e->arena, claims_roles(claims, policy->role_path)));
}

/* How and when the user signed in. */
static void add_sign_in(struct explain *e, const json_t *claims)
{
    const struct policy *policy = e->policy;
    struct str wanted = STR("");
    for (unsigned i = 0; i < policy->acr_count; i++)
        wanted = arena_printf(e->arena, "%.*s%s%.*s", STR_ARG(wanted), i > 0 ? " or " : "",
                              STR_ARG(explain_text(e->arena, policy->acr[i])));
    if (policy->acr_count > 0)
        add(e, "acr", pass_if(policy_has_acr(policy, claims)), wanted,
            explain_value(e->arena, json_object_get(claims, "acr")));
    if (policy->max_age > 0)
        add(e, "auth_time",
            pass_if(policy_is_recent(policy, claims, e->now, e->verifier->clock_tolerance)),
            arena_printf(e->arena, "at most %.0f s ago", policy->max_age),
            describe_time(e, json_object_get(claims, "auth_time")));
}

static void add_rules(struct explain *e, const json_t *all)
{
    const struct policy *policy = e->policy;
    json_t *claims = claims_without_namespace(policy->namespace, all);
    if (claims == NULL)
        return;
    add_cert(e, all);
    add_proof(e, all);
    add_sign_in(e, claims);
    add_scopes(e, claims);
    if (policy->role.len > 0)
        add_role(e, claims);
    add_claims(e, claims);
    json_decref(claims);
}

/* ---- the whole ---- */

/* What else lets a caller in. */
static void add_session(struct explain *e)
{
    if (e->policy->login)
        add(e, "session", EXPLAIN_NOTE, STR("or none: a browser without a token signs in"),
            STR("its session's token is judged as this one"));
}

void explain_token(struct explain *e, const struct token *token)
{
    add_header(e, token);
    add_issuer(e, json_object_get(token->claims, "iss"), e->verifier != NULL);
    if (e->verifier == NULL)
        return;
    add_audience(e, audience_of(e, token->claims));
    add_key(e, token);
    add_times(e, token->claims, e->verifier->require_exp);
    add_profile(e, token);
    add_revoked(e, token->claims, false);
    add_rules(e, token->claims);
    add_session(e);
}

void explain_opaque(struct explain *e, enum opaque_state state, json_t *claims, const char *trouble)
{
    assert(e->verifier != NULL);
    const json_t *iss = json_object_get(claims, "iss");
    add(e, "form", EXPLAIN_NOTE, STR("a JWT, or another token"),
        STR("not a JWT: the provider is asked (RFC 7662)"));
    add(e, "provider", pass_if(state == OPAQUE_ACTIVE), STR("active"),
        state == OPAQUE_ACTIVE ? STR("active")
        : state == OPAQUE_INACTIVE
            ? STR("not active")
            : arena_printf(e->arena, "cannot be asked at the moment: %s", trouble));
    if (claims == NULL)
        return;
    if (iss != NULL)
        add_issuer(e, iss, explain_find_verifier(e->policy, claims) == e->verifier);
    if (audience_of(e, claims) != NULL)
        add_audience(e, audience_of(e, claims));
    add_times(e, claims, false);
    add_revoked(e, claims, true);
    add_rules(e, claims);
}
