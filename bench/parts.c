/* The parts of a request, each by itself, to be counted under callgrind: `make bench-guard`.
 *
 * Each part runs some rounds to warm up, then ROUNDS that are counted, and is dumped under its
 * name. Prints "NAME ROUNDS" a line. Without valgrind it does the same and counts nothing. */
#include <stdio.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "auth_fixture.h"

#include "auth/token.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "http/exchange.h"
#include "http/parser.h"
#include "http/router.h"
#include "run/function.h"
#include "run/invocation.h"
#include "lua/json_decode.h"
#include "shared/revocations.h"

enum { WARM = 20 };

/* Lua makes the seed of its hashes from time and addresses: with the same time, and without random
 * addresses, tables look the same in every run. */
time_t time(time_t *out)
{
    if (out != NULL)
        *out = (time_t)NOW;
    return (time_t)NOW;
}

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "parts: %s failed\n", what);
    exit(1);
}

static void count(const char *name, unsigned rounds, void (*run)(void))
{
    for (int i = 0; i < WARM; i++)
        run();
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    for (unsigned i = 0; i < rounds; i++)
        run();
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
    printf("%s %u\n", name, rounds);
}

/* ---- head and route ---- */

#define HEAD_FIELDS                                                                                \
    " HTTP/1.1\r\nHost: localhost:8888\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"         \
    "Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB\r\nAccept-Encoding: "     \
    "gzip, deflate, br\r\nConnection: keep-alive\r\nX-Request-Id: 0123456789\r\n\r\n"
static const char head_text[] = "GET /.netlify/functions/me?page=2" HEAD_FIELDS;
static const char other_head[] = "GET /.netlify/functions/me?page=3" HEAD_FIELDS;
static struct parser parser;
static struct arena arena;
static struct router *router;

static void read_head(struct str input)
{
    struct request req = {0};
    need(parser_feed(&parser, &input, &arena, &req) == PARSER_DONE, "the head");
    arena_reset(&arena);
}

static void run_head_again(void)
{
    read_head(STR(head_text));
}

/* Never the one before. */
static void run_head(void)
{
    static bool other;
    other = !other;
    read_head(other ? STR(other_head) : STR(head_text));
}

static void run_route(void)
{
    struct route_match match;
    need(router_match(router, METHOD_GET, STR("/api/shows/17/cast"), &match) == ROUTE_FOUND,
         "the route");
}

static void http_parts(void)
{
    static const struct parser_limits limits = {LIMIT_HEADER_BYTES};
    static char patterns[100][64];

    parser_init(&parser, &limits);
    arena_init(&arena);
    router = router_new();
    need(router != NULL, "memory");
    for (int i = 0; i < 100; i++) {
        snprintf(patterns[i], sizeof(patterns[i]), i == 50 ? "/api/shows/:id/cast" : "/api/f%d/:id",
                 i);
        need(router_add(router, str_from(patterns[i]), METHOD_ALL, patterns[i], NULL) == 0,
             "a route");
    }
    count("head-again", 1000, run_head_again);
    count("head", 1000, run_head);
    count("route", 1000, run_route);
    router_free(router);
    parser_free(&parser);
}

/* ---- tokens ---- */

static char *token_text, *other_text; /* other_text: of another user */
static struct key *key;
static struct verifier verifier;

static void run_token_parse(void)
{
    static struct token token;
    need(token_parse(str_from(token_text), &token) == 0, "the token");
    token_clear(&token);
}

static void run_verify(void)
{
    static struct token token;
    need(token_parse(str_from(token_text), &token) == 0, "the token");
    need(key_verify(key, KEY_BACKEND_OPENSSL, ALG_RS256, token.signing_input, token.signature) == 0,
         "the signature");
    token_clear(&token);
}

static void judge(const char *text)
{
    struct verdict verdict;
    verify_token(&verifier, 1, str_from(text), NOW, true, &arena, &verdict);
    need(verdict.status == VERIFY_OK, "the check");
    claims_unref(verdict.claims);
    arena_reset(&arena);
}

static void run_judge(void)
{
    judge(token_text);
}

/* In turn, in a cache that has room for the claims of one. */
static void run_judge_cold(void)
{
    static bool other;
    other = !other;
    judge(other ? other_text : token_text);
}

static void revoke_another(void)
{
    const struct revocation revocation =
        revocations_make(REVOCATION_JTI, STR(""), STR("another"), REVOCATION_ALWAYS, NOW);
    need(revocations_add(&revocation, NOW) == 0, "the revocation");
}

static void run_judge_new(void)
{
    token_cache_clear();
    run_judge();
}

