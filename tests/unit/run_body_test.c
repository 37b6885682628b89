/* A request's body on its way to a function: the slot that it has meanwhile, its limit, its end,
 * and a handler that asks for it in pieces. */
#include "run_fixture.h"

#define SIZE                                                                                       \
    "return function(event) local n = 0 for p in event:chunks() do n = n + #p end return tostring(n) end"
#define STREAM(text)                                                                               \
    "return { stream_body = true, handler = function(event)\n"                                     \
    "local x <close> = setmetatable({}, {__close = function() note('closed') end}) " text " end }"

static const struct http_fault cut = {400, "body_cut", "The body was cut"};

static void the_slot_is_held_while_it_comes(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[3];
    load_function(fx, SIZE);
    for (int i = 0; i < 3; i++)
        ask_sending(fx, &a[i], 5, true);
    assert_int_equal(fx->function->running, 2);
    assert_int_equal(fx->function->queued, 1);
    assert_false(function_is_idle(fx->function));
    assert_int_equal(a[0].ex->state, EXCHANGE_BODY);
    assert_int_equal(a[0].pulls, 1);
    assert_int_equal(a[2].ex->state, EXCHANGE_HEAD); /* who waits is not read from */
    assert_int_equal(a[2].pulls, 0);
    asked_sends(&a[0], STR("ab"), false);
    assert_false(a[0].answered);
    asked_sends(&a[0], STR("cde"), true);
    assert_answer(&a[0], 200, "5");
    assert_int_equal(a[2].pulls, 1);
    asked_sends(&a[2], STR("abcde"), true);
    asked_sends(&a[1], STR("abcd"), true);
    assert_answer(&a[2], 200, "5");
    assert_answer(&a[1], 200, "4");
    assert_true(function_is_idle(fx->function));
}

static void the_limit_comes_after_the_slot(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[5];
    load_function(fx, SIZE);
    ask_sending(fx, &a[0], 11, true);
    assert_answer(&a[0], 413, "payload_too_large");
    ask_sending(fx, &a[0], 10, true);
    asked_sends(&a[0], STR("abcdefghij"), true);
    assert_answer(&a[0], 200, "10");
    ask_sending(fx, &a[0], BODY_UNSIZED, true);
    asked_sends(&a[0], STR("abcdefghijk"), false);
    assert_answer(&a[0], 413, "payload_too_large");
    assert_true(function_is_idle(fx->function));
    for (int i = 0; i < 4; i++)
        ask_sending(fx, &a[i], 5, true);
    ask_sending(fx, &a[4], 11, true);
    assert_answer(&a[4], 503, "no_free_slot");
    for (int i = 0; i < 4; i++)
        leave(&a[i]);
}

static void what_breaks_off_gives_its_slot_back(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a[4];
    load_function(fx, SIZE);
    for (int i = 0; i < 4; i++)
        ask_sending(fx, &a[i], 5, true);
    asked_breaks(&a[0], &cut);
    assert_answer(&a[0], 400, "body_cut");
    assert_int_equal(a[2].pulls, 1);
    leave(&a[1]); /* the client does not come back */
    assert_int_equal(a[3].pulls, 1);
    assert_int_equal(fx->function->running, 2);
    assert_int_equal(fx->function->metrics->cancelled, 1);
    assert_int_equal(fx->function->metrics->errors, 0);
    function_cancel_all(fx->function);
    assert_answer(&a[2], 503, "Cancelled");
    assert_answer(&a[3], 503, "Cancelled");
    assert_true(function_is_idle(fx->function));
}

static void a_handler_that_asks_for_pieces(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, STREAM("hold('run') for p in event:chunks() do note(p) end return 'end'"));
    ask_sending(fx, &a, BODY_UNSIZED, true);
    assert_int_equal(a.ex->state, EXCHANGE_WORKING); /* at its head */
    assert_int_equal(a.pulls, 0);
    let_go("run");
    assert_int_equal(a.pulls, 1);
    asked_sends(&a, STR("ab"), false);
    assert_string_equal(holds.notes, "ab ");
    assert_int_equal(a.pulls, 2);
    asked_sends(&a, STR("cd"), true);
    assert_string_equal(holds.notes, "ab cd closed ");
    assert_answer(&a, 200, "end");
}

static void a_body_that_breaks_off_raises(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, STREAM("for p in event:chunks() do note(p) end return 'end'"));
    ask_sending(fx, &a, BODY_UNSIZED, true);
    asked_sends(&a, STR("ab"), false);
    asked_breaks(&a, &cut);
    assert_answer(&a, 502, "The body was cut");
    assert_string_equal(holds.notes, "ab closed ");
    assert_int_equal(fx->function->running, 0);

    ask_sending(fx, &a, BODY_UNSIZED, true);
    leave(&a); /* while it waits for the first piece */
    assert_string_equal(holds.notes, "ab closed closed ");
    assert_int_equal(fx->function->running, 0);
    assert_int_equal(fx->function->metrics->cancelled, 1);
}

/* Its deadline is the connection's business while a piece is waited for. */
static void timeout_does_not_count_the_wait(void **state)
{
    struct run_fixture *fx = *state;
    struct asked a;
    load_function(fx, STREAM("for p in event:chunks() do end hold('run')"));
    ask_sending(fx, &a, BODY_UNSIZED, true);
    struct invocation *inv =
        container_of(fx->function->invocations.next, struct invocation, in_function);
    inv->budget.deadline_ns = 1; /* long past */
    inv->timer.timer_cb(&inv->timer);
    assert_false(a.answered);
    asked_sends(&a, STR("ab"), true);
    assert_int_equal(holds.begun, 1);
    inv->budget.deadline_ns = 1;
    inv->timer.timer_cb(&inv->timer);
    assert_answer(&a, 504, "Timeout");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_CASE(the_slot_is_held_while_it_comes),     RUN_CASE(the_limit_comes_after_the_slot),
        RUN_CASE(what_breaks_off_gives_its_slot_back), RUN_CASE(a_handler_that_asks_for_pieces),
        RUN_CASE(a_body_that_breaks_off_raises),       RUN_CASE(timeout_does_not_count_the_wait),
    };
    return cmocka_run_group_tests_name("run_body", tests, NULL, NULL);
}
