/* Checking a token, step by step in the order of the original; the first failure wins.
 *
 * A token that is in the cache skips the parse and the signature; everything that depends on who
 * asks and when (algorithm, issuer, audience, times, profile) is judged again. */
#include "auth/verify.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "auth/revoked.h"
#include "auth/token_cache.h"
#include "auth/shown.h"
#include "auth/token.h"
#include "base/limits.h"

struct check {
    const struct verifier *verifiers;
    unsigned count;
    struct str token;
    double now; /* whole seconds, as in the original */
    bool keys_final;
    struct arena *arena;
    struct verdict *verdict;
    const struct verifier *verifier; /* the one whose issuer the token names; NULL before */
    struct claims *claims;           /* owned */
    uint64_t known;                  /* serial of claims that were found in it; 0: none are */
    const struct key_source *bad;    /* the signature is known to be bad under this one's keys */
};

void verify_setup(struct verifier *verifier)
{
    *verifier = (struct verifier){
        .algorithms = ALG_DEFAULT, .backend = KEY_BACKEND_OPENSSL, .require_exp = true};
}

/* ---- refusals: all return false, so that a step is one statement ---- */

static bool refuse_as(struct check *check, const char *code, struct str text)
{
    check->verdict->status = VERIFY_REFUSED;
    check->verdict->code = code;
    check->verdict->text = text;
    return false;
}

static bool refuse(struct check *check, struct str text)
{
    return refuse_as(check, "jwt_invalid", text);
}

static bool refuse_memory(struct check *check)
{
    return refuse_as(check, VERIFY_CODE_MEMORY, STR("Out of memory"));
}

/* PREFIX 'VALUE', with a bounded value. */
static bool refuse_value(struct check *check, const char *code, const char *prefix,
                         struct str value)
{
    struct str text = arena_printf(check->arena, "%s '%.*s'", prefix, STR_ARG(value));
    return text.ptr != NULL ? refuse_as(check, code, text) : refuse_memory(check);
}

/* The verifier of that issuer; with several of the same the first. */
static const struct verifier *find_verifier(const struct check *check, const struct claims *claims)
{
    for (unsigned i = 0; i < check->count; i++) {
        if (claims->issuer.ptr != NULL && str_eq(claims->issuer, check->verifiers[i].issuer))
            return &check->verifiers[i];
    }
    return NULL;
}

/* ---- before the signature: algorithm, header, issuer, audience ---- */

/* With an unknown issuer the algorithm must at least be allowed for somebody: the original
 * complains of the algorithm first. */
static bool check_algorithm(struct check *check, const json_t *header)
{
    unsigned allowed = check->verifier != NULL ? check->verifier->algorithms : 0;
    for (unsigned i = 0; check->verifier == NULL && i < check->count; i++)
        allowed |= check->verifiers[i].algorithms;
    enum alg alg = check->claims->alg;
    if (alg != ALG_NONE_KNOWN && (allowed & ALG_BIT(alg)) != 0)
        return true;
    struct shown shown;
    struct str got = header != NULL ? shown_value(&shown, json_object_get(header, "alg"))
                                    : str_from(alg_name(alg));
    return refuse_value(check, "jwt_invalid", "Invalid 'alg' provided, got", got);
}

/* Extensions change what is signed or how, so one that is not understood is a refusal (RFC 7515
 * section 4.1.11); `b64` has no place in a JWT (RFC 7797 section 7). Members that bring their own
 * key (jwk, jku, x5u, x5c) are never read. */
static bool check_extensions(struct check *check, const json_t *header)
{
    if (json_object_get(header, "crit") != NULL)
        return refuse(check, STR("Invalid 'crit' provided, extensions are not supported"));
    if (json_object_get(header, "b64") != NULL)
        return refuse(check, STR("Invalid 'b64' provided, extensions are not supported"));
    return true;
}

static bool check_issuer(struct check *check)
{
    if (check->verifier != NULL)
        return true;
    struct shown shown;
    struct str got = shown_value(&shown, json_object_get(check->claims->json, "iss"));
    return refuse_value(check, "jwt_invalid", "Invalid issuer (iss) provided, got", got);
}

