/* Who uses an issuer or an introspection keeps it; the last one to leave ends it. */
#include "issuer_fixture.h"

#include "auth/verify.h"
#include "issuer/introspection.h"
#include "issuer/issuer_link.h"

static void count_issuer(struct issuer *issuer, void *arg)
{
    (void)issuer;
    ++*(unsigned *)arg;
}

static unsigned count(struct fixture *fx)
{
    unsigned issuers = 0;
    issuers_each(fx->issuers, count_issuer, &issuers);
    return issuers;
}

static void turns(struct fixture *fx, int n)
{
    while (n-- > 0)
        uv_run(&fx->loop, UV_RUN_NOWAIT);
}

/* ---- one issuer ---- */

static void the_last_user_ends_it(void **state)
{
    struct fixture *fx = *state;
    issuer_use(fx->issuer, true);
    issuer_use(fx->issuer, true);
    want(fx, "a");
    assert_hits(fx, 1, 1);
    issuer_leave(fx->issuer, true);
    assert_int_equal(count(fx), 1);
    assert_true(has(fx, "a"));
    assert_ptr_equal(get_from(fx->issuers, fx->url), fx->issuer);
    issuer_leave(fx->issuer, true);
    assert_int_equal(count(fx), 0);
    turns(fx, 3);
    fx->now += LIMIT_KEYS_TTL;
    issuers_tick(fx->issuers);
    turns(fx, 20);
    assert_hits(fx, 1, 1); /* nobody keeps its keys fresh */
}

static void readiness_is_about_those_that_are_used(void **state)
{
    struct fixture *fx = *state;
    struct issuer *typo = get_from(fx->issuers, "http://127.0.0.1:9/");
    issuer_use(fx->issuer, true);
    issuer_use(typo, true);
    want(fx, "a");
    assert_false(issuers_ready(fx->issuers));
    issuer_leave(typo, true);
    assert_true(issuers_ready(fx->issuers));
    assert_int_equal(count(fx), 1);
    issuer_leave(fx->issuer, true);
    assert_true(issuers_ready(fx->issuers));
}

static void who_is_content_to_wait_promises_nothing(void **state)
{
    struct fixture *fx = *state;
    struct issuer *typo = get_from(fx->issuers, "http://127.0.0.1:9/");
    issuer_use(typo, false);
    assert_true(issuers_ready(fx->issuers));
    issuer_use(typo, true);
    assert_false(issuers_ready(fx->issuers));
    issuer_leave(typo, true);
    assert_true(issuers_ready(fx->issuers));
    assert_int_equal(count(fx), 2);
    issuer_leave(typo, false);
    assert_int_equal(count(fx), 1);
}

static void leaving_at_any_stage_of_a_flight(void **state)
{
    struct fixture *fx = *state;
    for (int n = 0; n < 8; n++) {
        issuer_use(fx->issuer, true);
        turns(fx, n);
        issuer_leave(fx->issuer, true);
        turns(fx, n % 3);
        remove_folder(fx->folder); /* no lock is held, no set is kept */
        assert_int_equal(mkdir(fx->folder, 0700), 0);
        fx->issuer = get_from(fx->issuers, fx->url);
    }
    assert_true(want(fx, "a"));
    assert_true(has(fx, "a"));
}

static void asked_again_right_after_leaving(void **state)
{
    struct fixture *fx = *state;
    struct issuer *before = fx->issuer;
    issuer_use(before, true);
    issuer_leave(before, true);
    fx->issuer = get_from(fx->issuers, fx->url);
    assert_ptr_not_equal(fx->issuer, before);
    assert_true(want(fx, "a"));
    assert_int_equal(count(fx), 1);
}

static void users_that_outlive_the_worker_s_issuers(void **state)
{
    struct fixture *fx = *state;
    issuer_use(fx->issuer, true);
    issuer_use(fx->issuer, false);
    issuers_free(fx->issuers);
    issuer_leave(fx->issuer, true); /* before its timer is closed */
    turns(fx, 3);
    assert_null(issuer_keys(fx->issuer)->keys);
    issuer_leave(fx->issuer, false); /* and after */
    fx->issuers = new_issuers(fx);
}

/* ---- what a deployment or an instance links ---- */

struct owner {
    struct arena arena;
    struct issuer_links *links;
    struct verifier_spec spec;
};

static void open_owner(struct owner *owner, struct fixture *fx, const char *introspection)
{
    *owner = (struct owner){.spec = {.verifier = {.issuer = str_from(fx->url)}}};
    owner->spec.introspection = (struct introspection_spec){
        .url = str_from(introspection), .client_id = STR("id"), .client_secret = STR("secret")};
    keyset_source_init(&owner->spec.own_keys);
    arena_init(&owner->arena);
    owner->links = issuer_links_new(&owner->arena);
    assert_non_null(owner->links);
}

