/* Comparing policies: see access.h. */
#include "auth/access.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* What a policy leaves to choose about a token, each by itself; behind these one for each claim
 * that it names. The first choice of each is what most tokens are. */
enum choice {
    CHOICE_AUDIENCE,
    CHOICE_ALG,
    CHOICE_TIME,
    CHOICE_PROOF,
    CHOICE_CERT,
    CHOICE_ACR,
    CHOICE_AGE,
    CHOICE_SCOPE,
    CHOICE_PLACE, /* of the scopes */
    CHOICE_NAMESPACE,
    CHOICES,
    CHOICES_MAX = CHOICES + 64 /* with claims; of more the first value is taken */
};

enum { TIME_USUAL, TIME_EXPIRED, TIME_EARLY, TIME_NO_EXP };
enum { AGE_OLDEST, AGE_AHEAD };

struct comparison {
    const struct access *before, *now;
    const struct verifier *theirs; /* of `now`, whose tokens are looked at */
    const struct verifier *ours;   /* of `before`, of the same issuer */
    double time;
    struct arena *arena;
    void (*found)(void *arg, const struct access_gap *gap);
    void *arg;
    struct str *told; /* texts that were told */
    unsigned told_count, told_cap;
    int rc;
};

/* ---- telling ---- */

static bool is_told(const struct comparison *c, struct str who)
{
    for (unsigned i = 0; i < c->told_count; i++)
        if (str_eq(c->told[i], who))
            return true;
    return false;
}

static void note(struct comparison *c, struct str who)
{
    if (c->told_count == c->told_cap) {
        unsigned cap = c->told_cap * 2 + 16;
        struct str *more = arena_alloc(c->arena, cap * sizeof(*more));
        if (more == NULL) {
            c->rc = -ENOMEM;
            return;
        }
        if (c->told_count > 0)
            memcpy(more, c->told, c->told_count * sizeof(*more));
        c->told = more;
        c->told_cap = cap;
    }
    c->told[c->told_count++] = who;
}

static void tell(struct comparison *c, struct str who, const struct access_holder *example)
{
    static const struct access_holder nobody = {.claims = NULL};
    if (who.ptr == NULL)
        c->rc = -ENOMEM;
    if (c->rc != 0 || is_told(c, who))
        return;
    note(c, who);
    const struct access_gap gap = {who, example != NULL ? *example : nobody};
    if (c->rc == 0)
        c->found(c->arg, &gap);
}

/* "tokens of ISSUER WHAT" */
static void tell_tokens(struct comparison *c, const struct access_holder *example, struct str what)
{
    tell(c,
         what.ptr == NULL ? what
                          : arena_printf(c->arena, "tokens of %.*s %.*s",
                                         STR_ARG(c->theirs->issuer), STR_ARG(what)),
         example);
}

static struct str join(struct arena *arena, const struct str *items, unsigned count)
{
    struct str all = STR("");
    for (unsigned i = 0; i < count && all.ptr != NULL; i++)
        all =
            arena_printf(arena, "%.*s%s'%.*s'", STR_ARG(all), i > 0 ? ", " : "", STR_ARG(items[i]));
    return all;
}

/* ---- what a policy says in effect ---- */

static enum dpop_mode proof_mode(const struct policy *policy, const struct verifier *verifier)
{
    enum dpop_mode mode = policy->dpop.mode != DPOP_UNSET ? policy->dpop.mode : verifier->dpop.mode;
    return mode == DPOP_UNSET ? DPOP_OFF : mode;
}

static enum mtls_mode cert_mode(const struct policy *policy, const struct verifier *verifier)
{
    return policy->mtls != MTLS_UNSET ? policy->mtls : verifier->mtls;
}

static bool proof_passes(enum dpop_mode mode, enum access_hold hold)
{
    return mode == DPOP_OFF || (mode == DPOP_OPTIONAL && hold == ACCESS_UNBOUND) ||
           hold == ACCESS_WITH;
}

