/* fetch, answered by the test: a call that a function makes becomes a task of the test, which says
 * what comes back. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "cli/test_internal.h"
#include "lua/lazy.h"
#include "run/invocation.h"

struct test_case *test_now;

enum { HEADERS_MAX = 100 };

static const char ON_FETCH[] = "luafn.on_fetch"; /* registry: the function that answers */

/* A fetch on its way. */
struct flight {
    struct list node;
    struct test_case *test;
    unsigned id;
    struct client_call *call; /* borrowed; NULL: nobody waits any more */
    struct arena arena;       /* all texts below */
    struct str method, url, body, as;
    struct header *headers;
    unsigned header_count;
    bool answered;
    struct client_response res;
};

static void free_flight(struct flight *f)
{
    list_remove(&f->node);
    arena_free(&f->arena);
    free(f);
}

static struct flight *find_flight(lua_State *L)
{
    lua_Integer id = luaL_checkinteger(L, 1);
    list_each(node, &test_now->flights)
    {
        struct flight *f = container_of(node, struct flight, node);
        if (f->id == id)
            return f;
    }
    luaL_error(L, "this fetch is over");
    return NULL;
}

static struct str keep(lua_State *L, struct flight *f, int index)
{
    struct str s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    s = arena_copy(&f->arena, s);
    if (s.ptr == NULL)
        luaL_error(L, "out of memory");
    return s;
}

/* ---- what the test says ---- */

/* (id, status, headers, body) */
int l_test_answer(lua_State *L)
{
    lua_settop(L, 4);
    struct flight *f = find_flight(L);
    struct client_response *res = &f->res;
    *res = (struct client_response){.status = (long)luaL_checkinteger(L, 2), .url = f->url};
    res->headers = arena_alloc(&f->arena, HEADERS_MAX * sizeof(*res->headers));
    luaL_checktype(L, 3, LUA_TTABLE);
    if (res->headers == NULL)
        return luaL_error(L, "out of memory");
    lazy_make_plain(L, 3);
    for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
        if (res->header_count == HEADERS_MAX)
            return luaL_error(L, "more than %d headers", HEADERS_MAX);
        struct str name = keep(L, f, lua_gettop(L) - 1), value = keep(L, f, lua_gettop(L));
        res->headers[res->header_count++] = (struct header){name, value};
    }
    res->body = keep(L, f, 4);
    f->answered = true;
    return 0;
}

static int refuse(lua_State *L, struct flight *f)
{
    f->res = (struct client_response){.error = -EIO, .error_text = keep(L, f, 2).ptr};
    f->answered = true;
    return 0;
}

/* (id, text): the other host fails. */
int l_test_fail(lua_State *L)
{
    return refuse(L, find_flight(L));
}

/* (id, text): nothing was said about this call, which is a fault of the test. */
int l_test_unanswered(lua_State *L)
{
    struct flight *f = find_flight(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    if (test_now->failure.len == 0)
        buf_add(&test_now->failure, text, len);
    return refuse(L, f);
}

int l_test_on_fetch(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, ON_FETCH);
    return 0;
}

/* ---- the task that asks it ---- */

static int ask_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int l_ask(lua_State *L)
{
    const struct flight *f = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, ON_FETCH);
    lua_pushinteger(L, f->id);
    lua_pushlstring(L, f->method.ptr, f->method.len);
    lua_pushlstring(L, f->url.ptr, f->url.len);
    lua_createtable(L, 0, (int)f->header_count);
    for (unsigned i = 0; i < f->header_count; i++) {
        lua_pushlstring(L, f->headers[i].name.ptr, f->headers[i].name.len);
        lua_pushlstring(L, f->headers[i].value.ptr, f->headers[i].value.len);
        lua_rawset(L, -3);
    }
    if (f->body.ptr != NULL)
        lua_pushlstring(L, f->body.ptr, f->body.len);
    else
        lua_pushnil(L);
    if (f->as.len > 0)
        lua_pushlstring(L, f->as.ptr, f->as.len);
    else
        lua_pushnil(L);
    lua_callk(L, 6, 0, 0, ask_done);
    return 0;
}

static void on_asked(struct task *task, int status)
{
    struct flight *f = task->arg;
    if (status != LUA_OK && !f->answered) {
        const char *text = lua_type(task->co, -1) == LUA_TSTRING ? lua_tostring(task->co, -1)
                                                                 : "the test's answer failed";
        const char *kept = arena_copy(&f->arena, str_from(text)).ptr;
        f->res = (struct client_response){.error = -EIO,
                                          .error_text = kept != NULL ? kept : "out of memory"};
    }
    struct client_call *call = f->call;
    f->call = NULL;
    task_free(task); /* first: the answer may end the test, which waits for its tasks */
    if (call != NULL)
        client_answer(call, &f->res);
    free_flight(f);
}

static bool copy_request(struct flight *f, const struct client_request *req)
{
    f->method = arena_copy(&f->arena, req->method.len > 0 ? req->method : STR("GET"));
    f->url = arena_copy(&f->arena, req->url);
    f->headers = arena_alloc(&f->arena, (req->header_count + 1) * sizeof(*f->headers));
    f->as = arena_copy(&f->arena, req->as);
    bool ok =
        f->method.ptr != NULL && f->url.ptr != NULL && f->as.ptr != NULL && f->headers != NULL;
    for (unsigned i = 0; ok && i < req->header_count; i++) {
        f->headers[i].name = arena_lower(&f->arena, req->headers[i].name);
        f->headers[i].value = arena_copy(&f->arena, req->headers[i].value);
        ok = f->headers[i].name.ptr != NULL && f->headers[i].value.ptr != NULL;
        f->header_count = i + 1;
    }
    if (ok && req->body.ptr != NULL)
        f->body = arena_copy(&f->arena, req->body);
    return ok && (req->body.ptr == NULL || f->body.ptr != NULL);
}

/* Out of memory and a test that has ended leave the call without an answer: its own time limit ends
 * it. */
static void on_start(void *arg, struct client_call *call, const struct client_request *req)
{
    struct test_case *test = arg;
    struct flight *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return;
    *f = (struct flight){.test = test, .id = ++test->last_flight, .call = call};
    arena_init(&f->arena);
    list_push(&test->flights, &f->node);
    struct task *task = copy_request(f, req) && test->run != NULL
                            ? invocation_add_task(test->run, on_asked, f)
                            : NULL;
    if (task == NULL)
        return;
    lua_pushcfunction(task->co, l_ask);
    lua_pushlightuserdata(task->co, f);
    task->start_args = 1;
    task_enqueue(task);
}

static void on_gone(void *arg, struct client_call *call)
{
    struct test_case *test = arg;
    list_each(node, &test->flights)
    {
        struct flight *f = container_of(node, struct flight, node);
        if (f->call == call)
            f->call = NULL;
    }
}

void test_fetch_open(struct test_case *test)
{
    list_init(&test->flights);
    test->fake = (struct client_fake){.start = on_start, .gone = on_gone, .arg = test};
    client_set_fake(test->local.app.client, &test->fake);
}

void test_fetch_close(struct test_case *test)
{
    /* free_flight takes the flight out of the list, which the analyzer does not follow. */
    while (!list_is_empty(&test->flights)) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        free_flight(container_of(test->flights.next, struct flight, node));
    }
}
