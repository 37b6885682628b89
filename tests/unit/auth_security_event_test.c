/* Logout tokens and security events: what each asks to be revoked. What is refused, and how it is
 * answered, is in tests/wire/revocation-events.test.mjs. */
#include "unit.h"

#include <stdio.h>

#include "auth/claims.h"
#include "auth/security_event.h"
#include "base/buf.h"

#define NOW    1700000000
#define ISSUER "https://idp.example/"
#define CAEP   "https://schemas.openid.net/secevent/caep/event-type/"

static struct security_event event;

static void read_text(bool is_logout, const char *text)
{
    static json_t *claims; /* the event borrows its id from them */
    json_t *header = json_pack("{s:s}", "typ", is_logout ? "logout+jwt" : "secevent+jwt");
    json_decref(claims);
    claims = json_loads(text, 0, NULL);
    assert_non_null(claims);
    if (is_logout)
        security_event_read_logout(header, claims, STR(ISSUER), NOW, 60, &event);
    else
        security_event_read_set(header, claims, STR(ISSUER), NOW, 60, &event);
    json_decref(header);
}

static void read_set(const char *subject, const char *type, const char *members)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "{\"iat\":1699999990,\"jti\":\"j\",\"sub_id\":%s,\"events\":{\"%s\":{%s}}}", subject,
             type, members);
    read_text(false, text);
}

static bool asks_for(unsigned i, enum revocation_kind kind, const char *id, uint32_t before)
{
    struct revocation r = revocations_make(kind, STR(ISSUER), str_from(id), before, NOW);
    return i < event.count && event.list[i].name == r.name && event.list[i].before == before &&
           event.list[i].until == r.until;
}

#define LOGOUT(more) "{\"jti\":\"j\",\"events\":{\"" CLAIMS_LOGOUT_EVENT "\":{}}," more "}"

static void reads_logout_tokens(void **state)
{
    (void)state;
    read_text(true, LOGOUT("\"iat\":1699999990,\"sid\":\"s\",\"sub\":\"u\""));
    assert_true(event.err == NULL && event.count == 1 && str_eq(event.id, STR("j")));
    assert_true(asks_for(0, REVOCATION_SID, "s", REVOCATION_ALWAYS));
    read_text(true, LOGOUT("\"iat\":1699999990.5,\"sub\":\"u\""));
    assert_true(asks_for(0, REVOCATION_SUB, "u", 1699999990));
    read_text(true, LOGOUT("\"iat\":1700000060,\"sub\":\"u\"")); /* another clock's now */
    assert_true(asks_for(0, REVOCATION_SUB, "u", NOW));
    read_text(true, LOGOUT("\"iat\":1700000061,\"sub\":\"u\""));
    assert_string_equal(event.err, "invalid_request");
    read_text(true, LOGOUT("\"iat\":-1,\"sub\":\"u\""));
    assert_string_equal(event.err, "invalid_request");
}

#define USER "{\"format\":\"iss_sub\",\"iss\":\"" ISSUER "\",\"sub\":\"u\"}"

static void takes_the_time_of_the_event(void **state)
{
    (void)state;
    read_set(USER, CAEP "session-revoked", "");
    assert_true(asks_for(0, REVOCATION_SUB, "u", 1699999990));
    read_set(USER, CAEP "session-revoked", "\"event_timestamp\":1699990000");
    assert_true(asks_for(0, REVOCATION_SUB, "u", 1699990000));
    read_set(USER, CAEP "session-revoked", "\"event_timestamp\":1700000030");
    assert_true(asks_for(0, REVOCATION_SUB, "u", NOW));
}

static void reads_subjects(void **state)
{
    (void)state;
    read_set("{\"format\":\"opaque\",\"id\":\"o\"}", CAEP "session-revoked", "");
    assert_int_equal(event.count, 2);
    assert_true(asks_for(0, REVOCATION_SID, "o", REVOCATION_ALWAYS) &&
                asks_for(1, REVOCATION_SUB, "o", 1699999990));
    read_set(
        "{\"format\":\"complex\",\"session\":{\"format\":\"opaque\",\"id\":\"o\"},\"user\":" USER
        "}",
        CAEP "session-revoked", "");
    assert_true(event.count == 1 && asks_for(0, REVOCATION_SID, "o", REVOCATION_ALWAYS));
    read_set("{\"format\":\"complex\",\"tenant\":{\"format\":\"opaque\",\"id\":\"o\"}}",
             CAEP "session-revoked", "");
    assert_true(event.err == NULL && event.count == 0 && event.text != NULL);
    read_set("{\"format\":\"of our own\"}", CAEP "session-revoked", "");
    assert_true(event.err == NULL && event.count == 0);
    read_set("{\"format\":\"aliases\",\"identifiers\":[" USER ",{}]}", CAEP "session-revoked", "");
    assert_true(event.err != NULL && event.count == 0);
}

/* However deep and wide it is. */
static void is_bounded(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    for (unsigned i = 0; i < 30; i++)
        buf_add_str(&text, STR("{\"format\":\"aliases\",\"identifiers\":["));
    buf_add_str(&text, STR(USER));
    for (unsigned i = 0; i < 30; i++)
        buf_add_str(&text, STR("]}"));
    buf_add_char(&text, '\0');
    assert_false(buf_failed(&text));
    read_set(text.data, CAEP "session-revoked", "");
    buf_free(&text);
    assert_string_equal(event.err, "invalid_request");
    read_text(false, "{\"iat\":1699999990,\"jti\":\"j\",\"sub_id\":" USER ",\"events\":{\"" CAEP
                     "session-revoked\":{},\"" CAEP "token-claims-change\":{},\"other\":{}}}");
    assert_true(event.err == NULL && event.count == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_logout_tokens),
        cmocka_unit_test(takes_the_time_of_the_event),
        cmocka_unit_test(reads_subjects),
        cmocka_unit_test(is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