static bool cert_passes(enum mtls_mode mode, enum access_hold hold)
{
    return mode == MTLS_OFF || (mode == MTLS_UNSET && hold == ACCESS_UNBOUND) ||
           hold == ACCESS_WITH;
}

/* ---- the conditions of `before` ---- */

static bool is_audience(const struct verifier *verifier, const json_t *value)
{
    struct str text = {json_string_value(value), json_string_length(value)};
    for (unsigned i = 0; text.ptr != NULL && i < verifier->audience_count; i++)
        if (str_eq(text, verifier->audiences[i]))
            return true;
    return false;
}

static void judge_addressee(struct comparison *c, const struct access_holder *h)
{
    struct arena *arena = c->arena;
    struct str claim = c->ours->audience_claim;
    const json_t *aud =
        claim.len > 0 ? claims_at(h->claims, claim) : json_object_get(h->claims, "aud");
    bool good = is_audience(c->ours, aud);
    for (size_t i = 0; !good && i < json_array_size(aud); i++)
        good = is_audience(c->ours, json_array_get(aud, i));
    if ((c->ours->algorithms & ALG_BIT(h->alg)) == 0)
        tell_tokens(c, h, arena_printf(arena, "signed by %s", alg_name(h->alg)));
    if (good)
        return;
    const struct str *own = &c->theirs->audience_claim;
    const json_t *theirs =
        own->len > 0 ? claims_at(h->claims, *own) : json_object_get(h->claims, "aud");
    if (json_is_array(theirs))
        theirs = json_array_get(theirs, 0);
    tell_tokens(c, h,
                arena_printf(arena, "for '%s'%s%.*s", json_string_value(theirs),
                             own->len > 0 ? " in " : "", STR_ARG(*own)));
}

static void judge_times(struct comparison *c, const struct access_holder *h)
{
    const json_t *exp = json_object_get(h->claims, "exp"), *nbf = json_object_get(h->claims, "nbf");
    double tolerance = c->ours->clock_tolerance;
    if (exp == NULL && c->ours->require_exp)
        tell_tokens(c, h, STR("without exp"));
    if (exp != NULL && c->time >= json_number_value(exp) + tolerance)
        tell_tokens(
            c, h,
            arena_printf(c->arena, "that expired up to %g s ago", c->theirs->clock_tolerance));
    if (nbf != NULL && json_number_value(nbf) > c->time + tolerance)
        tell_tokens(
            c, h,
            arena_printf(c->arena, "up to %g s before their nbf", c->theirs->clock_tolerance));
    if (c->ours->profile == PROFILE_AT_JWT && !h->at_jwt)
        tell_tokens(c, h, STR("that are no at+jwt"));
}

static void judge_bonds(struct comparison *c, const struct access_holder *h)
{
    if (!cert_passes(cert_mode(c->before->policy, c->ours), h->cert))
        tell_tokens(c, h,
                    h->cert == ACCESS_WITHOUT
                        ? STR("without the certificate that they are bound to")
                        : STR("that are bound to no certificate"));
    if (!proof_passes(proof_mode(c->before->policy, c->ours), h->proof))
        tell_tokens(c, h,
                    h->proof == ACCESS_WITHOUT
                        ? STR("without a proof by the key that they are bound to")
                        : STR("without a proof of possession"));
}

static void judge_sign_in(struct comparison *c, const struct access_holder *h, const json_t *claims)
{
    const struct policy *policy = c->before->policy;
    const json_t *acr = json_object_get(claims, "acr");
    if (!policy_has_acr(policy, claims))
        tell_tokens(c, h,
                    json_is_string(acr)
                        ? arena_printf(c->arena, "with acr '%s'", json_string_value(acr))
                        : arena_printf(c->arena, "without an acr of %.*s",
                                       STR_ARG(join(c->arena, policy->acr, policy->acr_count))));
    if (!policy_is_recent(policy, claims, c->time, c->ours->clock_tolerance))
        tell_tokens(c, h,
                    arena_printf(c->arena, "whose users signed in longer than %.0f s ago",
                                 policy->max_age));
}

