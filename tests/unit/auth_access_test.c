/* What is computed about pairs of policies, held against what policy_check does with tokens: random
 * pairs, random tokens, signed ones. Every example of a gain is let through by the one and refused
 * by the other; where no gain is told, no token finds one. */
#include "auth_fixture.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "auth/access.h"

enum { PAIRS = 2000, TOKENS = 50, ISSUERS = 2 };

static const char *const issuers[] = {"https://one.example/", "https://two.example/"};
static const char *const audiences[] = {"A", "B", "C"};
static const char *const scopes[] = {"a", "b", "c"};
static const char *const roles[] = {"admin", "user"};
static const char *const classes[] = {"x", "y"};
static const char certificate[] = "the bytes of a certificate";

static struct key *key;
static struct key_source source;

static int set_up(void **state)
{
    (void)state;
    char secret[64];
    memset(secret, 's', sizeof(secret));
    assert_int_equal(key_from_secret((struct str){secret, sizeof(secret)}, &key, NULL), 0);
    keyset_source_init(&source);
    struct keyset *set = keyset_of(key);
    keyset_source_set(&source, set);
    keyset_unref(set);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_cache_clear();
    keyset_source_clear(&source);
    key_unref(key);
    return 0;
}

static unsigned below(unsigned count)
{
    return next_random() % count;
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* ---- policies ---- */

/* All that one points to. */
struct world {
    struct policy policy;
    struct verifier_spec specs[ISSUERS];
    struct verifier verifiers[ISSUERS];
    struct str audiences[ISSUERS][3], scopes[3], acr[2];
    struct access access;
};

static unsigned pick(struct str *out, const char *const *from, unsigned count)
{
    unsigned picked = 0;
    for (unsigned i = 0; i < count; i++)
        if (chance(50))
            out[picked++] = str_from(from[i]);
    return picked;
}

static void make_verifier(struct world *w, unsigned i, const char *issuer)
{
    static const unsigned algorithms[] = {ALG_BIT(ALG_HS256), ALG_BIT(ALG_HS512),
                                          ALG_BIT(ALG_HS256) | ALG_BIT(ALG_HS384)};
    struct verifier *v = &w->verifiers[i];
    verify_setup(v);
    v->issuer = str_from(issuer);
    v->keys = &source;
    v->audiences = w->audiences[i];
    v->audience_count = pick(w->audiences[i], audiences, 3);
    if (v->audience_count == 0)
        w->audiences[i][v->audience_count++] = STR("A");
    if (chance(20))
        v->audience_claim = STR("client_id");
    v->algorithms = algorithms[chance(60) ? 0 : below(3)];
    v->clock_tolerance = chance(30) ? 30 : 0;
    v->require_exp = chance(70);
    v->profile = chance(20) ? PROFILE_AT_JWT : PROFILE_ANY;
    v->mtls = chance(70) ? MTLS_UNSET : (enum mtls_mode)below(3);
    v->dpop.mode = chance(70) ? DPOP_UNSET : (enum dpop_mode)below(DPOP_REQUIRED);
}

static json_t *some_claims(void)
{
    switch (below(12)) {
    case 0:
        return json_pack("{s:s}", "tier", "gold");
    case 1:
        return json_pack("{s:[s,s]}", "tier", "gold", "free");
    case 2:
        return json_pack("{s:i,s:s}", "level", 3, "tier", "free");
    case 3:
        return json_pack("{s:s}", "roles", "admin");
    case 4:
        return json_pack("{s:s}", "realm.roles", "admin");
    case 5:
        return json_pack("{s:s}", "scope", "a");
    case 6:
        return json_pack("{s:[s,b]}", "tier", "gold", 1);
    default:
        return NULL;
    }
}

static void make_world(struct world *w)
{
    struct policy *p = &w->policy;
    memset(w, 0, sizeof(*w));
    p->kind = chance(92) ? POLICY_TOKEN : chance(50) ? POLICY_PUBLIC : POLICY_UNSET;
    unsigned first = chance(80) ? 0 : 1, count = chance(30) ? 2 : 1;
    for (unsigned i = 0; i < count; i++)
        make_verifier(w, i, issuers[(first + i) % ISSUERS]);
    p->verifiers = w->verifiers;
    p->verifier_count = count;
    p->scopes = w->scopes;
    p->scope_count = chance(60) ? pick(w->scopes, scopes, 3) : 0;
    p->scope_any = p->scope_count > 0 && chance(50);
    p->role = chance(40) ? str_from(roles[below(2)]) : STR("");
    p->role_path = chance(20) ? STR("realm.roles") : STR("");
    p->acr = w->acr;
    p->acr_count = chance(30) ? pick(w->acr, classes, 2) : 0;
    p->max_age = chance(30) ? 60 * (1 + below(2)) : 0;
    p->namespace = chance(20) ? STR("n/") : STR("");
    p->mtls = chance(80) ? MTLS_UNSET : (enum mtls_mode)below(3);
    p->dpop.mode = chance(80) ? DPOP_UNSET : (enum dpop_mode)below(DPOP_REQUIRED);
    p->claims = some_claims();
    w->access = (struct access){p, w->specs};
}

static void point(struct world *w)
{
    for (unsigned i = 0; i < ISSUERS; i++)
        w->verifiers[i].audiences = w->audiences[i];
    w->policy.verifiers = w->verifiers;
    w->policy.scopes = w->scopes;
    w->policy.acr = w->acr;
    w->access = (struct access){&w->policy, w->specs};
}

/* What one thing of a policy is in another. */
static void take_over(struct world *w, const struct world *other, unsigned thing)
{
    struct policy *p = &w->policy;
    const struct policy *o = &other->policy;
    struct verifier *v = &w->verifiers[0];
    const struct verifier *ov = &other->verifiers[0];
    switch (thing) {
    case 0:
        memcpy(w->scopes, other->scopes, sizeof(w->scopes));
        p->scope_count = o->scope_count;
        p->scope_any = o->scope_any;
        break;
    case 1:
        p->role = o->role;
        p->role_path = o->role_path;
        break;
    case 2:
        json_decref(p->claims);
        p->claims = json_incref(o->claims);
        break;
    case 3:
        memcpy(w->acr, other->acr, sizeof(w->acr));
        p->acr_count = o->acr_count;
        break;
    case 4:
        p->max_age = o->max_age;
        break;
    case 5:
        p->namespace = o->namespace;
        break;
    case 6:
        p->mtls = o->mtls;
        p->dpop = o->dpop;
        break;
    case 7:
        memcpy(w->audiences[0], other->audiences[0], sizeof(w->audiences[0]));
        v->audience_count = ov->audience_count;
        v->audience_claim = ov->audience_claim;
        break;
    case 8:
        v->algorithms = ov->algorithms;
        break;
    case 9:
        v->require_exp = ov->require_exp;
        v->clock_tolerance = ov->clock_tolerance;
        break;
    case 10:
        v->profile = ov->profile;
        break;
    default:
        v->mtls = ov->mtls;
        v->dpop = ov->dpop;
        break;
    }
}

/* Most pairs differ in one thing, or two. */
static void vary(const struct world *from, struct world *w)
{
    struct world other;
    make_world(&other);
    if (chance(20)) {
        *w = other;
    } else {
        *w = *from;
        json_incref(w->policy.claims);
        for (unsigned changes = 1 + below(2); changes > 0; changes--)
            take_over(w, &other, below(12));
        json_decref(other.policy.claims);
    }
    point(w);
}

/* ---- tokens ---- */

static void set(json_t *claims, const char *ns, const char *name, json_t *value)
{
    char full[64];
    snprintf(full, sizeof(full), "%s%s", chance(50) ? ns : "", name);
    json_object_set_new(claims, full, value);
}

static json_t *words(const struct str *all, unsigned count, unsigned percent)
{
    char text[64] = "";
    json_t *list = json_array();
    for (unsigned i = 0; i < count; i++) {
        if (!chance(percent))
            continue;
        json_array_append_new(list, json_stringn(all[i].ptr, all[i].len));
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s", text[0] ? " " : "",
                 STR_ARG(all[i]));
    }
    if (chance(20))
        json_array_append_new(list, json_string("other"));
    if (chance(50))
        return list;
    json_decref(list);
    return json_string(text);
}

