/* Who signed a webhook: a vector of each scheme, which the sender's own library takes as well, and
 * everything beside it. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "auth/webhook.h"
#include "base/buf.h"
#include "base/limits.h"

#define NOW 1767225600.0 /* 2026-01-01T00:00:00Z */
#define BODY                                                                                       \
    "{\"type\":\"order.paid\",\"data\":{\"id\":7,\"note\":\"Gr\xc3\xb6\xc3\x9f"                    \
    "e 40\"}}"
#define WHSEC_0 "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define WHSEC_1 "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
#define WHPK    "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
#define V1_0    "v1,/Y1GwhPhg2NC/LD3+FYf1yr+mQfVD2NIBU9LdBlk0e4="
#define V1_1    "v1,c704V5Im11y14Y77BHIVlHGyxlvbFTLvpI6vHW6sctU="
#define V1A                                                                                        \
    "v1a,lNIVzDNh6144HXa6Sf0VEgiFe3Az9TLFO4Tx5fGVZdO6kOiHV5vM6Y68a326b4mPbt2AkeMwmPEhl43o1YAhDA=="
#define STRIPE_SECRET "whsec_luafn_test_secret"
#define STRIPE_HEX    "c86e23ddfca50a29b5e6da5a4c9d76dc72af1a776b8a7e5c064b145493bc54a5"
#define GITHUB_HEX    "1e64ebd26aa66c9d96014051bb511ce0c3a2333f2d9117df184f72728fd76f3b"
#define SHOPIFY_MAC   "4Q7ZJo+qjfPFYbwj1L0vFACRiwUe07m2hOKZN/QJTi4="
#define BODY_HASH     "c71aaf50b0039583a85109f7ca7e9e5463fd06ebe162600484e6694b9a906079"
#define FORM          "To=%2B15557654321&From=%2B15551234567&Body=Hello+&CallSid=CA123"

enum { HEADERS = 4, SECRETS = 3 };

struct vector {
    const char *scheme, *secrets[SECRETS];
    const char *headers[HEADERS][2];
    const char *body;
    const char *target; /* NULL: "/hook" */
    const char *id;     /* of the delivery; NULL: the signature stands for it */
    bool free_id;       /* the id's header is not signed */
};

static const struct vector vectors[] = {
    {"standard",
     {WHSEC_0},
     {{"webhook-signature", V1_0}, {"webhook-timestamp", "1767225600"}, {"webhook-id", "msg_01"}},
     BODY,
     NULL,
     "msg_01",
     false},
    {"standard",
     {WHSEC_1},
     {{"svix-signature", V1_1}, {"svix-timestamp", "1767225600"}, {"svix-id", "msg_01"}},
     BODY,
     NULL,
     "msg_01",
     false},
    {"standard",
     {WHPK},
     {{"webhook-signature", V1A}, {"webhook-timestamp", "1767225600"}, {"webhook-id", "msg_01"}},
     BODY,
     NULL,
     "msg_01",
     false},
    {"stripe",
     {STRIPE_SECRET},
     {{"stripe-signature", "t=1767225600,v1=" STRIPE_HEX}},
     BODY,
     NULL,
     NULL,
     false},
    {"github",
     {"It's a Secret"},
     {{"x-hub-signature-256", "sha256=" GITHUB_HEX}, {"x-github-delivery", "72d3162e-cc78"}},
     BODY,
     NULL,
     "72d3162e-cc78",
     true},
    {"slack",
     {"8f742231b10e8888abcd99yyyzzz85a5"},
     {{"x-slack-signature", "v0=334a41b372e7fd701e4abcb665131446f26a72832418a44e2044b352e23b44c1"},
      {"x-slack-request-timestamp", "1767225600"}},
     "token=x&team_id=T1&command=%2Fhi&text=94070",
     NULL,
     NULL,
     false},
    {"shopify",
     {"hush"},
     {{"x-shopify-hmac-sha256", SHOPIFY_MAC}, {"x-shopify-webhook-id", "b54557e4"}},
     BODY,
     NULL,
     "b54557e4",
     true},
    {"shopify",
     {"hush"},
     {{"shopify-hmac-sha256", SHOPIFY_MAC}, {"shopify-webhook-id", "b54557e5"}},
     BODY,
     NULL,
     "b54557e5",
     true},
    {"twilio",
     {"12345"},
     {{"x-twilio-signature", "4LcQOi1wez18qrrtDHsJ+g6vA9Y="},
      {"content-type", "application/x-www-form-urlencoded; charset=utf-8"}},
     FORM,
     "/twilio?x=1",
     NULL,
     false},
    {"twilio",
     {"12345"},
     {{"x-twilio-signature", "AV9fAabWh++sBRH0gjZmkxsKDSKZpFovukbtuLNmchY="},
      {"content-type", "application/x-www-form-urlencoded"},
      {"x-twilio-webhooks-signature-settings", "key=v1,algorithm=HMAC_SHA256"}},
     FORM,
     "/twilio?x=1",
     NULL,
     false},
    {"twilio",
     {"12345"},
     {{"x-twilio-signature", "Uopo5G6UM/oc/D5F2Ai3neQAQig="}, {"content-type", "application/json"}},
     BODY,
     "/twilio?bodySHA256=" BODY_HASH,
     NULL,
     false},
};

enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

/* One request that is judged; texts may be changed before. */
struct world {
    struct arena arena;
    struct webhook webhook;
    struct webhook_secret secrets[SECRETS];
    struct request req;
    struct webhook_delivery delivery;
    double now;
};

static void add_secret(struct world *w, const char *text)
{
    w->webhook.secrets = w->secrets;
    assert_int_equal(webhook_read_secret(&w->webhook, str_from(text), &w->arena,
                                         &w->secrets[w->webhook.secret_count++]),
                     0);
}

static void set_target(struct world *w, const char *target)
{
    w->req.target = str_from(target);
    size_t mark = str_find(w->req.target, '?');
    w->req.path = (struct str){target, mark};
    w->req.query = mark < w->req.target.len ? str_skip(w->req.target, mark + 1) : STR("");
}

static void add_header(struct world *w, const char *name, const char *value)
{
    assert_int_equal(headers_add(&w->req.headers, &w->arena, str_from(name),
                                 arena_copy(&w->arena, str_from(value))),
                     0);
}

static void set_header(struct world *w, const char *name, const char *value)
{
    assert_int_equal(headers_set(&w->req.headers, &w->arena, str_from(name),
                                 arena_copy(&w->arena, str_from(value))),
                     0);
}

static void begin(struct world *w, const struct vector *v)
{
    *w = (struct world){.webhook = *webhook_find(str_from(v->scheme)), .now = NOW};
    arena_init(&w->arena);
    w->webhook.tolerance = 300;
    for (unsigned i = 0; i < SECRETS && v->secrets[i] != NULL; i++)
        add_secret(w, v->secrets[i]);
    for (unsigned i = 0; i < HEADERS && v->headers[i][0] != NULL; i++)
        add_header(w, v->headers[i][0], v->headers[i][1]);
    w->req.scheme = STR("https");
    w->req.host = STR("hooks.example.com");
    w->req.body = arena_copy(&w->arena, str_from(v->body));
    set_target(w, v->target != NULL ? v->target : "/hook");
}

static enum webhook_result judge(struct world *w)
{
    enum webhook_result head = webhook_check_head(&w->webhook, &w->req);
    enum webhook_result result =
        webhook_check(&w->webhook, &w->req, &w->arena, w->now, &w->delivery);
    if (head != WEBHOOK_GOOD)
        assert_int_equal(result, head);
    return result;
}

static void each_scheme_takes_its_vector(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VECTORS; i++) {
        struct world w;
        begin(&w, &vectors[i]);
        assert_int_equal(judge(&w), WEBHOOK_GOOD);
        if (vectors[i].id != NULL)
            assert_true(str_eq(w.delivery.id, str_from(vectors[i].id)));
        else
            assert_true(w.delivery.id.len >= 40);
        assert_true(w.delivery.until == NOW + 300);
        arena_free(&w.arena);
    }
}

/* The letter after "%2" is the same in both cases. */
static bool is_same_form(const struct vector *v, const char *at, unsigned bit)
{
    return strcmp(v->body, FORM) == 0 && bit == 5 && at[0] == 'B' && at[-1] == '2';
}

