/* Asking about opaque tokens: what one token brings about is that one's alone, and what makes the
 * endpoint count as down. */
#include "issuer_fixture.h"

#include "issuer/introspection.h"

#define ENDPOINT "/introspect"
#define ACTIVE   "{\"active\":true,\"sub\":\"u\"}"

struct world {
    struct fixture *fx;
    struct opaque_source *source;
    struct fake_route *route;
    char url[128];
};

static void open_world(struct world *w, struct fixture *fx)
{
    struct err err = {""};
    *w = (struct world){.fx = fx};
    snprintf(w->url, sizeof(w->url), "%sintrospect", fx->url);
    const struct introspection_spec spec = {.url = str_from(w->url),
                                            .client_id = STR("id"),
                                            .client_secret = STR("secret"),
                                            .cache = 60};
    w->route = fake_route(&fx->fake, ENDPOINT);
    w->source = introspection_get(fx->issuers, &spec, &err);
    assert_non_null(w->source);
}

static enum opaque_state state_of(struct world *w, const char *token)
{
    struct claims *claims = NULL;
    enum opaque_state state = w->source->find(w->source, str_from(token), &claims);
    assert_true((claims != NULL) == (state == OPAQUE_ACTIVE));
    return state;
}

/* Was it asked for? Waits for the answer. */
static bool ask(struct world *w, const char *token)
{
    struct asker asker = {.wait = {.done = on_keys_done}, .fx = w->fx};
    if (introspection_want(w->source, str_from(token), &asker.wait) == 0)
        return false;
    wait_for(w->fx, &asker.done);
    return true;
}

/* What the token is after such an answer. */
static enum opaque_state after(struct world *w, const char *token, int status, const char *body)
{
    w->route->status = status;
    w->route->body = body;
    if (!ask(w, token))
        fail_msg("%s was not asked for", token);
    return state_of(w, token);
}

