/* What an error, a limit or no run at all becomes, for the client and for who writes the script. */
#include "run_fixture.h"

#include "run/outcome.h"

/* ---- errors ---- */

static const struct {
    const char *raise; /* in a handler */
    const char *type, *message;
} errors[] = {
    {"error('boom')", "Error", "boom"},
    {"error('boom', 0)", "Error", "boom"},
    {"error(42)", "Error", "42"},
    {"error(true)", "Error", "true"},
    {"error({message = 'm'})", "Error", "m"},
    {"error({errorType = 'T', errorMessage = 'm'})", "T", "m"},
    {"error({name = 'N', message = 'm'})", "N", "m"},
    {"error({code = 'C', message = 'm'})", "C", "m"},
    {"error({})", "Error", "(the handler raised a table without a `message`)"},
    {"error(setmetatable({}, {__tostring = function() return 'shown' end}))", "Error", "shown"},
    {"error(setmetatable({}, {__tostring = function() while true do end end}))", "Error",
     "(the handler raised a table without a `message`)"},
    {"error(setmetatable({}, {__index = function() error('no') end}))", "Error",
     "(the handler raised a table without a `message`)"},
    {"error(print)", "Error", "(the handler raised a function value)"},
    {"error()", "Error", "(the handler raised a nil value)"},
    {"local ok, e = pcall(error, 'in') error(e .. ' out')", "Error", "in out"},
    {"error('\\\"\\n\\1')", "Error", "\\\"\\n\\u0001"},
};

static void errors_as_answers(void **state)
{
    struct run_fixture *fx = *state;
    char text[256], wanted[256];
    assert_int_equal(budget_start(), 0); /* a __tostring may go on for ever */
    for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct asked a;
        snprintf(text, sizeof(text), "return function() %s end", errors[i].raise);
        if (fx->function == NULL)
            make_function(fx, text);
        script(fx, text);
        load(fx);
        ask_and_wait(fx, &a);
        snprintf(wanted, sizeof(wanted), "{\"errorType\":\"%s\",\"errorMessage\":\"%s\"}",
                 errors[i].type, errors[i].message);
        struct str body = a.ex->res.body;
        if (a.ex->res.status != 502 || !str_eq(body, str_from(wanted)))
            fail_msg("%s: %d %.*s", errors[i].raise, a.ex->res.status, STR_ARG(body));
        assert_non_null(headers_get(&a.ex->res.headers, STR("x-content-type-options")));
        leave(&a);
    }
}

static void a_trace_in_dev_alone(void **state)
{
    struct run_fixture *fx = *state;
    for (int dev = 0; dev < 2; dev++) {
        struct asked a;
        fx->services.dev = dev != 0;
        if (fx->function == NULL)
            load_function(fx, "return function() error({message = 'm'}) end");
        ask_and_wait(fx, &a);
        struct str body = a.ex->res.body;
        assert_true((memmem(body.ptr, body.len, "\"trace\":[", 9) != NULL) == (dev != 0));
        assert_true((memmem(body.ptr, body.len, "f.lua", 5) != NULL) == (dev != 0));
        leave(&a);
    }
}

static void positions_are_taken_out(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } texts[] = {
        {"scripts/me.lua:3: boom", "boom"},
        {"boom", "boom"},
        {"", ""},
        {"a.lua:1: b.lua:22: boom", "boom"},
        {"outer: lib/a.lua:1: inner", "outer: inner"},
        {"[string \"x = 1\"]:7: boom", "boom"},
        {"at 12:30: boom", "at 12:30: boom"}, /* a time of day */
        {"http://x:80: boom", "http://x:80: boom"},
        {"me.lua:x: boom", "me.lua:x: boom"},
        {"me.lua:3", ""},
    };
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char out[128];
        struct str got = outcome_without_positions(str_from(texts[i].from), out);
        if (!str_eq(got, str_from(texts[i].to)))
            fail_msg("%s: %.*s", texts[i].from, STR_ARG(got));
    }
}

