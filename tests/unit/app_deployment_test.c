/* A deployment: made whole or not at all, its loads and issuers end with it, what served goes on.
 */
#include "run_fixture.h"

#include <sys/stat.h>

#include "app/deployment.h"
#include "client/client.h"

struct world {
    struct run_fixture *fx;
    struct client *client;
    struct issuers *issuers;
    unsigned loaded;
};

static void put(struct world *w, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", w->fx->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    void *fixture = NULL;
    assert_int_equal(run_setup(&fixture), 0);
    w->fx = fixture;
    w->client = client_new(&w->fx->loop);
    w->issuers = issuers_new(&w->fx->loop, w->client, NULL);
    w->fx->services.issuers = w->issuers;
    put(w, "a.lua", "return function() return 'a' end");
    put(w, "b.lua", "return function() return 'b' end");
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    void *fixture = w->fx;
    static const char *const names[] = {"functions.lua", "a.lua", "b.lua"};
    char path[160];
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", w->fx->folder, names[i]);
        unlink(path);
    }
    issuers_free(w->issuers);
    client_free(w->client);
    free(w);
    return run_teardown(&fixture);
}

static void on_loaded(struct deployment *d, void *arg)
{
    assert_int_equal(d->loading, 0);
    ((struct world *)arg)->loaded++;
}

/* NULL with err. */
static struct deployment *deploy(struct world *w, const char *text, const struct deployment *before,
                                 struct err *err)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/functions.lua", w->fx->folder);
    put(w, "functions.lua", text);
    const struct config_options options = {.file = path};
    struct config *config = config_load(&options, err);
    if (config == NULL)
        fail_msg("%s", err->text);
    return deployment_new(config, &w->fx->services, run_bindings, before, NULL, on_loaded, w, err);
}

/* A load that took a slice of time goes on with the loop: until so many are left, which wait for
 * something. */
static void settle(struct world *w, const struct deployment *d, unsigned left)
{
    while (d->loading > left)
        uv_run(&w->fx->loop, UV_RUN_ONCE);
}

static struct deployment *must_but(struct world *w, const char *text,
                                   const struct deployment *before, unsigned left)
{
    struct err err = {""};
    struct deployment *d = deploy(w, text, before, &err);
    if (d == NULL)
        fail_msg("%s", err.text);
    settle(w, d, left);
    return d;
}

static struct deployment *must(struct world *w, const char *text, const struct deployment *before)
{
    return must_but(w, text, before, 0);
}

static void count_one(struct issuer *issuer, void *arg)
{
    (void)issuer;
    ++*(unsigned *)arg;
}

static unsigned issuers(struct world *w)
{
    unsigned count = 0;
    issuers_each(w->issuers, count_one, &count);
    return count;
}

#define BOTH "return { functions = { a = { script = 'a.lua' }, b = { script = 'b.lua' } } }"

/* ---- loading ---- */

static void loads_everything(void **state)
{
    struct world *w = *state;
    struct deployment *d = must(w, BOTH, NULL);
    assert_int_equal(d->function_count, 2);
    assert_ptr_equal(deployment_find(d, STR("b")), d->functions[1]);
    assert_null(deployment_find(d, STR("c")));
    assert_null(deployment_first_failed(d));
    assert_true(deployment_is_idle(d));
    deployment_free(d);
}

static void some_take_longer(void **state)
{
    struct world *w = *state;
    put(w, "b.lua", "hold('load') return function() return 'b' end");
    struct deployment *d = must_but(w, BOTH, NULL, 1);
    let_go("load");
    settle(w, d, 0);
    assert_int_equal(w->loaded, 1);
    deployment_free(d);
}

static void freed_while_it_loads(void **state)
{
    struct world *w = *state;
    put(w, "b.lua", "hold('load') return function() return 'b' end");
    deployment_free(must_but(w, BOTH, NULL, 1));
    assert_int_equal(holds.cancelled, 1);
    assert_int_equal(w->loaded, 0);
}

static void two_functions_at_one_path(void **state)
{
    struct world *w = *state;
    struct err err = {""};
    assert_null(deploy(w,
                       "return { functions = {\n"
                       "  a = { script = 'a.lua', path = '/x' },\n"
                       "  b = { script = 'b.lua', path = '/x' } } }",
                       NULL, &err));
    assert_non_null(strstr(err.text, "functions.lua:3"));
    assert_non_null(strstr(err.text, "of function a"));
}

static void a_policy_without_an_issuer(void **state)
{
    struct world *w = *state;
    struct err err = {""};
    assert_null(
        deploy(w, "return { functions = { a = { script = 'a.lua', auth = true } } }", NULL, &err));
    assert_non_null(strstr(err.text, "no issuer"));
}