static void token_parts(void)
{
    struct key_source source;

    key = auth_rsa(RSA_A, "k1");
#define CLAIMS_OF(user)                                                                            \
    CLAIMS_WITH(",\"azp\":\"cid\",\"scope\":\"openid profile read:shows\",\"email\":\"" user       \
                "@example.com\"")
    token_text = auth_token(key, ALG_RS256, GOOD_HEADER, CLAIMS_OF("ada.lovelace"));
    other_text = auth_token(key, ALG_RS256, GOOD_HEADER, CLAIMS_OF("mary.somerville"));
    keyset_source_init(&source);
    struct keyset *set = auth_keyset(&key, 1, ALG_RS256);
    keyset_source_set(&source, set);
    keyset_unref(set);
    verifier = auth_verifier(&source);
    count("token-parse", 500, run_token_parse);
    count("token-parse-and-RS256", 200, run_verify);
    count("token-check-new", 200, run_judge_new);
    count("token-check-cached", 1000, run_judge);
    token_cache_setup(8 * 1024);
    count("token-check-cold", 500, run_judge_cold);
    need(token_cache_stats().evictions == 0, "room for both");
    token_cache_setup(LIMIT_TOKEN_CACHE_BYTES);
    revoke_another();
    count("token-check-cached-revocations", 1000, run_judge);
    token_cache_clear();
    keyset_source_clear(&source);
    free(token_text);
    free(other_text);
    key_unref(key);
}

/* ---- JSON ---- */

static struct vm *vm;
static struct buf json_text;

static void run_decode(void)
{
    need(json_decode_text(vm->L, buf_str(&json_text)) == 0, "JSON");
    lua_settop(vm->L, 0);
}

static int encode(lua_State *L)
{
    need(json_encode_value(L, 1, json_scratch()) == 0, "the value");
    return 0;
}

static void run_encode(void)
{
    lua_pushcfunction(vm->L, encode);
    lua_pushvalue(vm->L, 1);
    lua_call(vm->L, 1, 0);
}

/* A document of 250 objects, as a script decodes it and hands on all, some or three of it. */
static const char documents[] =
    "local list = {}\n"
    "for i = 1, 250 do list[i] = ('{\"id\":%d,\"url\":\"https://www.tvmaze.com/shows/%d\",\"name\":\"Show %d\",'\n"
    "  .. '\"type\":\"Scripted\",\"language\":\"English\",\"genres\":[\"Drama\",\"Thriller\"],\"status\":\"Ended\",'\n"
    "  .. '\"runtime\":60,\"premiered\":\"2013-06-24\",\"rating\":{\"average\":6.5},\"network\":{\"id\":2,\"name\":\"CBS\",'\n"
    "  .. '\"country\":{\"name\":\"United States\",\"code\":\"US\"}},\"ended\":false,\"updated\":1573667713}'):format(i, i, i) end\n"
    "local items = '[' .. table.concat(list, ',') .. ']'\n"
    "local text = '{\"total\":250,\"page\":1,\"next\":\"abc\",\"items\":' .. items .. '}'\n"
    "local few = '[' .. table.concat(list, ',', 1, 3) .. ']'\n"
    "return function() return json.encode(json.decode(text)) end,\n"
    "  function() local t = json.decode(text) return t.total, t.page, t.next end,\n"
    "  function()\n"
    "    local out = {}\n"
    "    for i, s in ipairs(json.decode(items)) do out[i] = { id = s.id, url = s.url, name = s.name } end\n"
    "    return json.encode(out)\n"
    "  end,\n"
    "  function() return json.encode(json.decode(few)) end\n";

static int handler; /* its index on the stack */

static void run_handler(void)
{
    lua_pushvalue(vm->L, handler);
    lua_call(vm->L, 0, 0);
}

static void document_parts(void)
{
    static const char *const names[] = {"json-echo-90KB", "json-read3-90KB", "json-pick250",
                                        "json-echo-1KB"};
    need(luaL_dostring(vm->L, documents) == LUA_OK, "the script");
    for (handler = 1; handler <= 4; handler++) {
        lua_gc(vm->L, LUA_GCCOLLECT, 0); /* not what the one before has left */
        count(names[handler - 1], 50, run_handler);
    }
    lua_settop(vm->L, 0);
}

