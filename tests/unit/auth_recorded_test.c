/* The recorded answers of the original (tests/data/serverless-jwt.md): groups hdr, tok, clm and
 * scope, replayed through policy_check. Status and code must be as recorded, the text too where the
 * record names no deviation. Both backends, first with a cold cache, then with a warm one. */
#include "auth_fixture.h"

#include <stdio.h>
#include <time.h>

#include "auth/policy.h"

static const char FILE_NAME[] = "tests/data/serverless-jwt.json";

static struct {
    struct key *k1, *k2, *k3, *p256, *hmac;
    struct key_source source;
    json_t *cases;
} fx;

static int set_up(void **state)
{
    (void)state;
    struct buf pem = BUF_INIT;
    fx.k1 = auth_rsa(RSA_A, "k1");
    fx.k2 = auth_rsa(RSA_B, "k2");
    fx.k3 = auth_rsa(RSA_C, "k3");
    fx.p256 = auth_key(ALG_ES256, "k1");
    assert_int_equal(key_to_pem(fx.k1, &pem), 0);
    assert_int_equal(key_from_secret(buf_str(&pem), &fx.hmac, NULL), 0);
    buf_free(&pem);
    struct keyset *set = auth_keyset((struct key *[]){fx.k1, fx.k2}, 2, ALG_RS256);
    keyset_source_init(&fx.source);
    keyset_source_set(&fx.source, set);
    keyset_unref(set);
    json_error_t error;
    fx.cases = json_load_file(FILE_NAME, 0, &error);
    if (fx.cases == NULL)
        fail_msg("%s: %s", FILE_NAME, error.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    token_cache_clear();
    json_decref(fx.cases);
    keyset_source_clear(&fx.source);
    struct key *keys[] = {fx.k1, fx.k2, fx.k3, fx.p256, fx.hmac};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        key_unref(keys[i]);
    return 0;
}

/* ---- making the token that a record describes ---- */

/* now, now+5, now-10, now+1000.5: the number, and in *text what follows. */
static double moment(const char **text)
{
    char *end = NULL;
    double offset = 0;
    *text += strlen("now");
    if (**text == '+' || **text == '-') {
        offset = strtod(*text, &end);
        *text = end;
    }
    return NOW + offset;
}

/* Replaces $ISS and the placeholders of time, quoted or bare, in JSON text. */
static char *expand(const char *text)
{
    struct buf out = BUF_INIT;
    while (*text != '\0') {
        const bool is_text = strncmp(text, "\"text:now", 9) == 0;
        const bool quoted = is_text || strncmp(text, "\"now", 4) == 0;
        if (quoted || strncmp(text, "now+", 4) == 0 || strncmp(text, "now-", 4) == 0) {
            text += is_text ? 6 : quoted ? 1 : 0;
            const char *quote = is_text ? "\"" : "";
            double value = moment(&text);
            buf_printf(&out, "%s%.15g%s", quote, value, quote);
            text += quoted ? 1 : 0;
        } else if (strncmp(text, "$ISS", 4) == 0) {
            buf_add(&out, ISSUER, sizeof(ISSUER) - 2); /* without its slash */
            text += 4;
        } else {
            buf_add_char(&out, *text++);
        }
    }
    buf_add_char(&out, '\0');
    assert_false(buf_failed(&out));
    return out.data;
}

/* The text of jwtHeader or jwtClaims. */
static char *part_text(const json_t *part)
{
    const char *raw = json_string_value(json_object_get(part, "raw"));
    char *json = raw != NULL ? strdup(raw) : json_dumps(part, JSON_COMPACT | JSON_ENCODE_ANY);
    char *text = expand(json);
    free(json);
    return text;
}

static struct key *signer(const char *how, enum alg *alg)
{
    *alg = ALG_RS256;
    if (strcmp(how, "k1") == 0)
        return fx.k1;
    if (strcmp(how, "k3") == 0)
        return fx.k3;
    if (strcmp(how, "absent") == 0)
        return NULL;
    if (strncmp(how, "hmac-sha256", 11) == 0) {
        *alg = ALG_HS256;
        return fx.hmac;
    }
    const char *by = strstr(how, " by ");
    assert_non_null(by);
    *alg = alg_parse(str_from(by + 4));
    assert_int_not_equal(*alg, ALG_NONE_KNOWN);
    return *alg == ALG_ES256 ? fx.p256 : fx.k1;
}

static void set_claim(struct buf *token, const json_t *change)
{
    struct str rest = buf_str(token), part[3];
    for (size_t i = 0; i < 3; i++)
        assert_true(str_split_next(&rest, '.', &part[i]));
    char payload[4096];
    size_t len;
    assert_true(BASE64URL_DECODED_MAX(part[1].len) <= sizeof(payload));
    assert_int_equal(base64url_decode(part[1], payload, &len), 0);
    json_t *claims = json_loadb(payload, len, 0, NULL);
    json_object_set(claims, json_string_value(json_object_get(change, "name")),
                    json_object_get(change, "value"));
    char *text = json_dumps(claims, JSON_COMPACT);
    struct buf out = BUF_INIT;
    buf_printf(&out, "%.*s.", STR_ARG(part[0]));
    base64url_encode(text, strlen(text), &out);
    buf_printf(&out, ".%.*s", STR_ARG(part[2]));
    buf_free(token);
    *token = out;
    free(text);
    json_decref(claims);
}

static void apply_change(struct buf *token, const json_t *change)
{
    const char *op = json_string_value(json_object_get(change, "op"));
    const char *text = json_string_value(json_object_get(change, "text"));
    size_t signature = token->len;
    while (signature > 0 && token->data[signature - 1] != '.')
        signature--;
    if (op == NULL) {
        return;
    } else if (strcmp(op, "append") == 0) {
        buf_add_str(token, str_from(text));
    } else if (strcmp(op, "cut") == 0) {
        token->len -= (size_t)json_integer_value(json_object_get(change, "chars"));
    } else if (strcmp(op, "append-to-header") == 0) {
        struct buf out = BUF_INIT;
        size_t dot = str_find(buf_str(token), '.');
        buf_printf(&out, "%.*s%s%.*s", (int)dot, token->data, text, (int)(token->len - dot),
                   token->data + dot);
        buf_free(token);
        *token = out;
    } else if (strcmp(op, "signature-alphabet") == 0) {
        for (size_t i = signature; i < token->len; i++)
            token->data[i] = token->data[i] == '-'   ? '+'
                             : token->data[i] == '_' ? '/'
                                                     : token->data[i];
    } else if (strcmp(op, "flip-first-signature-char") == 0) {
        token->data[signature] = token->data[signature] == 'A' ? 'B' : 'A';
    } else {
        assert_string_equal(op, "set-claim");
        set_claim(token, change);
    }
}

/* The token of a record, and in *payload the text of its claims (owned by the caller). */
static struct buf make_token(const json_t *input, char **payload)
{
    enum alg alg;
    struct key *key = signer(json_string_value(json_object_get(input, "signedBy")), &alg);
    char *header = part_text(json_object_get(input, "jwtHeader"));
    *payload = part_text(json_object_get(input, "jwtClaims"));
    char *text = auth_token(key, alg, header, *payload);
    struct buf token = BUF_INIT;
    buf_add_str(&token, str_from(text));
    apply_change(&token, json_object_get(input, "change"));
    free(text);
    free(header);
    return token;
}

/* ---- one record ---- */

/* The Authorization header with the token in it; false when the record has none. */
static bool make_header(const json_t *input, struct buf *out, char **payload)
{
    const json_t *headers = json_object_get(input, "headers");
    const char *value = json_string_value(json_object_get(headers, "authorization"));
    *payload = NULL;
    if (value == NULL)
        return false;
    struct buf token = BUF_INIT;
    if (json_object_get(input, "jwtHeader") != NULL)
        token = make_token(input, payload);
    for (const char *at; (at = strstr(value, "<JWT>")) != NULL; value = at + 5) {
        buf_add(out, value, (size_t)(at - value));
        buf_add_str(out, buf_str(&token));
    }
    buf_add_str(out, str_from(value));
    buf_free(&token);
    return true;
}

/* The ISO text of a date in the claims. */
static void add_iso(struct buf *out, const char *payload, const char *member)
{
    json_t *claims = json_loads(payload, 0, NULL);
    double ms = json_number_value(json_object_get(claims, member)) * 1000;
    time_t seconds = (time_t)(ms >= 0 ? ms / 1000 : (ms - 999) / 1000);
    struct tm tm;
    char text[40];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));
    buf_printf(out, "%s.%03dZ", text, (int)(ms - (double)seconds * 1000));
    json_decref(claims);
}