static bool is_audience(const struct verifier *verifier, const json_t *value)
{
    struct str text = {json_string_value(value), json_string_length(value)};
    for (unsigned i = 0; text.ptr != NULL && i < verifier->audience_count; i++) {
        if (str_eq(text, verifier->audiences[i]))
            return true;
    }
    return false;
}

static const json_t *audience_of(const struct check *check)
{
    struct str claim = check->verifier->audience_claim;
    return claim.len > 0 ? claims_at(check->claims->json, claim) : check->claims->audience;
}

static bool refuse_audience(struct check *check, const json_t *aud)
{
    struct shown shown;
    struct str got = shown_audience(&shown, aud), claim = check->verifier->audience_claim;
    if (claim.len == 0)
        return refuse_value(check, "jwt_invalid", "Invalid audience (aud) provided, got", got);
    struct str text = arena_printf(check->arena, "Invalid audience (%.*s) provided, got '%.*s'",
                                   STR_ARG(claim), STR_ARG(got));
    return text.ptr != NULL ? refuse(check, text) : refuse_memory(check);
}

static bool check_audience(struct check *check)
{
    const json_t *aud = audience_of(check);
    bool found = is_audience(check->verifier, aud);
    for (size_t i = 0; !found && i < json_array_size(aud); i++)
        found = is_audience(check->verifier, json_array_get(aud, i));
    return found || refuse_audience(check, aud);
}

/* `header` is NULL for a cached token, whose header passed check_extensions. */
static bool check_addressee(struct check *check, const json_t *header)
{
    return check_algorithm(check, header) && (header == NULL || check_extensions(check, header)) &&
           check_issuer(check) && check_audience(check);
}

/* ---- after the signature: times, profile ---- */

static bool is_date(double seconds)
{
    return seconds >= LIMIT_DATE_MIN && seconds <= LIMIT_DATE_MAX; /* false for NaN */
}

static bool check_not_before(struct check *check)
{
    const struct claims *claims = check->claims;
    if (!claims->has_not_before)
        return true;
    if (!is_date(claims->not_before))
        return refuse(check, STR("invalid nbf value"));
    if (claims->not_before <= check->now + check->verifier->clock_tolerance)
        return true;
    struct shown shown;
    return refuse_value(check, "jwt_invalid", "The provided token cannot be used before",
                        shown_date(&shown, claims->not_before));
}

static bool check_expires(struct check *check)
{
    const struct claims *claims = check->claims;
    if (check->verifier->profile == PROFILE_EVENT)
        return true;
    if (isnan(claims->expires) && !check->verifier->require_exp &&
        json_object_get(claims->json, "exp") == NULL)
        return true;
    if (!is_date(claims->expires))
        return refuse(check, STR("invalid exp value"));
    if (check->now < claims->expires + check->verifier->clock_tolerance)
        return true;
    token_cache_remove(check->token);
    struct shown shown;
    return refuse_value(check, "jwt_expired", "The provided token expired at",
                        shown_date(&shown, claims->expires));
}

/* A NumericDate (RFC 7519 section 4.1.6), which is not held against the clock. */
static bool check_issued_at(struct check *check)
{
    return !check->claims->odd_issued_at || refuse(check, STR("invalid iat value"));
}

/* What says of itself that it is no access token is none, whatever it is signed with (RFC 8725
 * section 3.11). */
static bool check_type(struct check *check)
{
    static const enum profile profiles[] = {
        [CLAIMS_LOGOUT_TOKEN] = PROFILE_LOGOUT_TOKEN, [CLAIMS_EVENT] = PROFILE_EVENT};
    enum claims_type type = check->claims->type;
    return type < CLAIMS_LOGOUT_TOKEN || check->verifier->profile == profiles[type] ||
           refuse(check, STR("The provided token is an event, not an access token"));
}