static bool is_unsigned_header(const struct vector *v, const char *name)
{
    return (v->free_id && strstr(name, "signature") == NULL && strstr(name, "hmac") == NULL) ||
           strcmp(name, "content-type") == 0 || strstr(name, "settings") != NULL;
}

static void flip_all(struct world *w, const struct vector *v, struct str text, const char *what)
{
    char *bytes = (char *)(uintptr_t)text.ptr;
    for (size_t at = 0; at < text.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            if (text.ptr == w->req.body.ptr && is_same_form(v, text.ptr + at, bit))
                continue;
            bytes[at] = (char)(bytes[at] ^ (1 << bit));
            enum webhook_result result = judge(w);
            if (result == WEBHOOK_GOOD)
                fail_msg("%s: %s, byte %zu, bit %u", v->scheme, what, at, bit);
            bytes[at] = (char)(bytes[at] ^ (1 << bit));
        }
    }
}

static void one_bit_less_is_refused(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VECTORS; i++) {
        struct world w;
        begin(&w, &vectors[i]);
        flip_all(&w, &vectors[i], w.req.body, "body");
        for (uint32_t h = 0; h < w.req.headers.len; h++) {
            if (!is_unsigned_header(&vectors[i], w.req.headers.items[h].name.ptr))
                flip_all(&w, &vectors[i], w.req.headers.items[h].value,
                         w.req.headers.items[h].name.ptr);
        }
        for (unsigned s = 0; s < w.webhook.secret_count; s++) {
            w.secrets[s].key = arena_copy(&w.arena, w.secrets[s].key);
            flip_all(&w, &vectors[i], w.secrets[s].key, "secret");
        }
        assert_int_equal(judge(&w), WEBHOOK_GOOD);
        arena_free(&w.arena);
    }
}

static void headers_come_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VECTORS; i++) {
        for (unsigned h = 0; h < HEADERS && vectors[i].headers[h][0] != NULL; h++) {
            const char *name = vectors[i].headers[h][0];
            struct world w;
            if (strcmp(name, "content-type") == 0 || strstr(name, "settings") != NULL)
                continue;
            begin(&w, &vectors[i]);
            add_header(&w, name, vectors[i].headers[h][1]);
            assert_int_equal(judge(&w), WEBHOOK_INVALID); /* twice */
            arena_free(&w.arena);
            begin(&w, &vectors[i]);
            w.req.headers.items[h].name = STR("x-other");
            bool is_free_id = is_unsigned_header(&vectors[i], name);
            assert_int_equal(judge(&w), is_free_id ? WEBHOOK_GOOD : WEBHOOK_INVALID); /* missing */
            assert_true(!is_free_id || w.delivery.id.len >= 40);
            arena_free(&w.arena);
            begin(&w, &vectors[i]);
            set_header(&w, name, "");
            assert_int_equal(judge(&w), is_free_id ? WEBHOOK_GOOD : WEBHOOK_INVALID);
            arena_free(&w.arena);
        }
    }
}

static void a_timestamp_counts_for_its_tolerance(void **state)
{
    (void)state;
    static const struct {
        double now;
        enum webhook_result result;
    } cases[] = {
        {NOW, WEBHOOK_GOOD},         {NOW + 299, WEBHOOK_GOOD},  {NOW - 299, WEBHOOK_GOOD},
        {NOW + 300.9, WEBHOOK_GOOD}, {NOW - 300, WEBHOOK_GOOD},  {NOW + 301, WEBHOOK_STALE},
        {NOW - 301, WEBHOOK_STALE},  {NOW + 1e9, WEBHOOK_STALE}, {NOW - 300.5, WEBHOOK_STALE}};
    for (unsigned i = 0; i < VECTORS; i++) {
        struct world w;
        begin(&w, &vectors[i]);
        bool timed = strcmp(w.webhook.name, "standard") == 0 ||
                     strcmp(w.webhook.name, "stripe") == 0 || strcmp(w.webhook.name, "slack") == 0;
        for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
            w.now = cases[c].now;
            assert_int_equal(judge(&w), timed ? cases[c].result : WEBHOOK_GOOD);
        }
        w.now = NOW - 200; /* its clock is ahead: a repeat is good until then */
        assert_int_equal(judge(&w), WEBHOOK_GOOD);
        assert_true(w.delivery.until == (timed ? NOW + 300 : NOW + 100));
        arena_free(&w.arena);
    }
}