static void judge_rules(struct comparison *c, const struct access_holder *h, const json_t *claims)
{
    const struct policy *policy = c->before->policy;
    bool has_any = false;
    for (unsigned i = 0; i < policy->scope_count; i++) {
        bool has = claims_have_scope(claims, policy->scopes[i]);
        has_any = has_any || has;
        if (!has && !policy->scope_any)
            tell_tokens(c, h,
                        arena_printf(c->arena, "without scope '%.*s'", STR_ARG(policy->scopes[i])));
    }
    if (policy->scope_any && policy->scope_count > 0 && !has_any)
        tell_tokens(c, h,
                    arena_printf(c->arena, "without a scope of %.*s",
                                 STR_ARG(join(c->arena, policy->scopes, policy->scope_count))));
    if (policy->role.len > 0 && !claims_have_role(claims, policy->role_path, policy->role))
        tell_tokens(c, h,
                    arena_printf(c->arena, "without role '%.*s'%s%.*s", STR_ARG(policy->role),
                                 policy->role_path.len > 0 ? " in " : "",
                                 STR_ARG(policy->role_path)));
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted)
    {
        if (!claims_match(claims_at(claims, str_from(name)), wanted))
            tell_tokens(c, h,
                        arena_printf(c->arena, "without the claim '%s' that was asked for", name));
    }
}

/* Each condition by itself: what the token fails is what is not asked for any more. */
static void judge(struct comparison *c, const struct access_holder *h)
{
    json_t *claims = claims_without_namespace(c->before->policy->namespace, h->claims);
    if (claims == NULL) {
        c->rc = -ENOMEM;
        return;
    }
    judge_addressee(c, h);
    judge_times(c, h);
    judge_bonds(c, h);
    judge_sign_in(c, h, claims);
    judge_rules(c, h, claims);
    json_decref(claims);
}

/* ---- the smallest tokens that `now` lets through ---- */

struct choices {
    unsigned count; /* of kinds */
    unsigned of[CHOICES_MAX];
};

static unsigned at_least_one(unsigned count)
{
    return count > 0 ? count : 1;
}

static struct choices count_choices(const struct comparison *c)
{
    const struct policy *policy = c->now->policy;
    const struct verifier *v = c->theirs;
    enum dpop_mode proof = proof_mode(policy, v);
    enum mtls_mode cert = cert_mode(policy, v);
    unsigned may_lack_exp = !v->require_exp && v->profile != PROFILE_AT_JWT;
    struct choices all = {.count = CHOICES};
    all.of[CHOICE_AUDIENCE] = at_least_one(v->audience_count);
    all.of[CHOICE_ALG] = (unsigned)__builtin_popcount(v->algorithms);
    all.of[CHOICE_TIME] = TIME_NO_EXP + may_lack_exp;
    all.of[CHOICE_PROOF] = proof == DPOP_OFF ? 3 : proof == DPOP_OPTIONAL ? 2 : 1;
    all.of[CHOICE_CERT] = cert == MTLS_OFF ? 3 : cert == MTLS_UNSET ? 2 : 1;
    all.of[CHOICE_ACR] = at_least_one(policy->acr_count);
    all.of[CHOICE_AGE] = policy->max_age > 0 ? 2 : 1;
    all.of[CHOICE_SCOPE] = policy->scope_any ? at_least_one(policy->scope_count) : 1;
    all.of[CHOICE_PLACE] = policy->scope_count > 0 ? 2 : 1;
    all.of[CHOICE_NAMESPACE] = policy->namespace.len > 0 ? 2 : 1;
    const char *name;
    json_t *wanted;
    json_object_foreach(policy->claims, name, wanted)
    {
        if (all.count < CHOICES_MAX)
            all.of[all.count++] =
                json_is_array(wanted) ? at_least_one((unsigned)json_array_size(wanted)) : 1;
    }
    return all;
}