static void set_rules(json_t *claims, const struct policy *p, const char *ns)
{
    static const char *const places[] = {"scope", "scope", "permissions", "scp"};
    static const double ages[] = {10, 59, 61, 80, 119, 121, 160, -20};
    if (chance(80))
        set(claims, ns, places[below(4)], words(p->scopes, p->scope_count, 85));
    if (chance(70))
        set(claims, ns, p->role_path.len > 0 || chance(10) ? "realm.roles" : "roles",
            chance(50) ? json_string(roles[below(2)]) : json_pack("[s,s]", "admin", "user"));
    const char *name;
    json_t *wanted;
    json_object_foreach(p->claims, name, wanted)
    {
        if (chance(85))
            set(claims, ns, name,
                json_is_array(wanted)
                    ? json_incref(json_array_get(wanted, below((unsigned)json_array_size(wanted))))
                    : json_incref(wanted));
    }
    if (p->acr_count > 0 ? chance(90) : chance(20))
        set(claims, ns, "acr", json_string(classes[below(2)]));
    if (p->max_age > 0 ? chance(90) : chance(20))
        set(claims, ns, "auth_time", json_real(NOW - ages[below(8)]));
}

static void make_holder(const struct policy *p, struct access_holder *h)
{
    static const enum alg algs[] = {ALG_HS256, ALG_HS384, ALG_HS512};
    const struct verifier *v = &p->verifiers[below(p->verifier_count)];
    const char *ns = p->namespace.len > 0 || chance(20) ? "n/" : "";
    json_t *claims = json_object();
    *h = (struct access_holder){.claims = claims, .alg = algs[chance(70) ? 0 : below(3)]};
    json_object_set_new(claims, "iss", json_stringn(v->issuer.ptr, v->issuer.len));
    json_object_set_new(claims, v->audience_claim.len > 0 ? "client_id" : "aud",
                        chance(70) ? json_string(audiences[below(3)])
                                   : json_pack("[s,s]", "A", audiences[below(3)]));
    if (chance(85))
        json_object_set_new(claims, "exp", json_real(NOW + (chance(85) ? 100 : -10)));
    if (chance(15))
        json_object_set_new(claims, "nbf", json_real(NOW + (chance(50) ? 20 : -20)));
    h->at_jwt = chance(v->profile == PROFILE_AT_JWT ? 90 : 30);
    if (h->at_jwt) {
        json_object_set_new(claims, "sub", json_string("s"));
        json_object_set_new(claims, "iat", json_real(NOW));
        json_object_set_new(claims, "jti", json_string("j"));
        if (json_object_get(claims, "client_id") == NULL)
            json_object_set_new(claims, "client_id", json_string("A"));
    }
    set_rules(claims, p, ns);
    h->cert = chance(60) ? ACCESS_UNBOUND : (enum access_hold)below(3);
    h->proof = chance(80) ? ACCESS_UNBOUND : ACCESS_WITHOUT;
}

