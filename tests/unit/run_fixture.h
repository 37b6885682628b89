/* Functions on a loop of their own, with a script's wait in the test's hand: `hold(name)` waits
 * until the test lets go of that name. */
#pragma once

#include "unit.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "http/exchange.h"
#include "run/function.h"
#include "run/invocation.h"
#include "run/task.h"

enum { HOLDS_MAX = 64 };

struct hold_op {
    struct op op;
    char name[16];
};

static struct {
    uv_loop_t *loop;
    struct hold_op *waiting[HOLDS_MAX];
    unsigned count, begun, cancelled;
    char notes[256]; /* what scripts said with note(text), one after the other */
} holds;

struct run_fixture {
    uv_loop_t loop;
    uv_timer_t guard; /* ends a test that waits for what does not come */
    char folder[64], path[96];
    struct services services;
    struct worker_metrics page;
    struct function_spec spec;
    struct function *function;
    unsigned told; /* ends of loads */
};

/* ---- hold(name), note(text) ---- */

static inline void hold_forget(struct hold_op *hold)
{
    for (unsigned i = 0; i < holds.count; i++) {
        if (holds.waiting[i] == hold)
            holds.waiting[i] = holds.waiting[--holds.count];
    }
}

static inline void hold_cancel(struct op *op)
{
    holds.cancelled++;
    hold_forget((struct hold_op *)op);
}

static inline int hold_finish(lua_State *L, struct op *op)
{
    lua_pushstring(L, ((struct hold_op *)op)->name);
    return 1;
}

static const struct op_type hold_type = {
    .name = "hold", .cancel = hold_cancel, .finish = hold_finish};

static inline int l_hold(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    struct hold_op *hold = (struct hold_op *)await_op_new(L, &hold_type, sizeof(*hold));
    snprintf(hold->name, sizeof(hold->name), "%s", name);
    assert_true(holds.count < HOLDS_MAX);
    holds.waiting[holds.count++] = hold;
    holds.begun++;
    return await(L, &hold->op);
}

static inline int open_hold(lua_State *L)
{
    lua_pushcfunction(L, l_hold);
    return 1;
}

static inline int l_note(lua_State *L)
{
    size_t used = strlen(holds.notes);
    snprintf(holds.notes + used, sizeof(holds.notes) - used, "%s ", luaL_checkstring(L, 1));
    return 0;
}

static inline int open_note(lua_State *L)
{
    lua_pushcfunction(L, l_note);
    return 1;
}

/* Tasks that used up the turn leave the next ones queued, on a slow machine after few of them: they
 * get their turns. */
static inline void turn(void)
{
    while (uv_loop_alive(holds.loop) && uv_backend_timeout(holds.loop) == 0)
        uv_run(holds.loop, UV_RUN_NOWAIT);
}

/* Lets the first one go that waits under that name. */
static inline void let_go(const char *name)
{
    for (unsigned i = 0; i < holds.count; i++) {
        struct hold_op *hold = holds.waiting[i];
        if (strcmp(hold->name, name) == 0) {
            hold_forget(hold);
            await_op_complete(&hold->op);
            turn();
            return;
        }
    }
    fail_msg("nobody holds %s", name);
}

static const struct binding run_bindings[] = {{"after_response", open_after_response},
                                              {"hold", open_hold},
                                              {"note", open_note},
                                              {"parallel", open_parallel},
                                              {NULL, NULL}};

/* ---- calls ---- */

struct asked {
    struct exchange *ex;
    bool answered; /* the answer, or the end of a stream */
    bool aborted;
    unsigned pulls; /* times that more of its body was wanted */
    char stream[64];
};

static inline void asked_answer(struct exchange *ex)
{
    struct asked *asked = ex->conn;
    asked->answered = !ex->res.streamed;
}

static inline size_t asked_write(struct exchange *ex, struct str bytes)
{
    struct asked *asked = ex->conn;
    size_t used = strlen(asked->stream);
    snprintf(asked->stream + used, sizeof(asked->stream) - used, "%.*s", STR_ARG(bytes));
    return 0;
}

static inline void asked_end(struct exchange *ex)
{
    ((struct asked *)ex->conn)->answered = true;
}

static inline void asked_abort(struct exchange *ex)
{
    struct asked *asked = ex->conn;
    asked->answered = asked->aborted = true;
}

static inline void asked_pull(struct exchange *ex)
{
    struct asked *asked = ex->conn;
    asked->pulls += body_has_room(ex->body);
}

static const struct exchange_sink asked_sink = {.answer = asked_answer,
                                                .stream_write = asked_write,
                                                .stream_end = asked_end,
                                                .stream_abort = asked_abort,
                                                .pull = asked_pull};

/* A request whose body is still to come. */
static inline void ask_sending(struct run_fixture *fx, struct asked *asked, uint64_t announced,
                               bool has_body)
{
    *asked = (struct asked){.ex = exchange_new(&asked_sink, asked)};
    assert_non_null(asked->ex);
    if (has_body)
        asked->ex->body = body_new(&asked->ex->arena, announced);
    struct call *call = arena_zalloc(&asked->ex->arena, sizeof(*call));
    assert_non_null(call);
    call->function = fx->function;
    call->ex = asked->ex;
    call->path = STR("/");
    function_call(call);
    turn();
}