/* One more value under that name. */
static bool put(json_t *claims, struct str name, json_t *value)
{
    json_t *there = json_object_getn(claims, name.ptr, name.len);
    if (there == NULL)
        return json_object_setn_new(claims, name.ptr, name.len, value) == 0;
    if (json_is_array(there))
        return json_array_append_new(there, value) == 0;
    json_t *both = json_pack("[O,o]", there, value);
    return both != NULL && json_object_setn_new(claims, name.ptr, name.len, both) == 0;
}

struct made {
    struct comparison *c;
    const unsigned *chosen;
    json_t *claims;
    bool good;
};

/* In the namespace, where that was chosen. */
static void put_named(struct made *m, struct str name, json_t *value)
{
    struct str ns = m->c->now->policy->namespace;
    if (m->chosen[CHOICE_NAMESPACE] == 1)
        name = arena_printf(m->c->arena, "%.*s%.*s", STR_ARG(ns), STR_ARG(name));
    m->good = name.ptr != NULL && value != NULL && put(m->claims, name, value) && m->good;
}

static json_t *text_of(struct str text)
{
    return json_stringn(text.ptr, text.len);
}

static void put_scopes(struct made *m)
{
    const struct policy *policy = m->c->now->policy;
    json_t *list = json_array();
    for (unsigned i = 0; i < policy->scope_count; i++)
        if (!policy->scope_any || i == m->chosen[CHOICE_SCOPE])
            m->good = json_array_append_new(list, text_of(policy->scopes[i])) == 0 && m->good;
    if (json_array_size(list) > 0)
        put_named(m, m->chosen[CHOICE_PLACE] == 0 ? STR("scope") : STR("permissions"), list);
    else
        json_decref(list);
}

static void put_rules(struct made *m)
{
    const struct policy *policy = m->c->now->policy;
    double oldest = policy->max_age + m->c->theirs->clock_tolerance;
    double ahead = m->c->theirs->clock_tolerance + 1;
    if (policy->acr_count > 0)
        put_named(m, STR("acr"), text_of(policy->acr[m->chosen[CHOICE_ACR]]));
    if (policy->max_age > 0)
        put_named(m, STR("auth_time"),
                  json_real(m->c->time + (m->chosen[CHOICE_AGE] == AGE_OLDEST ? -oldest : ahead)));
    put_scopes(m);
    if (policy->role.len > 0)
        put_named(m, policy->role_path.len > 0 ? policy->role_path : STR("roles"),
                  text_of(policy->role));
    const char *name;
    json_t *wanted;
    unsigned i = CHOICES;
    json_object_foreach(policy->claims, name, wanted)
    {
        json_t *value = wanted;
        if (json_is_array(wanted))
            value = json_array_get(wanted, i < CHOICES_MAX ? m->chosen[i] : 0);
        put_named(m, str_from(name), json_incref(value));
        i++;
    }
}

static void put_times(struct made *m)
{
    double now = m->c->time, tolerance = m->c->theirs->clock_tolerance;
    unsigned how = m->chosen[CHOICE_TIME];
    double exp = how == TIME_EXPIRED ? now - tolerance + 0.001 : now + 3600;
    if (how != TIME_NO_EXP)
        m->good = put(m->claims, STR("exp"), json_real(exp)) && m->good;
    if (how == TIME_EARLY)
        m->good = put(m->claims, STR("nbf"), json_real(now + tolerance)) && m->good;
}

static void put_required(struct made *m)
{
    static const char *const required[] = {"sub", "client_id", "jti"};
    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
        if (json_object_get(m->claims, required[i]) == NULL)
            m->good = put(m->claims, str_from(required[i]), json_string("x")) && m->good;
    if (json_object_get(m->claims, "iat") == NULL)
        m->good = put(m->claims, STR("iat"), json_real(m->c->time)) && m->good;
}