/* ---- what the host does ---- */

static json_t *bonds_of(const struct access_holder *h)
{
    unsigned char hash[32];
    struct buf text = BUF_INIT;
    SHA256((const unsigned char *)certificate, sizeof(certificate) - 1, hash);
    base64url_encode(hash, sizeof(hash), &text);
    json_t *cnf = json_object();
    if (h->cert != ACCESS_UNBOUND)
        json_object_set_new(cnf, "x5t#S256", json_stringn(text.data, text.len));
    if (h->proof != ACCESS_UNBOUND)
        json_object_set_new(cnf, "jkt", json_string("of a key that is not here"));
    buf_free(&text);
    return cnf;
}

static char *sign(const struct access_holder *h)
{
    char header[64];
    json_t *claims = json_copy(h->claims);
    json_object_set_new(claims, "cnf", bonds_of(h));
    char *text = json_dumps(claims, 0);
    snprintf(header, sizeof(header), "{\"alg\":\"%s\"%s}", alg_name(h->alg),
             h->at_jwt ? ",\"typ\":\"at+jwt\"" : "");
    char *token = auth_token(key, h->alg, header, text);
    free(text);
    json_decref(claims);
    return token;
}

static bool passes(const struct policy *policy, const struct access_holder *h, const char *token)
{
    struct exchange ex = {0};
    struct verdict verdict = {0};
    arena_init(&ex.arena);
    struct str value = arena_printf(&ex.arena, "Bearer %s", token);
    assert_int_equal(headers_add(&ex.req.headers, &ex.arena, STR("authorization"), value), 0);
    if (h->cert == ACCESS_WITH)
        ex.req.client_cert = (struct str){certificate, sizeof(certificate) - 1};
    enum policy_result result = policy_check(policy, &ex, NOW, true, &verdict);
    claims_unref(verdict.claims);
    arena_free(&ex.arena);
    return result == POLICY_ALLOW;
}