/* The recorded text with its placeholders filled in. */
static char *recorded_text(const json_t *body, const char *payload)
{
    const char *text = json_string_value(json_object_get(body, "error_description"));
    char *expanded = expand(text);
    struct buf out = BUF_INIT;
    const char *at = strstr(expanded, "<iso of ");
    if (at != NULL) {
        char member[4] = {at[8], at[9], at[10], '\0'};
        buf_add(&out, expanded, (size_t)(at - expanded));
        add_iso(&out, payload, member);
        at += strlen("<iso of exp>");
    }
    buf_add_str(&out, str_from(at != NULL ? at : expanded));
    buf_add_char(&out, '\0');
    free(expanded);
    return out.data;
}

/* As {status, error}, from `expect` or from the record itself. */
static bool is_answer(const json_t *wanted, const struct exchange *ex)
{
    int status = ex->res.status != 0 ? ex->res.status : 200;
    const char *error = json_string_value(json_object_get(wanted, "error"));
    return json_integer_value(json_object_get(wanted, "status")) == status &&
           (error == NULL || strcmp(error, ex->error_code) == 0);
}

/* Where the record leaves room. */
static bool is_also_accepted(const json_t *record, const struct exchange *ex)
{
    const json_t *also = json_object_get(record, "also_accepted");
    bool found = false;
    for (size_t i = 0; i < json_array_size(also); i++)
        found = found ||
                (json_is_object(json_array_get(also, i)) && is_answer(json_array_get(also, i), ex));
    return found;
}