/* ---- limits, and no run ---- */

static struct exchange *fresh(void)
{
    struct exchange *ex = exchange_new(NULL, NULL);
    assert_non_null(ex);
    ex->state = EXCHANGE_WORKING;
    return ex;
}

static void assert_set(struct exchange *ex, int status, const char *code, const char *part)
{
    assert_int_equal(ex->res.status, status);
    assert_string_equal(ex->error_code, code);
    if (memmem(ex->res.body.ptr, ex->res.body.len, part, strlen(part)) == NULL)
        fail_msg("no '%s' in '%.*s'", part, STR_ARG(ex->res.body));
    exchange_release(ex);
}

static void limits_name_their_knob(void **state)
{
    (void)state;
    static const struct {
        enum budget_end end;
        int status;
        const char *code, *type, *knob;
    } limits[] = {
        {BUDGET_TIMEOUT, 504, "timeout", "TimeoutError", "`timeout`"},
        {BUDGET_CPU, 500, "cpu_limit", "CpuLimitExceeded", "`cpu`"},
        {BUDGET_STALL, 500, "cpu_limit", "CpuLimitExceeded", "`cpu`"},
        {BUDGET_MEMORY, 500, "memory_limit", "MemoryLimitExceeded", "`memory`"},
        {BUDGET_CANCELLED, 503, "cancelled", "Cancelled", "ended before"},
    };
    const struct function_spec spec = {.name = STR("f"), .timeout = 1, .cpu = 1, .memory = 1 << 20};
    for (unsigned i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        for (int dev = 0; dev < 2; dev++) {
            struct exchange *ex = fresh();
            outcome_set_limit(limits[i].end, &spec, "f.lua:7", dev != 0, ex);
            struct str body = ex->res.body;
            assert_non_null(memmem(body.ptr, body.len, limits[i].type, strlen(limits[i].type)));
            bool told = memmem(body.ptr, body.len, "f.lua:7", 7) != NULL;
            assert_true(!told || dev != 0);
            assert_set(ex, limits[i].status, limits[i].code, limits[i].knob);
        }
    }
}

static void no_run(void **state)
{
    (void)state;
    const struct function_spec spec = {.name = STR("f"), .concurrency = 2, .queue = 3};
    struct exchange *ex = fresh();
    outcome_set_no_slot(&spec, ex);
    assert_non_null(headers_get(&ex->res.headers, STR("retry-after")));
    assert_set(ex, 503, "no_free_slot", "2 requests run and 3 wait");
    ex = fresh();
    outcome_set_suspended(ex);
    assert_non_null(headers_get(&ex->res.headers, STR("retry-after")));
    assert_set(ex, 503, "function_suspended", "off until its script changes");
    ex = fresh();
    outcome_set_not_loaded("f.lua:3: secret", false, ex);
    assert_null(memmem(ex->res.body.ptr, ex->res.body.len, "secret", 6));
    assert_set(ex, 500, "not_loaded", "LoadError");
    ex = fresh();
    outcome_set_not_loaded("f.lua:3: shown", true, ex);
    assert_set(ex, 500, "not_loaded", "f.lua:3: shown");
}

static void a_stream_that_has_begun_stays_as_it_is(void **state)
{
    (void)state;
    const struct function_spec spec = {.name = STR("f")};
    struct exchange *ex = fresh();
    ex->state = EXCHANGE_STREAMING;
    ex->res.status = 200;
    ex->res.streamed = true;
    outcome_set_limit(BUDGET_TIMEOUT, &spec, NULL, false, ex);
    assert_int_equal(ex->res.status, 200);
    assert_true(ex->res.streamed);
    assert_string_equal(ex->error_code, "timeout"); /* for the log */
    exchange_release(ex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_CASE(errors_as_answers),
        RUN_CASE(a_trace_in_dev_alone),
        cmocka_unit_test(positions_are_taken_out),
        RUN_CASE(limits_name_their_knob),
        RUN_CASE(no_run),
        RUN_CASE(a_stream_that_has_begun_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