static inline void ask(struct run_fixture *fx, struct asked *asked)
{
    ask_sending(fx, asked, 0, false);
}

/* A piece of it comes; `last`: the end, too. */
static inline void asked_sends(struct asked *asked, struct str piece, bool last)
{
    struct exchange *ex = asked->ex;
    assert_true(body_has_room(ex->body));
    body_push(ex->body, piece, 0);
    ex->body->complete = last;
    exchange_tell_body(ex);
    turn();
}

static inline void asked_breaks(struct asked *asked, const struct http_fault *fault)
{
    asked->ex->body->fault = fault;
    exchange_tell_body(asked->ex);
    turn();
}

/* An answer may take more than a turn: so does what has burnt its slice. */
static inline void wait_until(struct run_fixture *fx, const bool *done)
{
    while (!*done)
        uv_run(&fx->loop, UV_RUN_ONCE);
}

static inline void ask_and_wait(struct run_fixture *fx, struct asked *asked)
{
    ask(fx, asked);
    wait_until(fx, &asked->answered);
}

/* The client leaves. */
static inline void leave(struct asked *asked)
{
    exchange_detach(asked->ex);
    exchange_release(asked->ex);
    asked->ex = NULL;
}

static inline void assert_answer(struct asked *asked, int status, const char *part)
{
    assert_true(asked->answered);
    assert_int_equal(asked->ex->res.status, status);
    struct str body = asked->ex->res.body;
    if (memmem(body.ptr, body.len, part, strlen(part)) == NULL)
        fail_msg("no '%s' in '%.*s'", part, STR_ARG(body));
    leave(asked);
}

/* ---- the function ---- */

static inline void script(struct run_fixture *fx, const char *text)
{
    FILE *file = fopen(fx->path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static inline void run_told(struct function *function)
{
    ((struct run_fixture *)function->owner)->told++;
}

/* A function whose script is `text`; not loaded yet. */
static inline void make_function(struct run_fixture *fx, const char *text)
{
    script(fx, text);
    fx->function = function_new(&fx->spec, &fx->services, run_bindings, NULL);
    assert_non_null(fx->function);
    fx->function->owner = fx;
    fx->function->on_loaded = run_told;
}

/* It loads, or loads once more. */
static inline void load(struct run_fixture *fx)
{
    function_load(fx->function);
    turn();
}

static inline void load_function(struct run_fixture *fx, const char *text)
{
    make_function(fx, text);
    load(fx);
}

static inline void on_run_guard(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing came");
}

/* Without ticks a slice has no end, so what a test does between two waits is whole however slow the
 * machine is. A test of a script that never ends by itself starts them: budget_start(). */
static inline int run_setup(void **state)
{
    struct run_fixture *fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    memset(&holds, 0, sizeof(holds));
    log_setup(LOG_FORMAT_JSON, LOG_ERROR + 1);
    strcpy(fx->folder, "/tmp/luafn-run-XXXXXX");
    assert_non_null(mkdtemp(fx->folder));
    snprintf(fx->path, sizeof(fx->path), "%s/f.lua", fx->folder);
    uv_loop_init(&fx->loop);
    holds.loop = &fx->loop;
    uv_timer_init(&fx->loop, &fx->guard);
    uv_timer_start(&fx->guard, on_run_guard, (uint64_t)(20000 * slowness()), 0);
    uv_unref((uv_handle_t *)&fx->guard);
    assert_int_equal(task_queue_open(&fx->loop), 0);
    invocation_pool_open(&fx->loop);
    fx->services = (struct services){.loop = &fx->loop, .page = &fx->page};
    fx->spec = (struct function_spec){.name = STR("f"),
                                      .script = str_from(fx->path),
                                      .root = str_from(fx->folder),
                                      .methods = METHOD_ALL,
                                      .timeout = LIMIT_FN_TIMEOUT,
                                      .cpu = LIMIT_FN_CPU,
                                      .memory = LIMIT_FN_MEMORY,
                                      .body = 10,
                                      .concurrency = 2,
                                      .queue = 2};
    *state = fx;
    return 0;
}

/* What a worker does at its end. Nothing may be left. */
static inline int run_teardown(void **state)
{
    struct run_fixture *fx = *state;
    if (fx->function != NULL)
        function_cancel_all(fx->function);
    invocation_pool_close();
    task_queue_close();
    uv_close((uv_handle_t *)&fx->guard, NULL);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    function_free(fx->function);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    assert_int_equal(holds.count, 0);
    exchange_pool_free();
    budget_stop();
    unlink(fx->path);
    assert_int_equal(rmdir(fx->folder), 0);
    free(fx);
    return 0;
}

#define RUN_CASE(name) cmocka_unit_test_setup_teardown(name, run_setup, run_teardown)