static void compare(const json_t *record, const struct exchange *ex, const char *payload)
{
    const json_t *expect = json_object_get(record, "expect"), *res = json_object_get(record, "res");
    const char *name = json_string_value(json_object_get(record, "name"));
    json_t *got = json_loadb(ex->res.body.ptr != NULL ? ex->res.body.ptr : "{}",
                             ex->res.body.ptr != NULL ? ex->res.body.len : 2, 0, NULL);
    const char *body_text = json_string_value(json_object_get(res, "body"));
    json_t *body = body_text != NULL ? json_loads(body_text, 0, NULL) : NULL;
    json_t *recorded = json_pack("{s:O*,s:O*}", "status", json_object_get(res, "statusCode"),
                                 "error", json_object_get(body, "error"));
    bool is_also = is_also_accepted(record, ex);
    if (!is_also && !is_answer(expect != NULL ? expect : recorded, ex))
        fail_msg("%s: answered %d %.*s", name, ex->res.status, STR_ARG(ex->res.body));
    if (expect == NULL && !is_also && ex->res.status == 401) {
        char *text = recorded_text(body, payload);
        const char *said = json_string_value(json_object_get(got, "error_description"));
        if (strcmp(text, said) != 0)
            fail_msg("%s: not '%s' but '%s'", name, text, said);
        free(text);
    }
    json_decref(recorded);
    json_decref(body);
    json_decref(got);
}

static void request(const json_t *record, const struct policy *policy, const struct str *header,
                    const char *payload)
{
    struct exchange ex = {0};
    struct verdict verdict;
    if (header != NULL)
        assert_int_equal(headers_add(&ex.req.headers, &ex.arena, STR("authorization"), *header), 0);
    policy_check(policy, &ex, NOW, true, &verdict);
    claims_unref(verdict.claims);
    compare(record, &ex, payload);
    arena_free(&ex.arena);
}

/* By each backend, and each time again when it may be in the cache. */
static void replay(const json_t *record)
{
    static const enum key_backend backends[] = {KEY_BACKEND_OPENSSL, KEY_BACKEND_LIBJWT};
    static struct str scope = {"read:shows", 10};
    struct verifier verifier = auth_verifier(&fx.source);
    const json_t *input = json_object_get(record, "input");
    bool scoped = json_object_get(input, "handler") != NULL;
    struct policy policy = {.kind = POLICY_TOKEN,
                            .scopes = &scope,
                            .scope_count = scoped ? 1 : 0,
                            .verifiers = &verifier,
                            .verifier_count = 1};
    struct buf header = BUF_INIT;
    char *payload;
    bool has = make_header(input, &header, &payload);
    struct str value = buf_str(&header);
    for (size_t i = 0; i < 4; i++) {
        verifier.backend = backends[i / 2];
        if (i % 2 == 0)
            token_cache_clear();
        request(record, &policy, has ? &value : NULL, payload);
    }
    buf_free(&header);
    free(payload);
}

/* The article's own mapping of claims is Lua; here the host's rule stands for it, except where they
 * differ on purpose. */
static bool is_ours(const char *name)
{
    static const char *const groups[] = {"hdr:", "tok:", "clm:", "scope(no map)", "scope(article"};
    if (strcmp(name, "scope(article map): only in permissions") == 0)
        return false;
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (strncmp(name, groups[i], strlen(groups[i])) == 0)
            return true;
    }
    return false;
}

static unsigned replay_list(const char *list)
{
    unsigned count = 0;
    size_t i;
    const json_t *record;
    json_array_foreach(json_object_get(fx.cases, list), i, record)
    {
        if (is_ours(json_string_value(json_object_get(record, "name")))) {
            replay(record);
            count++;
        }
    }
    return count;
}

static void answers_as_recorded(void **state)
{
    (void)state;
    assert_int_equal(replay_list("cases"), 95);
    assert_int_equal(replay_list("not_to_copy"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_recorded),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