static const struct vector *find(const char *scheme, unsigned skip)
{
    for (unsigned i = 0; i < VECTORS; i++) {
        if (strcmp(vectors[i].scheme, scheme) == 0 && skip-- == 0)
            return &vectors[i];
    }
    fail();
    return NULL;
}

struct header_case {
    const char *scheme, *name, *value;
    enum webhook_result result;
};

static void forms_of_headers(void **state)
{
    (void)state;
    static const struct header_case cases[] = {
        {"standard", "webhook-signature", "v1,bm9wZQ== " V1_0, WEBHOOK_GOOD},
        {"standard", "webhook-signature", V1_0 " v1,bm9wZQ==", WEBHOOK_GOOD},
        {"standard", "webhook-signature", "v9,x " V1_0, WEBHOOK_GOOD},
        {"standard", "webhook-signature",
         "v2,/Y1GwhPhg2NC/LD3+FYf1yr+mQfVD2NIBU9LdBlk0e4=", WEBHOOK_INVALID},
        {"standard", "webhook-signature",
         "/Y1GwhPhg2NC/LD3+FYf1yr+mQfVD2NIBU9LdBlk0e4=", WEBHOOK_INVALID},
        {"standard", "webhook-signature", "v1,/Y1GwhPhg2NC/LD3+FYf1yr+mQfVD2NIBU9LdBlk0e4",
         WEBHOOK_INVALID}, /* no padding */
        {"standard", "webhook-signature", "v1,_Y1GwhPhg2NC_LD3-FYf1yr-mQfVD2NIBU9LdBlk0e4=",
         WEBHOOK_INVALID}, /* the alphabet of URLs */
        {"standard", "webhook-signature", V1A, WEBHOOK_INVALID},
        {"standard", "webhook-timestamp", "+1767225600", WEBHOOK_INVALID},
        {"standard", "webhook-timestamp", "1767225600.0", WEBHOOK_INVALID},
        {"standard", "webhook-timestamp", "99999999999999999999", WEBHOOK_INVALID},
        {"standard", "webhook-id", "msg_02", WEBHOOK_INVALID},
        {"standard", "webhook-id", "msg.01", WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "t=1767225600,v1=" STRIPE_HEX ",v0=" STRIPE_HEX,
         WEBHOOK_GOOD},
        {"stripe", "stripe-signature", "v1=00,t=1767225600,v1=" STRIPE_HEX, WEBHOOK_GOOD},
        {"stripe", "stripe-signature", "t=1767225600,v0=" STRIPE_HEX, WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "t=1767225600,t=1767225600,v1=" STRIPE_HEX, WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "v1=" STRIPE_HEX, WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "t=1767225600", WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "t=,v1=" STRIPE_HEX, WEBHOOK_INVALID},
        {"stripe", "stripe-signature", "t=1767225600,v1=" STRIPE_HEX "00", WEBHOOK_INVALID},
        {"stripe", "stripe-signature",
         "t=1767225600,v1=c86e23ddfca50a29b5e6da5a4c9d76dc72af1a776b8a7e5c064b145493bc54",
         WEBHOOK_INVALID},
        {"github", "x-hub-signature-256", GITHUB_HEX, WEBHOOK_INVALID},
        {"github", "x-hub-signature-256", "sha1=1a82635cb5dc6a67b670ceed2c0093fb3c242b4a",
         WEBHOOK_INVALID},
        {"github", "x-hub-signature-256", "sha1=" GITHUB_HEX, WEBHOOK_INVALID},
        {"github", "x-hub-signature-256",
         "sha256=1E64EBD26AA66C9D96014051BB511CE0C3A2333F2D9117DF184F72728FD76F3B",
         WEBHOOK_INVALID},
        {"github", "x-hub-signature-256", "sha256=", WEBHOOK_INVALID},
        {"shopify", "x-shopify-hmac-sha256", "4Q7ZJo+qjfPFYbwj1L0vFACRiwUe07m2hOKZN/QJTi4",
         WEBHOOK_INVALID},
        {"shopify", "x-shopify-hmac-sha256",
         "4Q7ZJo-qjfPFYbwj1L0vFACRiwUe07m2hOKZN_QJTi4=", WEBHOOK_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        begin(&w, find(cases[i].scheme, 0));
        set_header(&w, cases[i].name, cases[i].value);
        enum webhook_result result = judge(&w);
        if (result != cases[i].result)
            fail_msg("%s: %s: %u", cases[i].name, cases[i].value, result);
        arena_free(&w.arena);
    }
}

/* More signatures than are looked at cost nothing, and hide none of the first ones. */
static void a_list_has_an_end(void **state)
{
    (void)state;
    for (int junk = 15; junk <= 16; junk++) {
        struct world w;
        struct buf value = BUF_INIT;
        begin(&w, find("standard", 0));
        for (int i = 0; i < junk; i++)
            buf_printf(&value, "v1,bm9wZQ== ");
        buf_printf(&value, "%s%c", V1_0, 0);
        set_header(&w, "webhook-signature", value.data);
        assert_int_equal(judge(&w), junk == 15 ? WEBHOOK_GOOD : WEBHOOK_INVALID);
        buf_free(&value);
        arena_free(&w.arena);
    }
}

static void any_of_the_secrets_will_do(void **state)
{
    (void)state;
    static const char *const others[] = {[WEBHOOK_PLAIN] = "another",
                                         [WEBHOOK_STANDARD] = WHSEC_1,
                                         [WEBHOOK_STRIPE] = "whsec_another",
                                         [WEBHOOK_TWILIO] = "another"};
    for (unsigned i = 0; i < VECTORS; i++) {
        struct world w;
        begin(&w, &vectors[i]);
        const char *other =
            strcmp(vectors[i].secrets[0], WHSEC_1) == 0 ? WHSEC_0 : others[w.webhook.kind];
        w.secrets[2] = w.secrets[0];
        w.webhook.secret_count = 0;
        add_secret(&w, other);
        assert_int_equal(judge(&w), WEBHOOK_INVALID);
        w.secrets[w.webhook.secret_count++] = w.secrets[2];
        assert_int_equal(judge(&w), WEBHOOK_GOOD);
        arena_free(&w.arena);
    }
}

static void secrets_are_what_the_scheme_says(void **state)
{
    (void)state;
    static const struct {
        const char *scheme, *text;
        int rc;
        size_t len;
    } cases[] = {
        {"standard", WHSEC_0, 0, 32},
        {"standard", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", 0, 32},
        {"standard", WHPK, 0, 32},
        {"standard", "whpk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", -EINVAL, 0},
        {"standard", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, 24},
        {"standard", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", -EINVAL, 0},
        {"standard", "whsec_luafn_test_secret", -EINVAL, 0},
        {"standard", "whsec_", -EINVAL, 0},
        {"standard", "", -EINVAL, 0},
        {"stripe", WHSEC_0, 0, 50},
        {"github", "x", 0, 1},
        {"github", "", -EINVAL, 0},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct webhook_secret secret;
        assert_int_equal(webhook_read_secret(webhook_find(str_from(cases[i].scheme)),
                                             str_from(cases[i].text), &arena, &secret),
                         cases[i].rc);
        if (cases[i].rc == 0)
            assert_int_equal(secret.key.len, cases[i].len);
    }
    arena_free(&arena);
}

static void stripes_id_stands_in_its_body(void **state)
{
    (void)state;
    static const struct {
        const char *body, *id;
    } cases[] = {{"{\"id\":\"evt_1\",\"object\":\"event\"}", "evt_1"},
                 {"{\"data\":{\"id\":\"evt_2\"}}", NULL},
                 {"{\"id\":7}", NULL},
                 {"{\"id\":\"\"}", NULL},
                 {"[1]", NULL},
                 {"no JSON", NULL},
                 {"", NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        begin(&w, find("stripe", 0));
        w.req.body = str_from(cases[i].body);
        assert_int_equal(webhook_sign(&w.webhook, &w.req, &w.arena, NOW, STR("")), 0);
        assert_int_equal(judge(&w), WEBHOOK_GOOD);
        if (cases[i].id != NULL)
            assert_true(str_eq(w.delivery.id, str_from(cases[i].id)));
        else
            assert_int_equal(w.delivery.id.len, 64);
        arena_free(&w.arena);
    }
}

static void twilio_signs_urls_and_fields(void **state)
{
    (void)state;
    static const struct {
        unsigned vector;
        const char *host, *target, *body, *type;
        enum webhook_result result;
    } cases[] = {
        {0, NULL, NULL, NULL, NULL, WEBHOOK_GOOD},
        {0, "hooks.example.com:443", NULL, NULL, NULL, WEBHOOK_GOOD},
        {0, "hooks.example.com:8443", NULL, NULL, NULL, WEBHOOK_GOOD}, /* it may leave it out */
        {0, "other.example.com", NULL, NULL, NULL, WEBHOOK_INVALID},
        {0, NULL, "/twilio?x=2", NULL, NULL, WEBHOOK_INVALID},
        {0, NULL, "/twilio", NULL, NULL, WEBHOOK_INVALID},
        {0, NULL, NULL, "Body=Hello%20&CallSid=CA123&From=%2B15551234567&To=%2B15557654321", NULL,
         WEBHOOK_GOOD}, /* another order, other escapes */
        {0, NULL, NULL, FORM "&CallSid=CA123", NULL, WEBHOOK_GOOD}, /* said twice */
        {0, NULL, NULL, FORM "&CallSid=CA124", NULL, WEBHOOK_INVALID},
        {0, NULL, NULL, "Body=Hello&CallSid=CA123&From=%2B15551234567&To=%2B15557654321", NULL,
         WEBHOOK_INVALID}, /* the blank at the end is part of it */
        {0, NULL, NULL, NULL, "application/json", WEBHOOK_INVALID},
        {0, NULL, NULL, NULL, "multipart/form-data; boundary=x", WEBHOOK_INVALID},
        {2, NULL, NULL, NULL, NULL, WEBHOOK_GOOD},
        {2, NULL, NULL, "{}", NULL, WEBHOOK_INVALID},
        {2, NULL, NULL, "", NULL, WEBHOOK_INVALID},
        {2, NULL, "/twilio", NULL, NULL, WEBHOOK_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        begin(&w, find("twilio", cases[i].vector));
        if (cases[i].host != NULL)
            w.req.host = str_from(cases[i].host);
        if (cases[i].target != NULL)
            set_target(&w, cases[i].target);
        if (cases[i].body != NULL)
            w.req.body = str_from(cases[i].body);
        if (cases[i].type != NULL)
            set_header(&w, "content-type", cases[i].type);
        enum webhook_result result = judge(&w);
        if (result != cases[i].result)
            fail_msg("case %zu: %u", i, result);
        arena_free(&w.arena);
    }
}

/* What is signed, but not the body, is not signed: also where the MAC fits. */
static void twilio_signs_no_other_body(void **state)
{
    (void)state;
    static const struct {
        const char *target, *type, *body;
        int rc;
    } cases[] = {
        {"/t", NULL, "", 0},
        {"/t", "application/json", "", 0},
        {"/t", "application/x-www-form-urlencoded", "", 0},
        {"/t", "application/json", "{}", -ENOTSUP},
        {"/t?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
         "application/json", "{}", 0},
        {"/t?bodySHA256=44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A",
         "application/json", "{}", -ENOTSUP},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        begin(&w, find("twilio", 0));
        set_target(&w, cases[i].target);
        set_header(&w, "content-type", cases[i].type != NULL ? cases[i].type : "");
        w.req.body = str_from(cases[i].body);
        assert_int_equal(webhook_sign(&w.webhook, &w.req, &w.arena, NOW, STR("")), cases[i].rc);
        assert_int_equal(judge(&w), cases[i].rc == 0 ? WEBHOOK_GOOD : WEBHOOK_INVALID);
        arena_free(&w.arena);
    }
}

static void too_many_fields_are_no_form(void **state)
{
    (void)state;
    for (int over = 0; over <= 1; over++) {
        struct world w;
        struct buf body = BUF_INIT;
        for (int i = 0; i < LIMIT_FORM_FIELDS + over; i++)
            buf_printf(&body, i > 0 ? "&a" : "a");
        begin(&w, find("twilio", 0));
        w.req.body = buf_str(&body);
        assert_int_equal(webhook_sign(&w.webhook, &w.req, &w.arena, NOW, STR("")),
                         over ? -ENOTSUP : 0);
        assert_int_equal(judge(&w), over ? WEBHOOK_INVALID : WEBHOOK_GOOD);
        buf_free(&body);
        arena_free(&w.arena);
    }
}

static void what_is_signed_here_passes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VECTORS; i++) {
        struct world w;
        begin(&w, &vectors[i]);
        w.req.headers.len = 0;
        if (strcmp(vectors[i].scheme, "twilio") == 0)
            add_header(&w, "content-type", vectors[i].headers[1][1]);
        int rc = webhook_sign(&w.webhook, &w.req, &w.arena, NOW + 0.7, STR("an-id"));
        assert_int_equal(rc, strcmp(vectors[i].secrets[0], WHPK) == 0 ? -ENOTSUP : 0);
        assert_int_equal(judge(&w), rc == 0 ? WEBHOOK_GOOD : WEBHOOK_INVALID);
        arena_free(&w.arena);
    }
}

static void a_form_of_ones_own(void **state)
{
    (void)state;
    static const char *const digests[] = {"sha1", "sha256", "sha384", "sha512"};
    for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        for (int encoding = WEBHOOK_HEX; encoding <= WEBHOOK_BASE64; encoding++) {
            struct webhook_secret secret = {.key = STR("k")};
            struct webhook webhook = {
                .name = "custom",
                .encoding = (enum webhook_encoding)encoding,
                .digest = webhook_find_digest(str_from(digests[i])),
                .names = {{STR("x-sig"), STR("x-time"), STR("x-id")}},
                .prefix = STR("sig="),
                .signed_text = STR("{timestamp}:{body}:{id}"),
                .secrets = &secret,
                .secret_count = 1,
                .tolerance = 10,
            };
            struct world w;
            begin(&w, find("github", 0));
            w.webhook = webhook;
            assert_int_equal(webhook_sign(&webhook, &w.req, &w.arena, NOW, STR("a.b")), 0);
            assert_int_equal(judge(&w), WEBHOOK_GOOD);
            assert_true(str_eq(w.delivery.id, STR("a.b")));
            w.now = NOW + 11;
            assert_int_equal(judge(&w), WEBHOOK_STALE);
            w.now = NOW;
            set_header(&w, "x-id", "a.c");
            assert_int_equal(judge(&w), WEBHOOK_INVALID);
            arena_free(&w.arena);
        }
    }
    assert_null(webhook_find_digest(STR("md5")));
    assert_null(webhook_find(STR("custom")));
}

static void pieces_of_what_is_signed(void **state)
{
    (void)state;
    static const struct {
        const char *text, *piece;
        bool is_name;
        size_t rest;
    } cases[] = {{"v0:{id}", "v0:", false, 4}, {"{id}.x", "id", true, 2},
                 {"{id", "{id", false, 0},     {"}", "}", false, 0},
                 {"{}x", "", true, 1},         {"{a{b}", "a{b", true, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str rest = str_from(cases[i].text), piece;
        bool is_name;
        assert_true(webhook_next_piece(&rest, &piece, &is_name));
        assert_true(str_eq(piece, str_from(cases[i].piece)));
        assert_int_equal(is_name, cases[i].is_name);
        assert_int_equal(rest.len, cases[i].rest);
    }
    struct str rest = STR(""), piece;
    bool is_name;
    assert_false(webhook_next_piece(&rest, &piece, &is_name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_scheme_takes_its_vector),
        cmocka_unit_test(one_bit_less_is_refused),
        cmocka_unit_test(headers_come_once),
        cmocka_unit_test(a_timestamp_counts_for_its_tolerance),
        cmocka_unit_test(forms_of_headers),
        cmocka_unit_test(a_list_has_an_end),
        cmocka_unit_test(any_of_the_secrets_will_do),
        cmocka_unit_test(secrets_are_what_the_scheme_says),
        cmocka_unit_test(stripes_id_stands_in_its_body),
        cmocka_unit_test(twilio_signs_urls_and_fields),
        cmocka_unit_test(twilio_signs_no_other_body),
        cmocka_unit_test(too_many_fields_are_no_form),
        cmocka_unit_test(what_is_signed_here_passes),
        cmocka_unit_test(a_form_of_ones_own),
        cmocka_unit_test(pieces_of_what_is_signed),
    };
    return cmocka_run_group_tests_name("auth_webhook", tests, NULL, NULL);
}