static void join(struct owner *owner, struct fixture *fx, bool promised)
{
    struct err err = {""};
    if (issuer_link(fx->issuers, owner->links, promised, &owner->spec, &err) != 0)
        fail_msg("%s", err.text);
}

static void an_owner_is_one_user(void **state)
{
    struct fixture *fx = *state;
    struct owner deployment, instance;
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "%sintrospect", fx->url);
    open_owner(&deployment, fx, endpoint);
    open_owner(&instance, fx, endpoint);
    join(&deployment, fx, true);
    join(&instance, fx, false);
    size_t bytes = instance.arena.total;
    for (int i = 0; i < 200; i++)
        join(&instance, fx, false);
    assert_int_equal(instance.arena.total, bytes);
    assert_ptr_equal(instance.spec.verifier.keys, issuer_keys(fx->issuer));
    assert_ptr_equal(instance.spec.verifier.opaque, deployment.spec.verifier.opaque);
    assert_false(issuers_ready(fx->issuers));
    arena_free(&deployment.arena);
    assert_true(issuers_ready(fx->issuers));
    assert_int_equal(count(fx), 1);
    struct claims *claims;
    assert_int_equal(
        instance.spec.verifier.opaque->find(instance.spec.verifier.opaque, STR("x"), &claims),
        OPAQUE_UNKNOWN);
    join(&instance, fx, true);
    assert_false(issuers_ready(fx->issuers));
    arena_free(&instance.arena);
    assert_int_equal(count(fx), 0);
}

/* What one deployment knows of tokens is the next one's, when that came before the other left. */
static void answers_outlive_a_reload_and_no_more(void **state)
{
    struct fixture *fx = *state;
    struct owner before, after;
    struct asker asker;
    char endpoint[128];
    snprintf(endpoint, sizeof(endpoint), "%sintrospect", fx->url);
    struct fake_route *route = fake_route(&fx->fake, "/introspect");
    route->body = "{\"active\":true,\"sub\":\"u\"}";
    for (unsigned hits = 1; hits <= 2; hits++) {
        open_owner(&before, fx, endpoint);
        before.spec.introspection.cache = 60;
        join(&before, fx, false);
        asker = (struct asker){.wait = {.done = on_keys_done}, .fx = fx};
        assert_int_equal(introspection_want(before.spec.verifier.opaque, STR("token"), &asker.wait),
                         1);
        wait_for(fx, &asker.done);
        open_owner(&after, fx, endpoint);
        join(&after, fx, false);
        arena_free(&before.arena);
        struct opaque_source *source = after.spec.verifier.opaque;
        struct claims *claims;
        assert_int_equal(source->find(source, STR("token"), &claims), OPAQUE_ACTIVE);
        arena_free(&after.arena);
        assert_int_equal(route->hits, hits);
    }
}

static void an_introspection_that_is_left_while_it_asks(void **state)
{
    struct fixture *fx = *state;
    for (int n = 0; n < 4; n++) {
        struct owner owner;
        struct asker asker;
        char endpoint[128];
        snprintf(endpoint, sizeof(endpoint), "%sintrospect", fx->url);
        open_owner(&owner, fx, endpoint);
        join(&owner, fx, false);
        asker = (struct asker){.wait = {.done = on_keys_done}, .fx = fx};
        assert_int_equal(introspection_want(owner.spec.verifier.opaque, STR("token"), &asker.wait),
                         1);
        issuer_cancel(&asker.wait); /* its client left */
        turns(fx, n);
        arena_free(&owner.arena);
        turns(fx, 3);
        assert_false(asker.done);
    }
}

static void owners_that_outlive_the_worker_s_issuers(void **state)
{
    struct fixture *fx = *state;
    struct owner owner;
    open_owner(&owner, fx, "http://127.0.0.1:9/introspect");
    join(&owner, fx, true);
    issuers_free(fx->issuers);
    turns(fx, 3);
    arena_free(&owner.arena);
    fx->issuers = new_issuers(fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_last_user_ends_it),
        CASE(readiness_is_about_those_that_are_used),
        CASE(who_is_content_to_wait_promises_nothing),
        CASE(leaving_at_any_stage_of_a_flight),
        CASE(asked_again_right_after_leaving),
        CASE(users_that_outlive_the_worker_s_issuers),
        CASE(an_owner_is_one_user),
        CASE(answers_outlive_a_reload_and_no_more),
        CASE(an_introspection_that_is_left_while_it_asks),
        CASE(owners_that_outlive_the_worker_s_issuers),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