/* RFC 9068 sections 2.1 and 2.2; iss and aud have been judged by now. */
static bool check_profile(struct check *check)
{
    static const char *const required[] = {"exp", "sub", "client_id", "iat", "jti"};
    if (!check_type(check))
        return false;
    if (check->verifier->profile != PROFILE_AT_JWT)
        return true;
    if (check->claims->type != CLAIMS_AT_JWT)
        return refuse(check, STR("Invalid 'typ' provided, expected 'at+jwt'"));
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (json_object_get(check->claims->json, required[i]) == NULL)
            return refuse_value(check, "jwt_invalid", "The provided token does not contain",
                                str_from(required[i]));
    }
    return true;
}

/* ---- what was revoked ---- */

/* The last of all: that a token was revoked is told to who has a good one alone. */
static bool check_revoked(struct check *check, bool is_opaque)
{
    if (check->verifier->profile >= PROFILE_LOGOUT_TOKEN)
        return true;
    switch (revoked_look(check->claims, check->verifier->issuer, check->now, is_opaque)) {
    case REVOKED_NOT:
        return true;
    case REVOKED_UNKNOWN:
        return refuse_as(check, VERIFY_CODE_UNKNOWN,
                         STR("It is not known yet which tokens were revoked"));
    case REVOKED_TOO_OLD:
        return refuse(check, STR("The provided token is older than revocations are kept"));
    default:
        return refuse(check, STR("The provided token was revoked"));
    }
}

/* ---- the signature ---- */

static bool refuse_kid(struct check *check, struct str kid)
{
    struct shown shown;
    struct str cut = shown_text(&shown, kid);
    struct str text = arena_printf(
        check->arena, VERIFY_KEY_LOOKUP ": Unable to find key '%.*s' in the JSON Web Key Set",
        STR_ARG(cut));
    return text.ptr != NULL ? refuse(check, text) : refuse_memory(check);
}

static bool need_key(struct check *check, struct str kid)
{
    struct str copy = arena_copy(check->arena, kid);
    if (copy.ptr == NULL)
        return refuse_memory(check);
    check->verdict->status = VERIFY_NEEDS_KEY;
    check->verdict->kid = copy;
    check->verdict->verifier = check->verifier;
    return false;
}

/* A token need not name the one key of a static set (a secret, a PEM): only such a set has a key
 * that answers to the empty name. */
static struct key *only_key(const struct keyset *keys)
{
    return keys != NULL && keyset_size(keys) == 1 ? keyset_find(keys, STR(""), ALG_NONE_KNOWN)
                                                  : NULL;
}

static bool find_key(struct check *check, const json_t *header, struct key **key)
{
    const json_t *member = json_object_get(header, "kid");
    const struct keyset *keys = check->verifier->keys->keys;
    struct str kid = {json_string_value(member), json_string_length(member)};
    *key = member == NULL ? only_key(keys) : NULL;
    if (*key != NULL)
        return true;
    if (kid.ptr == NULL) {
        struct str text = arena_printf(
            check->arena,
            VERIFY_KEY_LOOKUP ": The provided token does not contain a valid 'kid' claim, got '%s'",
            shown_type(member));
        return text.ptr != NULL ? refuse(check, text) : refuse_memory(check);
    }
    if (kid.len > LIMIT_KID_BYTES)
        return refuse_kid(check, kid);
    *key = keys != NULL ? keyset_find(keys, kid, check->claims->alg) : NULL;
    if (*key != NULL)
        return true;
    return keys != NULL && check->keys_final ? refuse_kid(check, kid) : need_key(check, kid);
}

static int verify_with(struct key *key, const struct check *check, const struct token *token)
{
    enum key_backend backend = check->verifier->backend;
    enum alg alg = check->claims->alg;
    int rc = key_verify(key, backend, alg, token->signing_input, token->signature);
    if (rc != -ENOTSUP)
        return rc;
    backend = backend == KEY_BACKEND_LIBJWT ? KEY_BACKEND_OPENSSL : KEY_BACKEND_LIBJWT;
    return key_verify(key, backend, alg, token->signing_input, token->signature);
}