/* ---- after another one ---- */

static void what_served_is_not_lost(void **state)
{
    struct world *w = *state;
    struct asked a;
    struct deployment *before = must(w, BOTH, NULL);
    put(w, "a.lua", "return function(");
    struct deployment *d = must(w, BOTH, before);
    assert_null(deployment_first_lost(d, before));
    assert_ptr_equal(deployment_first_failed(d), d->functions[0]);
    deployment_free(before); /* it takes nothing along that the other one needs */
    w->fx->function = d->functions[0];
    ask_and_wait(w->fx, &a);
    assert_answer(&a, 200, "a");
    w->fx->function = NULL;
    deployment_free(d);
}

static void what_would_be_lost_is_told(void **state)
{
    struct world *w = *state;
    struct deployment *before = must(w, BOTH, NULL);
    put(w, "a.lua", "return { auth = true, handler = function() end }"); /* without an issuer */
    struct deployment *d = must(w, BOTH, before);
    assert_null(deployment_first_lost(d, before)); /* the script of before is sound */
    deployment_free(d);
    put(w, "a.lua", "return { path = '/a', handler = function() end }");
    d = must(w, BOTH, before);
    assert_null(deployment_first_failed(d));
    struct deployment *third = must(w, "return { functions = { b = { script = 'b.lua' } } }", d);
    assert_null(deployment_first_lost(third, d)); /* it is not wanted any more */
    deployment_free(third);
    deployment_free(before);
    deployment_free(d);
    put(w, "a.lua", "local t = {} for i = 1, 1e5 do t[i] = i end return function() return 'a' end");
    before = must(w, BOTH, NULL);
    d = must(w, "return { functions = { a = { script = 'a.lua', memory = '1MB' } } }", before);
    assert_ptr_equal(deployment_first_lost(d, before), d->functions[0]);
    deployment_free(d);
    deployment_free(before);
}

static void generations_go_on(void **state)
{
    struct world *w = *state;
    struct deployment *before = must(w, BOTH, NULL);
    assert_int_equal(before->functions[0]->generation, 1);
    struct deployment *d = must(w, BOTH, before);
    assert_int_equal(d->functions[0]->generation, 2);
    deployment_free(before);
    deployment_free(d);
}

/* ---- what it holds ---- */

static void issuers_end_with_it(void **state)
{
    struct world *w = *state;
    struct err err = {""};
    static const char *const texts[] = {
        "return { auth = { issuer = 'http://127.0.0.1:9/', audience = 'x' },\n"
        "  functions = { a = { script = 'a.lua', auth = true } } }",
        "return { functions = { a = { script = 'a.lua',\n"
        "  auth = { issuer = 'http://127.0.0.1:9/', audience = 'x' } } } }"};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct deployment *d = must(w, texts[i], NULL);
        assert_int_equal(issuers(w), 1);
        struct deployment *same = must(w, texts[i], d);
        deployment_free(d);
        assert_int_equal(issuers(w), 1);
        deployment_free(same);
        assert_int_equal(issuers(w), 0);
    }
    assert_null(
        deploy(w,
               "return { auth = { issuer = 'http://127.0.0.1:9/', audience = 'x' }, functions = {\n"
               "  a = { script = 'a.lua', path = '/x' }, b = { script = 'b.lua', path = '/x' } } }",
               NULL, &err));
    assert_int_equal(issuers(w), 0); /* one that was refused holds nothing */
}

static void who_keeps_it(void **state)
{
    struct world *w = *state;
    struct asked a;
    put(w, "a.lua", "return function() hold('run') return 'a' end");
    struct deployment *d = must(w, BOTH, NULL);
    w->fx->function = d->functions[0];
    ask(w->fx, &a);
    assert_false(deployment_is_idle(d));
    let_go("run");
    assert_true(deployment_is_idle(d));
    assert_answer(&a, 200, "a");
    d->awaited++; /* somebody waits for a key before it is known whose request it is */
    assert_false(deployment_is_idle(d));
    d->awaited--;
    d->functions[1]->awaited++;
    assert_false(deployment_is_idle(d));
    d->functions[1]->awaited--;
    w->fx->function = NULL;
    deployment_free(d);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(loads_everything),           CASE(some_take_longer),
        CASE(freed_while_it_loads),       CASE(two_functions_at_one_path),
        CASE(a_policy_without_an_issuer), CASE(what_served_is_not_lost),
        CASE(what_would_be_lost_is_told), CASE(generations_go_on),
        CASE(issuers_end_with_it),        CASE(who_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
