/* What is said to a token endpoint, and what it says. */
#include "issuer/outbound_request.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/limits.h"
#include "http/date.h"
#include "issuer/client_auth.h"
#include "json/strict.h"

/* ---- the request ---- */

static void add_field(struct buf *form, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_printf(form, "%s%s=", form->len > 0 ? "&" : "", name);
    client_auth_add_form(form, value);
}

/* RFC 7523 section 3: good for a minute, and for one request. */
static int add_assertion(const struct outbound_spec *spec, double now, struct buf *form,
                         struct err *err)
{
    struct buf claims = BUF_INIT, assertion = BUF_INIT;
    unsigned char id[16];
    char hex[2 * sizeof(id) + 1];
    if (getrandom(id, sizeof(id), 0) != sizeof(id))
        return err_set(err, -EIO, "no random bytes");
    buf_add_str(&claims, STR("{\"iss\":"));
    buf_add_json(&claims, spec->client_id);
    buf_add_str(&claims, STR(",\"sub\":"));
    buf_add_json(&claims, spec->client_id);
    buf_add_str(&claims, STR(",\"aud\":"));
    buf_add_json(&claims,
                 spec->assertion_audience.len > 0 ? spec->assertion_audience : spec->token_url);
    buf_printf(&claims, ",\"iat\":%lld,\"exp\":%lld,\"jti\":\"", (long long)now,
               (long long)now + LIMIT_OUTBOUND_ASSERTION);
    str_write_hex(id, sizeof(id), hex);
    buf_add_str(&claims, str_from(hex));
    buf_add_str(&claims, STR("\"}"));
    int rc = buf_failed(&claims)
                 ? err_set(err, -ENOMEM, "out of memory")
                 : key_sign(spec->key, spec->alg, NULL, buf_str(&claims), &assertion, err);
    if (rc == 0) {
        add_field(form, "client_assertion_type",
                  STR("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
        add_field(form, "client_assertion", buf_str(&assertion));
    }
    buf_free(&claims);
    buf_free(&assertion);
    return rc;
}

int outbound_request_write(const struct outbound_spec *spec, struct str subject, double now,
                           struct buf *form, struct buf *authorization, struct err *err)
{
    int rc = 0;
    if (spec->grant == OUTBOUND_TOKEN_EXCHANGE) {
        add_field(form, "grant_type", STR("urn:ietf:params:oauth:grant-type:token-exchange"));
        add_field(form, "subject_token", subject);
        add_field(form, "subject_token_type", STR("urn:ietf:params:oauth:token-type:access_token"));
    } else {
        add_field(form, "grant_type", STR("client_credentials"));
    }
    add_field(form, "scope", spec->scope);
    add_field(form, "audience", spec->audience);
    add_field(form, "resource", spec->resource);
    if (spec->client_secret.ptr == NULL) {
        add_field(form, "client_id", spec->client_id);
        rc = add_assertion(spec, now, form, err);
    } else if (spec->in_body) {
        add_field(form, "client_id", spec->client_id);
        add_field(form, "client_secret", spec->client_secret);
    } else {
        client_auth_add_basic(authorization, spec->client_id, spec->client_secret);
    }
    if (rc == 0 && (buf_failed(form) || buf_failed(authorization)))
        rc = err_set(err, -ENOMEM, "out of memory");
    return rc;
}

/* ---- the answer ---- */

static struct str text_of(const json_t *json, const char *name)
{
    const json_t *member = json_object_get(json, name);
    return (struct str){json_string_value(member), json_string_length(member)};
}

/* Some send a text. What is no time to come is none. */
static double read_life(const json_t *member)
{
    char *end = NULL;
    double life = json_is_string(member) ? strtod(json_string_value(member), &end)
                                         : json_number_value(member);
    if ((end != NULL && *end != '\0') || !isfinite(life) || life <= 0)
        return 0;
    return life < LIMIT_OUTBOUND_LIFE ? life : LIMIT_OUTBOUND_LIFE;
}

static bool is_sendable(struct str token)
{
    for (size_t i = 0; i < token.len; i++)
        if (token.ptr[i] <= ' ' || token.ptr[i] > '~')
            return false;
    return token.len > 0 && token.len <= LIMIT_OUTBOUND_TOKEN_BYTES;
}

/* The first word of `wanted` that is not in `granted`; empty: none. */
static struct str lacking(struct str wanted, struct str granted)
{
    struct str word, other;
    while (str_split_next(&wanted, ' ', &word)) {
        struct str rest = granted;
        bool found = word.len == 0;
        while (!found && str_split_next(&rest, ' ', &other))
            found = str_eq(word, other);
        if (!found)
            return word;
    }
    return (struct str){"", 0};
}

static enum outbound_verdict read_token(const struct outbound_spec *spec, const json_t *json,
                                        struct outbound_answer *answer)
{
    struct str token = text_of(json, "access_token"), type = text_of(json, "token_type");
    struct str granted = text_of(json, "scope");
    struct str lacks = granted.ptr != NULL ? lacking(spec->scope, granted) : STR("");
    if (!is_sendable(token)) {
        snprintf(answer->trouble, sizeof(answer->trouble),
                 "the token endpoint answers without a token");
        return OUTBOUND_FAILED;
    }
    if (!str_eq_nocase(type, STR("bearer"))) {
        snprintf(answer->trouble, sizeof(answer->trouble),
                 "the token endpoint gives no bearer token, as its token_type says");
        return OUTBOUND_REFUSED;
    }
    if (lacks.len > 0) {
        snprintf(answer->trouble, sizeof(answer->trouble),
                 "the token endpoint did not grant the scope '%.*s'",
                 (int)(lacks.len < 60 ? lacks.len : 60), lacks.ptr);
        return OUTBOUND_REFUSED;
    }
    answer->life = read_life(json_object_get(json, "expires_in"));
    buf_add_str(&answer->value, STR("Bearer "));
    buf_add_str(&answer->value, token);
    buf_add_char(&answer->value, '\0');
    if (!buf_failed(&answer->value))
        return OUTBOUND_GIVEN;
    snprintf(answer->trouble, sizeof(answer->trouble), "out of memory");
    return OUTBOUND_FAILED;
}

/* A code as those of RFC 6749 5.2 are: nothing else is shown. */
static bool is_code(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((s.ptr[i] < 'a' || s.ptr[i] > 'z') && s.ptr[i] != '_')
            return false;
    return s.len > 0 && s.len <= 40;
}

static bool is_of_client(struct str code)
{
    return str_eq(code, STR("invalid_client")) || str_eq(code, STR("unauthorized_client")) ||
           str_eq(code, STR("unsupported_grant_type"));
}

static enum outbound_verdict read_error(const struct outbound_spec *spec, long status,
                                        const json_t *json, struct outbound_answer *answer)
{
    struct str code = text_of(json, "error");
    bool refuses = status >= 400 && status < 500 && status != 408 && status != 425 && status != 429;
    if (!is_code(code)) {
        snprintf(answer->trouble, sizeof(answer->trouble),
                 "the token endpoint answers with status %ld", status);
        return refuses ? OUTBOUND_REFUSED : OUTBOUND_FAILED;
    }
    snprintf(answer->trouble, sizeof(answer->trouble),
             "the token endpoint refuses: %.*s (status %ld)", STR_ARG(code), status);
    if (!refuses)
        return OUTBOUND_FAILED;
    return spec->grant == OUTBOUND_TOKEN_EXCHANGE && !is_of_client(code) ? OUTBOUND_REFUSED_CALLER
                                                                         : OUTBOUND_REFUSED;
}

/* RFC 9110 10.2.3; what it asks for, within reason. */
static double read_retry_after(const struct client_response *res)
{
    double seconds = 0;
    for (unsigned i = 0; i < res->header_count; i++) {
        struct str value = res->headers[i].value;
        char text[16];
        if (!str_eq(res->headers[i].name, STR("retry-after")))
            continue;
        snprintf(text, sizeof(text), "%.*s", (int)(value.len < 15 ? value.len : 15), value.ptr);
        int64_t when = date_parse(value);
        seconds = when >= 0 ? (double)when - clock_now() : strtod(text, NULL);
    }
    return seconds > 0 ? fmin(seconds, LIMIT_OUTBOUND_RETRY_AFTER) : 0;
}

enum outbound_verdict outbound_answer_read(const struct outbound_spec *spec,
                                           const struct client_response *res,
                                           struct outbound_answer *answer)
{
    *answer = (struct outbound_answer){.value = BUF_INIT};
    if (res->error != 0) {
        snprintf(answer->trouble, sizeof(answer->trouble), "the token endpoint: %s",
                 res->error_text);
        return OUTBOUND_FAILED;
    }
    json_t *json = strict_json_load_wide(res->body, JSON_REJECT_DUPLICATES, NULL);
    enum outbound_verdict verdict = res->status == 200
                                        ? read_token(spec, json, answer)
                                        : read_error(spec, res->status, json, answer);
    if (verdict == OUTBOUND_FAILED)
        answer->retry_after = read_retry_after(res);
    json_decref(json);
    return verdict;
}