static bool check_signature(struct check *check, const struct token *token)
{
    const struct key_source *source = check->verifier->keys;
    struct key *key;
    if (!find_key(check, token->header, &key))
        return false;
    if (token->signature.len == 0)
        return refuse(check, STR("jwt signature is required"));
    if (check->bad == source || !key_fits(key, check->claims->alg))
        return refuse(check, STR("invalid signature"));
    int rc = verify_with(key, check, token);
    if (rc == 0) {
        token_cache_add(token, source, check->claims);
        return true;
    }
    if (rc == -ENOMEM)
        return refuse_memory(check);
    if (rc == -EBADMSG)
        token_cache_add_bad(check->token, source);
    return refuse(check, STR("invalid signature"));
}

/* ---- tokens that are no JWTs ---- */

/* What a bearer token is made of (RFC 6750 section 2.1), and not in three parts. */
static bool is_opaque(struct str token)
{
    unsigned dots = 0;
    for (size_t i = 0; i < token.len; i++) {
        char c = token.ptr[i];
        bool plain = str_is_alnum(c) || strchr("-._~+/=", c) != NULL;
        if (c == '\0' || !plain)
            return false;
        dots += c == '.';
    }
    return token.len > 0 && dots != 2;
}

const struct verifier *verify_opaque(const struct verifier *verifiers, unsigned count,
                                     struct str token)
{
    for (unsigned i = 0; i < count; i++) {
        if (verifiers[i].opaque != NULL)
            return is_opaque(token) ? &verifiers[i] : NULL;
    }
    return NULL;
}

static bool need_answer(struct check *check)
{
    check->verdict->status = VERIFY_NEEDS_KEY;
    check->verdict->kid = check->token;
    check->verdict->opaque = true;
    check->verdict->verifier = check->verifier;
    return false;
}

/* The provider has judged for us, whom it knows (RFC 7662 section 4): what it does not say is not
 * held against the token, what it says is. */
static bool check_answer(struct check *check)
{
    const json_t *claims = check->claims->json;
    if (json_object_get(claims, "iss") != NULL &&
        !str_eq(check->claims->issuer, check->verifier->issuer)) {
        check->verifier = NULL;
        return check_issuer(check);
    }
    return (audience_of(check) == NULL || check_audience(check)) && check_not_before(check) &&
           (json_object_get(claims, "exp") == NULL || check_expires(check)) &&
           check_issued_at(check) && check_revoked(check, true);
}

static bool check_opaque(struct check *check, const struct verifier *verifier)
{
    struct claims *claims = NULL;
    check->verifier = verifier;
    switch (verifier->opaque->find(verifier->opaque, check->token, &claims)) {
    case OPAQUE_ACTIVE:
        check->claims = claims_ref(claims);
        return check_answer(check);
    case OPAQUE_INACTIVE:
        return refuse(check, STR("The token is not active"));
    default:
        return need_answer(check);
    }
}

/* ---- the whole ---- */

/* The claims of a token whose signature was found good with keys that are still current, or NULL.
 * Which issuer's keys is not known before the token has been read, so each is asked. */
static struct claims *find_cached(struct check *check)
{
    for (unsigned i = 0; i < check->count; i++) {
        const struct key_source *source = check->verifiers[i].keys;
        bool bad = false;
        struct claims *claims = check->known != 0 ? token_cache_again(check->known, source) : NULL;
        if (claims == NULL)
            claims = token_cache_find(check->token, source, &bad);
        if (bad)
            check->bad = source;
        const struct verifier *verifier = claims != NULL ? find_verifier(check, claims) : NULL;
        if (verifier != NULL && verifier->keys == source) {
            check->verifier = verifier;
            return claims_ref(claims);
        }
    }
    return NULL;
}