static enum alg nth_alg(unsigned bits, unsigned n)
{
    for (unsigned alg = 0; alg < 32; alg++)
        if ((bits & 1u << alg) != 0 && n-- == 0)
            return (enum alg)alg;
    return ALG_NONE_KNOWN;
}

/* Of how many choices there are it follows what each means: all, all but the one in the middle, or
 * the last alone. */
static enum access_hold nth_hold(unsigned count, unsigned n)
{
    return n + 1 == count ? ACCESS_WITH : n == 0 ? ACCESS_UNBOUND : ACCESS_WITHOUT;
}

static void try_one(struct comparison *c, const struct choices *all, const unsigned *chosen)
{
    const struct verifier *v = c->theirs;
    struct made m = {c, chosen, json_object(), true};
    struct str aud_claim = v->audience_claim.len > 0 ? v->audience_claim : STR("aud");
    m.good = m.claims != NULL && put(m.claims, STR("iss"), text_of(v->issuer));
    if (v->audience_count > 0)
        m.good = put(m.claims, aud_claim, text_of(v->audiences[chosen[CHOICE_AUDIENCE]])) && m.good;
    put_times(&m);
    put_rules(&m);
    if (v->profile == PROFILE_AT_JWT)
        put_required(&m);
    const struct access_holder holder = {
        .claims = m.claims,
        .alg = nth_alg(v->algorithms, chosen[CHOICE_ALG]),
        .at_jwt = v->profile == PROFILE_AT_JWT,
        .proof = nth_hold(all->of[CHOICE_PROOF], chosen[CHOICE_PROOF]),
        .cert = nth_hold(all->of[CHOICE_CERT], chosen[CHOICE_CERT]),
    };
    if (m.good)
        judge(c, &holder);
    else
        c->rc = -ENOMEM;
    json_decref(m.claims);
}

/* Each two choices together: no condition looks at more. */
static void try_all(struct comparison *c)
{
    struct choices all = count_choices(c);
    unsigned chosen[CHOICES_MAX] = {0};
    try_one(c, &all, chosen);
    for (unsigned i = 0; i < all.count; i++) {
        for (unsigned a = 1; a < all.of[i]; a++) {
            chosen[i] = a;
            try_one(c, &all, chosen);
            for (unsigned j = i + 1; j < all.count; j++) {
                for (unsigned b = 1; b < all.of[j] && c->rc == 0; b++) {
                    chosen[j] = b;
                    try_one(c, &all, chosen);
                }
                chosen[j] = 0;
            }
        }
        chosen[i] = 0;
    }
}

/* ---- issuers ---- */

static bool same_keys(const struct verifier_spec *a, const struct verifier_spec *b)
{
    return str_eq(a->jwks_uri, b->jwks_uri) && str_eq(a->secret, b->secret) &&
           str_eq(a->public_key, b->public_key);
}

/* Only the first of an issuer is ever asked. */
static unsigned find_issuer(const struct policy *policy, struct str issuer)
{
    unsigned i = 0;
    while (i < policy->verifier_count && !str_eq(policy->verifiers[i].issuer, issuer))
        i++;
    return i;
}

static void compare_issuer(struct comparison *c, unsigned index)
{
    const struct policy *before = c->before->policy;
    c->theirs = &c->now->policy->verifiers[index];
    unsigned i = find_issuer(before, c->theirs->issuer);
    c->ours = i < before->verifier_count ? &before->verifiers[i] : NULL;
    struct str text = policy_text(c->now->policy, c->arena);
    if (c->ours == NULL)
        tell(c,
             arena_printf(c->arena, "tokens of %.*s (%.*s)", STR_ARG(c->theirs->issuer),
                          STR_ARG(text)),
             NULL);
    else if (!same_keys(&c->before->specs[i], &c->now->specs[index]))
        tell_tokens(c, NULL, STR("signed with other keys"));
    if (c->ours != NULL)
        try_all(c);
}

