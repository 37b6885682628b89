/* Subscribers: what each has waiting, who is dropped and why, and that all memory goes. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "channel/channel.h"

enum { MANY = 300 };

struct heard {
    struct channel_sub sub;
    unsigned news;
};

static void on_news(struct channel_sub *sub)
{
    container_of(sub, struct heard, sub)->news++;
}

static uv_loop_t loop;
static struct channel_hub *hub;

static int set_up(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    hub = channel_hub_new(&loop);
    return hub == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(channel_hub_stats(hub).subscribers, 0);
    channel_hub_close(hub);
    uv_run(&loop, UV_RUN_DEFAULT);
    channel_hub_free(hub);
    return uv_loop_close(&loop);
}

static struct heard *enter(struct heard *h, struct str name)
{
    *h = (struct heard){.sub.on_news = on_news};
    assert_int_equal(channel_subscribe(hub, name, &h->sub), 0);
    assert_int_equal(h->sub.state, CHANNEL_OPEN);
    return h;
}

static void publish(struct str name, struct str text)
{
    assert_int_equal(channel_publish(hub, name, text), 0);
}

static void on_late(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing has come for a minute");
}

/* Until so many were put into queues, or so many were dropped. */
static void run_until(uint64_t delivered, uint64_t dropped)
{
    uv_timer_t alive; /* else the loop has nothing to wait for */
    uv_timer_init(&loop, &alive);
    uv_timer_start(&alive, on_late, 60000, 0);
    while (channel_hub_stats(hub).delivered < delivered || channel_hub_stats(hub).dropped < dropped)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&alive, NULL);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void each_has_a_queue(void **state)
{
    (void)state;
    struct heard a, b, other;
    struct str text;
    publish(STR("room"), STR("before"));
    enter(&a, STR("room"));
    enter(&b, STR("room"));
    enter(&other, STR("other"));
    publish(STR("room"), STR("one"));
    publish(STR("room"), STR(""));
    publish(STR("nobody"), STR("x"));
    run_until(4, 0);
    assert_int_equal(a.news, 2);
    assert_int_equal(other.news, 0);
    assert_true(channel_first(&a.sub, &text) && str_eq(text, STR("one")));
    channel_take(&a.sub);
    assert_true(channel_first(&a.sub, &text) && text.len == 0);
    channel_take(&a.sub);
    assert_false(channel_first(&a.sub, &text));
    channel_leave(&b.sub, CHANNEL_OVER); /* with two that wait */
    assert_false(channel_first(&b.sub, &text));
    channel_leave(&b.sub, CHANNEL_OVER);
    channel_leave(&a.sub, CHANNEL_OVER);
    channel_leave(&other.sub, CHANNEL_OVER);
}

static void who_takes_nothing_is_dropped(void **state)
{
    (void)state;
    struct heard slow, good;
    struct str text;
    enter(&slow, STR("room"));
    enter(&good, STR("room"));
    for (unsigned i = 0; i < LIMIT_CHANNEL_QUEUE + 1; i++) {
        publish(STR("room"), STR("x"));
        run_until((i + 1) * 2 - (i == LIMIT_CHANNEL_QUEUE), i == LIMIT_CHANNEL_QUEUE);
        assert_true(channel_first(&good.sub, &text));
        channel_take(&good.sub);
    }
    assert_int_equal(slow.sub.state, CHANNEL_SLOW);
    assert_int_equal(slow.sub.count, 0);
    assert_int_equal(good.sub.state, CHANNEL_OPEN);
    assert_int_equal(channel_hub_stats(hub).dropped, 1);
    channel_leave(&good.sub, CHANNEL_OVER);
}

/* Each has room, but all of them together hold too much: those who hold the oldest go. */
static void all_together_are_bounded(void **state)
{
    (void)state;
    static struct heard many[MANY];
    static char text[LIMIT_CHANNEL_TEXT];
    char name[32];
    uint64_t delivered = 0;
    for (unsigned i = 0; i < MANY; i++) {
        sprintf(name, "room %u", i);
        enter(&many[i], str_from(name));
        publish(str_from(name), (struct str){text, sizeof(text)});
        run_until(++delivered, 0);
    }
    unsigned dropped = 0;
    for (unsigned i = 0; i < MANY; i++)
        dropped += many[i].sub.state == CHANNEL_SLOW;
    assert_int_equal(dropped, MANY - LIMIT_CHANNEL_MEMORY / LIMIT_CHANNEL_TEXT);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(many[i].sub.state == CHANNEL_SLOW, i < dropped);
        channel_leave(&many[i].sub, CHANNEL_OVER);
    }
}

static void a_drain_ends_all(void **state)
{
    (void)state;
    struct heard a, b, late = {.sub.on_news = on_news};
    enter(&a, STR("room"));
    enter(&b, STR("room"));
    channel_hub_drain(hub);
    assert_int_equal(a.sub.state, CHANNEL_OVER);
    assert_int_equal(a.news + b.news, 2);
    assert_int_equal(channel_subscribe(hub, STR("room"), &late.sub), 0);
    assert_int_equal(late.sub.state, CHANNEL_OVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_a_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_takes_nothing_is_dropped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_together_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drain_ends_all, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