/* ---- both ---- */

struct told {
    const struct world *before, *now;
    unsigned gaps, held;
};

static void on_gap(void *arg, const struct access_gap *gap)
{
    struct told *told = arg;
    told->gaps++;
    if (gap->example.claims == NULL || gap->example.proof == ACCESS_WITH)
        return;
    char *token = sign(&gap->example);
    if (!passes(&told->now->policy, &gap->example, token) ||
        passes(&told->before->policy, &gap->example, token)) {
        char *text = json_dumps(gap->example.claims, 0);
        fail_msg("%.*s: %s", STR_ARG(gap->who), text);
    }
    free(token);
    told->held++;
}

static void try_pair(struct told *all, unsigned *gained, unsigned *kept)
{
    struct world before, now;
    struct arena arena;
    arena_init(&arena);
    make_world(&before);
    vary(&before, &now);
    struct told told = {.before = &before, .now = &now};
    assert_int_equal(access_compare(&before.access, &now.access, NOW, &arena, on_gap, &told), 0);
    for (unsigned i = 0; i < TOKENS; i++) {
        struct access_holder h;
        make_holder(chance(80) ? &now.policy : &before.policy, &h);
        char *token = sign(&h);
        bool in_now = passes(&now.policy, &h, token), in_before = passes(&before.policy, &h, token);
        if (in_now && !in_before && told.gaps == 0)
            fail_msg("nobody gained, but %s", token);
        *gained += in_now && !in_before;
        *kept += in_now && in_before;
        free(token);
        json_decref(h.claims);
    }
    all->gaps += told.gaps;
    all->held += told.held;
    json_decref(before.policy.claims);
    json_decref(now.policy.claims);
    arena_free(&arena);
}

static void pairs_are_told_as_they_are(void **state)
{
    (void)state;
    struct told all = {0};
    unsigned gained = 0, kept = 0;
    unsigned pairs = (unsigned)(PAIRS / slowness());
    for (unsigned i = 0; i < pairs; i++)
        try_pair(&all, &gained, &kept);
    print_message("%u pairs, %u tokens: %u gained, %u kept; %u gains told, %u examples held\n",
                  pairs, pairs * TOKENS, gained, kept, all.gaps, all.held);
    assert_true(gained > pairs && kept > pairs && all.held > pairs / 2);
}

static void nobody_gains_from_the_same(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        struct world one;
        struct arena arena;
        struct told told = {0};
        arena_init(&arena);
        make_world(&one);
        told.before = told.now = &one;
        assert_int_equal(access_compare(&one.access, &one.access, NOW, &arena, on_gap, &told), 0);
        assert_int_equal(told.gaps, 0);
        json_decref(one.policy.claims);
        arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_told_as_they_are),
        cmocka_unit_test(nobody_gains_from_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