static const struct introspection_spec *asked(const struct access *access)
{
    for (unsigned i = 0; i < access->policy->verifier_count; i++)
        if (access->specs[i].introspection.url.len > 0)
            return &access->specs[i].introspection;
    return NULL;
}

static void compare_opaque(struct comparison *c)
{
    const struct introspection_spec *now = asked(c->now), *before = asked(c->before);
    if (now != NULL && (before == NULL || !str_eq(now->url, before->url) ||
                        !str_eq(now->client_id, before->client_id)))
        tell(c,
             arena_printf(c->arena, "tokens that are no JWTs and that %.*s finds good",
                          STR_ARG(now->url)),
             NULL);
}

/* ---- kinds ---- */

static bool is_open(const struct policy *policy)
{
    return policy->kind == POLICY_PUBLIC || policy->kind == POLICY_UNSET;
}

static bool has_secret(const struct webhook *hook, const struct webhook_secret *secret)
{
    for (unsigned i = 0; i < hook->secret_count; i++)
        if (str_eq(hook->secrets[i].key, secret->key) &&
            hook->secrets[i].is_ed25519 == secret->is_ed25519)
            return true;
    return false;
}

static bool same_names(const struct webhook_names *a, const struct webhook_names *b)
{
    return str_eq(a->signature, b->signature) && str_eq(a->timestamp, b->timestamp) &&
           str_eq(a->id, b->id);
}

static bool same_scheme(const struct webhook *a, const struct webhook *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->encoding == b->encoding &&
           (a->digest == b->digest ||
            (a->digest != NULL && b->digest != NULL && strcmp(a->digest, b->digest) == 0)) &&
           same_names(&a->names[0], &b->names[0]) && same_names(&a->names[1], &b->names[1]) &&
           str_eq(a->prefix, b->prefix) && str_eq(a->signed_text, b->signed_text);
}

static void compare_webhooks(struct comparison *c)
{
    const struct webhook *now = c->now->policy->webhook;
    const struct policy *other = c->before->policy;
    const struct webhook *before =
        other != NULL && other->kind == POLICY_WEBHOOK ? other->webhook : NULL;
    if (before == NULL || !same_scheme(before, now)) {
        tell(c, arena_printf(c->arena, "senders of webhooks (%s)", now->name), NULL);
        return;
    }
    for (unsigned i = 0; i < now->secret_count; i++)
        if (!has_secret(before, &now->secrets[i]))
            tell(c,
                 arena_printf(c->arena, "senders of webhooks (%s) with another secret", now->name),
                 NULL);
    if (now->tolerance > before->tolerance)
        tell(c,
             arena_printf(c->arena, "senders of webhooks (%s) up to %g s late", now->name,
                          now->tolerance),
             NULL);
}

int access_compare(const struct access *before, const struct access *now, double time,
                   struct arena *arena, void (*found)(void *arg, const struct access_gap *gap),
                   void *arg)
{
    static const struct policy nobody = {.kind = POLICY_TOKEN};
    const struct access none = {&nobody, NULL};
    struct comparison c = {
        .before = before, .now = now, .time = time, .arena = arena, .found = found, .arg = arg};
    if (now->policy == NULL || (before->policy != NULL && is_open(before->policy)))
        return 0;
    if (is_open(now->policy)) {
        tell(&c, STR("everybody"), NULL);
    } else if (now->policy->kind == POLICY_WEBHOOK) {
        compare_webhooks(&c);
    } else {
        if (before->policy == NULL || before->policy->kind != POLICY_TOKEN)
            c.before = &none;
        for (unsigned i = 0; i < now->policy->verifier_count; i++)
            if (find_issuer(now->policy, now->policy->verifiers[i].issuer) == i)
                compare_issuer(&c, i);
        compare_opaque(&c);
        if (now->policy->login && !c.before->policy->login)
            tell(&c, STR("browsers that sign in"), NULL);
    }
    return c.rc;
}