enum claims_type verify_type(const json_t *header, const json_t *claims)
{
    static const struct {
        struct str typ;
        enum claims_type type;
    } known[] = {
        {{"at+jwt", 6}, CLAIMS_AT_JWT},
        {{"logout+jwt", 10}, CLAIMS_LOGOUT_TOKEN},
        {{"secevent+jwt", 12}, CLAIMS_EVENT},
    };
    const json_t *typ = json_object_get(header, "typ");
    struct str text = {json_string_value(typ), json_string_length(typ)},
               prefix = STR("application/");
    if (text.len > prefix.len && str_eq_nocase((struct str){text.ptr, prefix.len}, prefix))
        text = str_skip(text, prefix.len);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_eq_nocase(text, known[i].typ))
            return known[i].type;
    }
    return claims_type_of(claims, CLAIMS_ANY);
}

static bool check_parsed(struct check *check, const struct token *token)
{
    const json_t *alg = json_object_get(token->header, "alg");
    struct str name = {json_string_value(alg), json_string_length(alg)};
    check->claims = claims_new(json_incref(token->claims), token->claims_text, alg_parse(name),
                               verify_type(token->header, token->claims));
    if (check->claims == NULL)
        return refuse_memory(check);
    check->verifier = find_verifier(check, check->claims);
    return check_addressee(check, token->header) && check_signature(check, token);
}

static bool check_new(struct check *check)
{
    struct token token;
    int rc = token_parse(check->token, &token);
    if (rc == -ENOMEM)
        return refuse_memory(check);
    if (rc != 0)
        return refuse(check, STR("Invalid token provided"));
    bool good = check_parsed(check, &token);
    token_clear(&token);
    return good;
}

static bool check_token(struct check *check)
{
    if (check->token.ptr == NULL)
        return refuse_as(check, "jwt_missing", STR("No token provided"));
    if (check->token.len > LIMIT_TOKEN_BYTES)
        return refuse(check, STR("Invalid token provided"));
    const struct verifier *asks = verify_opaque(check->verifiers, check->count, check->token);
    if (asks != NULL)
        return check_opaque(check, asks);
    check->claims = find_cached(check);
    bool good = check->claims != NULL ? check_addressee(check, NULL) : check_new(check);
    return good && check_not_before(check) && check_expires(check) && check_issued_at(check) &&
           check_profile(check) && check_revoked(check, false);
}

static void judge(struct check *check)
{
    check->now = floor(check->now);
    *check->verdict = (struct verdict){.status = VERIFY_REFUSED, .code = "jwt_invalid"};
    if (check_token(check)) {
        *check->verdict = (struct verdict){.status = VERIFY_OK,
                                           .claims = check->claims,
                                           .token = check->token,
                                           .verifier = check->verifier};
        return;
    }
    claims_unref(check->claims);
}

void verify_token_again(const struct verifier *verifiers, unsigned count, struct str token,
                        uint64_t known, double now, bool keys_final, struct arena *arena,
                        struct verdict *verdict)
{
    judge(&(struct check){.verifiers = verifiers,
                          .count = count,
                          .token = token,
                          .known = known,
                          .now = now,
                          .keys_final = keys_final,
                          .arena = arena,
                          .verdict = verdict});
}

void verify_token(const struct verifier *verifiers, unsigned count, struct str token, double now,
                  bool keys_final, struct arena *arena, struct verdict *verdict)
{
    verify_token_again(verifiers, count, token, 0, now, keys_final, arena, verdict);
}

int verify_read_header(const struct str *header, struct str *token, struct verdict *verdict)
{
    static const struct str scheme = {"Bearer ", sizeof("Bearer ") - 1};
    const char *text = "The Authorization header is missing or empty";
    if (header != NULL) {
        struct str h = *header;
        text = "Unsupported format for the Authorization header";
        if (h.len >= scheme.len && str_eq_nocase((struct str){h.ptr, scheme.len}, scheme)) {
            *token = str_skip(h, scheme.len);
            if (str_find(*token, ' ') == token->len)
                return 0;
        }
    }
    *verdict = (struct verdict){
        .status = VERIFY_REFUSED, .code = "invalid_header", .text = str_from(text)};
    return -EINVAL;
}
