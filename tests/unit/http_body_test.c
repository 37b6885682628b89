/* The body as a source: what is read when, in which pieces, up to which limit, how slowly. */
#include "unit.h"

#include <string.h>

#include "base/limits.h"
#include "http/body.h"

static char bytes[3 * BODY_PIECE_BYTES];

static struct body *fresh(struct arena *arena, uint64_t announced)
{
    arena_init(arena);
    memset(bytes, 'b', sizeof(bytes));
    struct body *body = body_new(arena, announced);
    assert_non_null(body);
    return body;
}

static void end(struct arena *arena, struct body *body)
{
    body_free(body);
    arena_free(arena);
}

static void test_nothing_is_read_unasked(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, BODY_UNSIZED);
    assert_false(body_has_room(body));
    assert_false(body_is_ready(body));
    body->complete = true;
    assert_false(body_is_ready(body)); /* nobody waits for it */
    body->mode = BODY_PIECES;
    assert_true(body_is_ready(body));
    assert_int_equal(body_piece(body).len, 0);
    end(&arena, body);
}

static void test_whole(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, 5);
    body->mode = BODY_WHOLE;
    assert_null(body_set_limit(body, 5));
    assert_true(body_has_room(body));
    body_listen(body, 1000);
    body_push(body, STR("abc"), 1000);
    assert_false(body_is_ready(body));
    body_push(body, STR("de"), 1001);
    assert_false(body_is_ready(body));
    body->complete = true;
    assert_true(body_is_ready(body));
    assert_true(str_eq(body_take_all(body, &arena), STR("abcde")));
    end(&arena, body);
}

static void test_pieces(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, BODY_UNSIZED);
    body->mode = BODY_PIECES;
    assert_false(body_has_room(body));
    body->asked = true;
    assert_true(body_has_room(body));
    body_push(body, STR("ab"), 0);
    assert_true(body_is_ready(body));
    assert_true(body_has_room(body)); /* what is there anyway makes one piece */
    body_push(body, (struct str){bytes, BODY_PIECE_BYTES}, 0);
    assert_false(body_has_room(body));
    assert_int_equal(body_piece(body).len, BODY_PIECE_BYTES);
    assert_memory_equal(body_piece(body).ptr, "abbb", 4);
    body_take(body, BODY_PIECE_BYTES);
    assert_int_equal(body_piece(body).len, 2);
    body_push(body, STR("c"), 0); /* behind what is left */
    assert_true(str_eq(body_piece(body), STR("bbc")));
    body_take(body, 3);
    assert_false(body_is_ready(body));
    body->complete = true;
    assert_true(body_is_ready(body));
    assert_int_equal(body_piece(body).len, 0);
    end(&arena, body);
}

static void test_limits(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, 5);
    assert_int_equal(body_set_limit(body, 4)->status, 413);
    body->mode = BODY_WHOLE;
    assert_true(body_is_ready(body));
    end(&arena, body);

    body = fresh(&arena, BODY_UNSIZED);
    assert_null(body_set_limit(body, 4));
    body_push(body, STR("abcd"), 0);
    assert_null(body->fault);
    body_push(body, STR("e"), 0);
    assert_int_equal(body->fault->status, 413);
    assert_int_equal(body->buf.len, 4);
    end(&arena, body);

    body = fresh(&arena, BODY_UNSIZED); /* it came before anybody could say */
    body_push(body, STR("abcde"), 0);
    assert_int_equal(body_set_limit(body, 4)->status, 413);
    end(&arena, body);
}

/* Memory follows the bytes that come, not those that are announced. */
static void test_memory_follows_the_bytes(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, LIMIT_FN_BODY);
    body->mode = BODY_WHOLE;
    body_push(body, STR("1234567890"), 0);
    assert_true(body->buf.cap + arena.total < 16 * 1024);
    end(&arena, body);
}

enum { SILENCE = 1000 };

static void test_silence_and_trickle(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, BODY_UNSIZED);
    body->mode = BODY_WHOLE;
    body_listen(body, 5000);
    assert_false(body_is_late(body, 5999, SILENCE));
    assert_true(body_is_late(body, 6000, SILENCE));

    uint64_t now = 5000;
    unsigned count = 0;
    for (; !body_is_late(body, now, SILENCE); count++) {
        now += SILENCE / 2; /* never silent for long ... */
        body_push(body, STR("x"), now);
    }
    assert_int_equal(count, 3); /* ... and yet too slow: 3 bytes in 1.5 s */
    end(&arena, body);

    body = fresh(&arena, BODY_UNSIZED);
    body->mode = BODY_WHOLE;
    body_listen(body, now);
    for (unsigned i = 0; i < 100; i++) {
        now += SILENCE / 2;
        body_push(body, (struct str){bytes, LIMIT_BODY_RATE / 2 + 1}, now);
        assert_false(body_is_late(body, now, SILENCE));
    }
    end(&arena, body);
}

/* The time in which nobody asks is not the client's. */
static void test_only_waiting_counts(void **state)
{
    (void)state;
    struct arena arena;
    struct body *body = fresh(&arena, BODY_UNSIZED);
    body->mode = BODY_PIECES;
    uint64_t now = 0;
    for (unsigned i = 0; i < 100; i++) {
        body->asked = true;
        body_listen(body, now);
        now += 9;
        body_push(body, STR("x"), now);
        assert_false(body_is_late(body, now, SILENCE));
        body->asked = false;
        body_take(body, 1);
        now += 60 * SILENCE;
        body_push(body, STR("y"), now); /* of a window that was open still */
        body_take(body, 1);
    }
    assert_int_equal(body->listened, 900);
    end(&arena, body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_read_unasked),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_memory_follows_the_bytes),
        cmocka_unit_test(test_silence_and_trickle),
        cmocka_unit_test(test_only_waiting_counts),
    };
    return cmocka_run_group_tests_name("http_body", tests, NULL, NULL);
}