static void json_parts(void)
{
    vm = vm_new(LIMIT_FN_MEMORY, NULL);
    need(vm != NULL, "memory");
    sandbox_open(vm->L, bindings);
    lua_settop(vm->L, 0);
    lua_gc(vm->L, LUA_GCGEN, 0, 0);
    buf_add_str(&json_text, STR("["));
    for (int i = 0; i < 10; i++)
        buf_printf(
            &json_text,
            "%s{\"id\":%d,\"name\":\"Show %d\",\"url\":\"https://www.tvmaze.com/shows/%d\",\"rating\":{\"average\":8.1},\"ended\":false}",
            i > 0 ? "," : "", i, i, i);
    buf_add_str(&json_text, STR("]"));
    count("json-decode-1KB", 500, run_decode);
    need(json_decode_text(vm->L, buf_str(&json_text)) == 0, "JSON");
    count("json-encode-1KB", 500, run_encode);
    lua_settop(vm->L, 0);
    document_parts();
    vm_free(vm);
    buf_free(&json_text);
}

/* ---- states and runs ---- */

static const char *get_env(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return "https://issuer.example/";
}

static bool is_default(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return true;
}

static uv_loop_t loop;
static struct services services = {.loop = &loop, .getenv = get_env, .env_is_default = is_default};
static char root[4096];
static struct function_spec spec;
static struct function *function;
static unsigned answers, loaded;

static void on_loaded(struct instance *instance, void *arg)
{
    (void)arg;
    need(instance->state == INSTANCE_READY, instance->error.text);
    loaded++;
}

static void run_load(void)
{
    unsigned before = loaded;
    struct instance *instance = instance_load(&spec, &services, bindings, NULL, on_loaded, NULL);
    need(instance != NULL, "memory");
    while (loaded == before)
        uv_run(&loop, UV_RUN_NOWAIT);
    instance_unref(instance);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void on_answer(struct exchange *ex)
{
    need(ex->res.status == 204, "the answer");
    answers++;
}

static const struct exchange_sink sink = {.answer = on_answer};

static void run_call(void)
{
    struct exchange *ex = exchange_new(&sink, &answers);
    struct str input = STR(head_text);
    need(ex != NULL && parser_feed(&parser, &input, &ex->arena, &ex->req) == PARSER_DONE,
         "the request");
    ex->req.scheme = STR("http");
    ex->req.client_ip = STR("127.0.0.1");
    ex->state = EXCHANGE_WORKING;
    exchange_identify(ex);
    struct call *call = arena_zalloc(&ex->arena, sizeof(*call));
    need(call != NULL, "memory");
    *call = (struct call){.function = function, .ex = ex, .path = ex->req.path};
    list_init(&call->waiting);
    unsigned before = answers;
    function_call(call);
    /* A turn of the loop each, as for a real request; more when time is so slow that it yields. */
    do
        uv_run(&loop, UV_RUN_NOWAIT);
    while (answers == before);
    exchange_detach(ex);
    exchange_release(ex);
}

static void set_spec(const char *name, char path[4096])
{
    need(getcwd(root, sizeof(root)) != NULL, "getcwd");
    need((size_t)snprintf(path, 4096, "%s/%s", root, name) < 4096, "the path");
    spec = (struct function_spec){.name = STR("part"),
                                  .script = str_from(path),
                                  .root = str_from(root),
                                  .methods = METHOD_ALL,
                                  .memory = LIMIT_FN_MEMORY,
                                  .timeout = LIMIT_FN_TIMEOUT,
                                  .cpu = LIMIT_FN_CPU,
                                  .concurrency = LIMIT_FN_CONCURRENCY};
}

static void count_calls(const char *name, const char *script)
{
    static char path[4096];
    set_spec(script, path);
    function = function_new(&spec, &services, bindings, NULL);
    need(function != NULL, "memory");
    function_load(function);
    while (function->current == NULL && !function->failed)
        uv_run(&loop, UV_RUN_NOWAIT);
    need(!function->failed, "loading");
    count(name, 500, run_call);
    uv_run(&loop, UV_RUN_NOWAIT);
    function_free(function);
}

static void run_parts(void)
{
    static const struct parser_limits limits = {LIMIT_HEADER_BYTES};
    static char path[4096];

    need(uv_loop_init(&loop) == 0 && budget_start() == 0 && task_queue_open(&loop) == 0,
         "the loop");
    uv_update_time(&loop);
    invocation_pool_open(&loop);
    parser_init(&parser, &limits);
    set_spec("scripts/me.lua", path);
    count("state-me", 20, run_load);
    count_calls("run-nothing", "bench/scripts/nothing.lua");
    count_calls("run-whole-event", "bench/scripts/event.lua");
    parser_free(&parser);
    invocation_pool_close();
    task_queue_close();
    uv_run(&loop, UV_RUN_DEFAULT);
    budget_stop();
}

int main(void)
{
    json_object_seed(1);
    log_setup(LOG_FORMAT_NONE, LOG_ERROR);
    http_parts();
    token_parts();
    json_parts();
    run_parts();
    arena_free(&arena);
    return 0;
}
