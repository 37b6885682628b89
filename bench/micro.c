/* What a function costs before its first request: making its state and loading a script. And what
 * the limits cost a small handler: it runs in an instance, with the replacements of the library,
 * the capped allocator and a budget, and in a plain state with Lua's own library and none of that.
 *
 *     make bench-micro            times and memory
 *     make bench-micro ARGS="scripts/me.lua 200"
 *
 * Under callgrind with few rounds it gives instruction counts that a busy machine does not change.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "run/instance.h"
#include "run/task.h"

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static long anonymous_kib(void)
{
    long kib = -1;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        (void)sscanf(line, "RssAnon: %ld", &kib);
    if (file != NULL)
        fclose(file);
    return kib;
}

/* Scripts want an issuer and an audience. */
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

static void on_loaded(struct instance *instance, void *arg)
{
    (void)arg;
    if (instance->state == INSTANCE_READY)
        return;
    fprintf(stderr, "%s\n", instance->error.text);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- the price of limits ---- */

enum { TURNS = 200, CALLS = 50 };

static const char handler_text[] =
    "return function(event)\n"
    "  local scopes = {}\n"
    "  for scope in event.scope:gmatch('%S+') do table.insert(scopes, scope) end\n"
    "  local ok, text = pcall(string.format, 'hello %s: %s', event.name, table.concat(scopes, ','))\n"
    "  if not ok then error(text) end\n"
    "  return { statusCode = 200, body = text, headers = { ['content-type'] = 'text/plain' } }\n"
    "end\n";

/* Stack: the coroutine's, with the handler. */
static void push_event(lua_State *co)
{
    lua_createtable(co, 0, 2);
    lua_pushliteral(co, "read:shows write:shows admin");
    lua_setfield(co, -2, "scope");
    lua_pushliteral(co, "Ada");
    lua_setfield(co, -2, "name");
}

static void on_done(struct task *task, int status)
{
    (void)task;
    if (status == LUA_OK)
        return;
    fprintf(stderr, "the handler raised: %s\n", lua_tostring(task->co, -1));
    exit(1);
}

/* Apart from each other and not inlined, so that callgrind can count each
 * (--toggle-collect=call_limited). */
__attribute__((noinline)) static void call_limited(struct instance *instance)
{
    struct budget budget = {.cpu_limit_ns = 1000000000};
    struct task *task = task_new(instance->vm, &budget, on_done, NULL);
    if (task == NULL)
        exit(1);
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, instance->handler);
    push_event(task->co);
    task_resume(task, 1);
    task_free(task);
}

__attribute__((noinline)) static void call_plain(lua_State *co)
{
    int results;
    lua_pushvalue(co, 1);
    push_event(co);
    if (lua_resume(co, NULL, 1, &results) != LUA_OK)
        exit(1);
    lua_settop(co, 1);
}

/* The least time of many turns: what others take from the machine only adds. */
static void measure_limits(const struct function_spec *base, const struct services *services)
{
    char path[] = "/tmp/luafn-micro-XXXXXX";
    int fd = mkstemp(path);
    size_t len = sizeof(handler_text) - 1;
    if (fd == -1 || write(fd, handler_text, len) != (ssize_t)len)
        exit(1);
    close(fd);
    struct function_spec spec = *base;
    spec.script = str_from(path);
    struct instance *instance = instance_load(&spec, services, bindings, NULL, on_loaded, NULL);
    unlink(path);
    lua_State *L = luaL_newstate();
    if (instance == NULL || L == NULL)
        exit(1);
    luaL_openlibs(L);
    lua_State *co = lua_newthread(L);
    if (luaL_dostring(co, handler_text) != LUA_OK)
        exit(1);
    double limited = 1e9, plain = 1e9;
    for (int turn = 0; turn < TURNS; turn++) {
        double a = cpu_us();
        for (int i = 0; i < CALLS; i++)
            call_limited(instance);
        double b = cpu_us();
        for (int i = 0; i < CALLS; i++)
            call_plain(co);
        double c = cpu_us();
        limited = b - a < limited ? b - a : limited;
        plain = c - b < plain ? c - b : plain;
    }
    printf("a small handler\n  with limits: %.2f us of processor time; Lua's own library and no "
           "limits: %.2f us\n",
           limited / CALLS, plain / CALLS);
    lua_close(L);
    instance_unref(instance);
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : "scripts/me.lua";
    unsigned count = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 500;
    char script[4096], root[4096];
    if (realpath(given, script) == NULL || getcwd(root, sizeof(root)) == NULL || count == 0) {
        fprintf(stderr, "usage: micro SCRIPT COUNT\n");
        return 2;
    }
    const struct services services = {.getenv = get_env, .env_is_default = is_default};
    const struct function_spec spec = {.name = STR("micro"),
                                       .script = str_from(script),
                                       .root = str_from(root),
                                       .memory = LIMIT_FN_MEMORY,
                                       .timeout = LIMIT_FN_TIMEOUT,
                                       .cpu = LIMIT_FN_CPU};
    struct instance **instances = calloc(count, sizeof(struct instance *));
    double *took = calloc(count, sizeof(double));
    if (instances == NULL || took == NULL || budget_start() != 0)
        return 1;
    instance_unref(instance_load(&spec, &services, bindings, NULL, on_loaded, NULL)); /* warms up */
    long before = anonymous_kib();
    for (unsigned i = 0; i < count; i++) {
        double began = cpu_us();
        instances[i] = instance_load(&spec, &services, bindings, NULL, on_loaded, NULL);
        took[i] = cpu_us() - began;
        if (instances[i] == NULL)
            return 1;
    }
    long after = anonymous_kib();
    qsort(took, count, sizeof(double), compare);
    printf("%s, %u instances\n  make and load: median %.0f us of processor time, 99th %.0f us\n"
           "  memory: %zu bytes in the state, %.1f KiB of the process each\n",
           given, count, took[count / 2], took[count * 99 / 100], instances[0]->vm->used,
           (double)(after - before) / count);
    for (unsigned i = 0; i < count; i++)
        instance_unref(instances[i]);
    free(instances);
    free(took);
    measure_limits(&spec, &services);
    budget_stop();
    return 0;
}