static const struct {
    int status;
    const char *body;
    enum opaque_state fresh, later; /* before and after the endpoint has once answered plainly */
} answers[] = {
    {200, ACTIVE, OPAQUE_ACTIVE, OPAQUE_ACTIVE},
    {200, "{\"active\":true,\"x\":99999999999999999999}", OPAQUE_ACTIVE, OPAQUE_ACTIVE},
    {200, "{\"active\":false}", OPAQUE_INACTIVE, OPAQUE_INACTIVE},
    {400, "{\"error\":\"invalid_token\"}", OPAQUE_UNKNOWN, OPAQUE_INACTIVE},
    {401, ACTIVE, OPAQUE_UNKNOWN, OPAQUE_INACTIVE},
    {403, "<html>", OPAQUE_UNKNOWN, OPAQUE_INACTIVE},
    {404, "", OPAQUE_UNKNOWN, OPAQUE_INACTIVE},
    {408, "", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {425, "", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {429, ACTIVE, OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {201, ACTIVE, OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {204, NULL, OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {302, ACTIVE, OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "<html>", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "[" ACTIVE "]", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "{\"active\":\"true\"}", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "{\"active\":false,\"active\":true}", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "{\"active\":true,\"x\":1e400}", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
    {200, "{\"active\":true,\"x\":\"\\ud800\"}", OPAQUE_UNKNOWN, OPAQUE_UNKNOWN},
};

enum { ANSWERS = sizeof(answers) / sizeof(answers[0]) };

static void an_odd_answer_is_of_its_token_alone(void **state)
{
    struct world w;
    char token[32];
    open_world(&w, *state);
    for (int trusted = 0; trusted < 2; trusted++) {
        for (int i = 0; i < ANSWERS; i++) {
            enum opaque_state right = trusted ? answers[i].later : answers[i].fresh;
            if (!trusted && i < 3)
                continue; /* a plain answer: what comes after it is the second round */
            snprintf(token, sizeof(token), "odd-%d-%d", trusted, i);
            if (after(&w, token, answers[i].status, answers[i].body) != right)
                fail_msg("%d %s", answers[i].status, answers[i].body);
            assert_true(right == OPAQUE_ACTIVE || !ask(&w, token)); /* not at once again */
            snprintf(token, sizeof(token), "good-%d", i);
            if (trusted)
                assert_int_equal(after(&w, token, 200, ACTIVE), OPAQUE_ACTIVE);
        }
    }
}

static void an_odd_token_is_asked_for_again(void **state)
{
    struct world w;
    open_world(&w, *state);
    after(&w, "t", 204, NULL);
    w.fx->now += LIMIT_INTROSPECTION_RETRY;
    assert_int_equal(after(&w, "t", 200, ACTIVE), OPAQUE_ACTIVE);
    assert_int_equal(after(&w, "r", 400, ""), OPAQUE_INACTIVE);
    w.fx->now += LIMIT_INTROSPECTION_RETRY;
    assert_int_equal(state_of(&w, "r"), OPAQUE_INACTIVE);
    w.fx->now += LIMIT_INTROSPECTION_INACTIVE;
    assert_int_equal(after(&w, "r", 200, ACTIVE), OPAQUE_ACTIVE);
}

/* So long may a revoked token still pass, and no longer than the answer says itself. */
static void an_answer_is_believed_for_its_time(void **state)
{
    struct world w;
    char body[128];
    open_world(&w, *state);
    assert_int_equal(after(&w, "t", 200, ACTIVE), OPAQUE_ACTIVE);
    w.fx->now += 59;
    assert_int_equal(state_of(&w, "t"), OPAQUE_ACTIVE);
    w.fx->now += 1;
    assert_int_equal(state_of(&w, "t"), OPAQUE_UNKNOWN);
    assert_int_equal(after(&w, "t", 200, "{\"active\":false}"), OPAQUE_INACTIVE);
    snprintf(body, sizeof(body), "{\"active\":true,\"exp\":%.0f}", w.fx->now + 10);
    assert_int_equal(after(&w, "short", 200, body), OPAQUE_ACTIVE);
    w.fx->now += 9;
    assert_int_equal(state_of(&w, "short"), OPAQUE_ACTIVE);
    w.fx->now += 1;
    assert_int_equal(state_of(&w, "short"), OPAQUE_UNKNOWN);
}

/* Many who bring the same token wait for one answer. */
static void one_question_for_many(void **state)
{
    static struct asker askers[20];
    struct world w;
    open_world(&w, *state);
    w.route->body = ACTIVE;
    for (int i = 0; i < 20; i++) {
        askers[i] = (struct asker){.wait = {.done = on_keys_done}, .fx = w.fx};
        assert_int_equal(introspection_want(w.source, STR("t"), &askers[i].wait), 1);
    }
    for (int i = 0; i < 20; i++)
        wait_for(w.fx, &askers[i].done);
    assert_int_equal(w.route->hits, 1);
    assert_int_equal(state_of(&w, "t"), OPAQUE_ACTIVE);
}

/* Failures of the endpoint itself: three in a row, then a pause for all; one between good answers
 * is nothing. */
static void failures_in_a_row_are_an_outage(void **state)
{
    static const struct {
        int status;
        bool drop;
    } faults[] = {{500, false}, {503, false}, {0, true}};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct world w;
        char token[32];
        open_world(&w, *state);
        w.fx->now += 100;
        for (int round = 0; round < 2 * LIMIT_INTROSPECTION_FAILURES; round++) {
            snprintf(token, sizeof(token), "bad-%zu-%d", i, round);
            w.route->drop = faults[i].drop;
            assert_int_equal(after(&w, token, faults[i].status, "{}"), OPAQUE_UNKNOWN);
            w.route->drop = false;
            snprintf(token, sizeof(token), "good-%zu-%d", i, round);
            assert_int_equal(after(&w, token, 200, ACTIVE), OPAQUE_ACTIVE);
        }
        w.route->drop = faults[i].drop;
        for (int round = 0; round < LIMIT_INTROSPECTION_FAILURES; round++) {
            snprintf(token, sizeof(token), "down-%zu-%d", i, round);
            assert_int_equal(after(&w, token, faults[i].status, "{}"), OPAQUE_UNKNOWN);
        }
        w.route->drop = false;
        assert_false(ask(&w, "next"));
        w.fx->now += LIMIT_INTROSPECTION_RETRY;
        snprintf(token, sizeof(token), "again-%zu", i);
        assert_int_equal(after(&w, token, 200, ACTIVE), OPAQUE_ACTIVE);
    }
}

/* However many are refused, who was let in is remembered. */
static void refusals_drive_no_answer_out(void **state)
{
    struct world w;
    char token[32];
    open_world(&w, *state);
    for (int i = 0; i < 50; i++) {
        snprintf(token, sizeof(token), "good-%d", i);
        assert_int_equal(after(&w, token, 200, ACTIVE), OPAQUE_ACTIVE);
    }
    unsigned kept = 0, still = 0; /* but for the few that want the same place */
    for (int i = 0; i < 50; i++) {
        snprintf(token, sizeof(token), "good-%d", i);
        kept += state_of(&w, token) == OPAQUE_ACTIVE;
    }
    for (int i = 0; i < 3 * LIMIT_INTROSPECTION_ANSWERS; i++) {
        snprintf(token, sizeof(token), "bad-%d", i);
        assert_int_equal(after(&w, token, 200, "{\"active\":false}"), OPAQUE_INACTIVE);
    }
    for (int i = 0; i < 50; i++) {
        snprintf(token, sizeof(token), "good-%d", i);
        still += state_of(&w, token) == OPAQUE_ACTIVE;
    }
    assert_int_equal(still, kept);
    assert_true(kept >= 40);
}

/* Strangers leave room for those who were let in before; who asks for one token shares. */
static void questions_are_bounded(void **state)
{
    static struct asker askers[LIMIT_INTROSPECTIONS + 8];
    struct world w;
    char token[32];
    unsigned count = 0;
    open_world(&w, *state);
    assert_int_equal(after(&w, "known", 200, ACTIVE), OPAQUE_ACTIVE);
    w.fx->now += 60;
    w.route->hang = true;
    for (; count < LIMIT_INTROSPECTION_NEWCOMERS; count++) {
        askers[count] = (struct asker){.wait = {.done = on_keys_done}, .fx = w.fx};
        snprintf(token, sizeof(token), "new-%u", count);
        assert_int_equal(introspection_want(w.source, str_from(token), &askers[count].wait), 1);
    }
    askers[count] = (struct asker){.wait = {.done = on_keys_done}, .fx = w.fx};
    assert_int_equal(introspection_want(w.source, STR("one more"), &askers[count].wait), 0);
    assert_int_equal(introspection_want(w.source, STR("new-0"), &askers[count++].wait), 1);
    askers[count] = (struct asker){.wait = {.done = on_keys_done}, .fx = w.fx};
    assert_int_equal(introspection_want(w.source, STR("known"), &askers[count++].wait), 1);
    for (unsigned i = 0; i < count; i++)
        issuer_cancel(&askers[i].wait);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_answer_is_believed_for_its_time),  CASE(one_question_for_many),
        CASE(an_odd_answer_is_of_its_token_alone), CASE(an_odd_token_is_asked_for_again),
        CASE(failures_in_a_row_are_an_outage),     CASE(questions_are_bounded),
        CASE(refusals_drive_no_answer_out),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
