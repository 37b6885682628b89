/* One loaded version of a function. */
#include "run/instance.h"

#include <errno.h>
#include <lualib.h>
#include <stdlib.h>

#include "base/limits.h"
#include "run/event.h"
#include "run/instance_internal.h"
#include "run/locate.h"
#include "options/options.h"
#include "lua/script.h"
#include "run/tidy.h"

static const char OPTIONS[] = "luafn.options"; /* registry: the table that the script returned */

/* ---- loading ---- */

/* Modules of the host and of Lua are there for `require` too. stack: loaded */
static void add_loaded(lua_State *L, const char *name)
{
    lua_getglobal(L, name);
    lua_setfield(L, -2, name);
}

/* `package`, of which loaded and preload take names while the script loads. stack: loaded */
static void open_package(lua_State *L)
{
    lua_newtable(L); /* its names, before the values are there */
    lua_pushliteral(L, "/\n;\n?\n!\n-\n");
    lua_setfield(L, -2, "config");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_pushliteral(L, SCRIPT_PATH);
    lua_setfield(L, -2, "path");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, INSTANCE_PRELOAD);
    sandbox_seal_library(L, "package.preload");
    lua_setfield(L, -2, "preload");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "loaded");
    lua_pushvalue(L, -1);
    sandbox_seal_library(L, "package"); /* stack: loaded, the table behind, package */
    lua_pushvalue(L, -1);
    lua_setfield(L, -4, "package");
    sandbox_set(L, "package");
    lua_pushvalue(L, -2);
    sandbox_seal_library(L, "package.loaded");
    lua_setfield(L, -2, "loaded");
    lua_pop(L, 1);
}

/* What functions of the program itself have beside it. */
static void add_own(lua_State *L)
{
    const struct own_services *own = vm_of(L)->services != NULL ? vm_of(L)->services->own : NULL;
    lua_pushcfunction(L, l_locate);
    sandbox_set(L, "locate");
    for (const struct binding *b = own != NULL ? own->bindings : NULL; b != NULL && b->name != NULL;
         b++) {
        lua_pushcfunction(L, b->open);
        lua_call(L, 0, 1);
        sandbox_set(L, b->name);
    }
}

static int l_prepare(lua_State *L)
{
    static const char *const libraries[] = {"_G", "coroutine", "debug", "io",  "math",
                                            "os", "string",    "table", "utf8"};
    const struct binding *bindings = lua_touserdata(L, 1);
    sandbox_open(L, bindings);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, INSTANCE_LOADED);
    for (const struct binding *b = bindings; b->name != NULL; b++)
        add_loaded(L, b->name);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++)
        add_loaded(L, libraries[i]);
    open_package(L);
    lua_pushcfunction(L, instance_require);
    sandbox_set(L, "require");
    if (vm_of(L)->spec != NULL && vm_of(L)->spec->is_dev)
        add_own(L);
    return 0;
}

/* What the function at the top of the stack takes of event and context: a handler that names no
 * parameter needs none made for it. */
static int count_arguments(lua_State *L)
{
    lua_Debug about;
    lua_pushvalue(L, -1);
    lua_getinfo(L, ">u", &about);
    return about.isvararg || about.nparams > EVENT_ARGUMENTS ? EVENT_ARGUMENTS : about.nparams;
}

static int finish_load(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    struct instance *instance = vm_of(L)->instance;
    /* stack: value */
    if (lua_istable(L, 1)) {
        lua_pushvalue(L, 1);
        lua_setfield(L, LUA_REGISTRYINDEX, OPTIONS);
        lua_getfield(L, 1, "handler");
    }
    const char *shown = script_display_name(instance->spec.script.ptr, instance->spec.root);
    if (lua_isnil(L, 1))
        lua_getfield(L, LUA_REGISTRYINDEX, INSTANCE_DEFAULT_HANDLER);
    if (!lua_isfunction(L, -1))
        return luaL_error(L,
                          "%s:1: a script must return its handler (a function), or a table with a "
                          "`handler` in it; this one returned %s",
                          shown, lua_istable(L, 1) ? "a table without one" : luaL_typename(L, 1));
    instance->arguments = count_arguments(L);
    instance->handler = luaL_ref(L, LUA_REGISTRYINDEX);
    sandbox_freeze(L);
    return 0;
}

/* Runs as the loader's coroutine. */
static int l_load(lua_State *L)
{
    struct instance *instance = vm_of(L)->instance;
    const char *path = lua_touserdata(L, 1);
    lua_settop(L, 0);
    if (instance_push_chunk(L, instance, path) != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, 1, 0, finish_load);
    return finish_load(L, LUA_OK, 0);
}

static void close_timer(struct instance *instance);

static void end_load(struct instance *instance, enum instance_state state)
{
    instance->state = state;
    instance->settled = instance->vm->used;
    instance->settled_each = 0;
    vm_pace(instance->vm);
    if (instance->loader != NULL)
        task_free(instance->loader);
    instance->loader = NULL;
    close_timer(instance);
    instance->loaded(instance, instance->loaded_arg);
    instance_unref(instance); /* the loader's */
}

/* `place`: of budget_place. */
static void describe_limit(struct instance *instance, const char *place)
{
    const char *shown =
        place != NULL ? place : script_display_name(instance->spec.script.ptr, instance->spec.root);
    switch (instance->load_budget.end) {
    case BUDGET_CPU:
        err_set(&instance->error, 0, "%s: loading used more than %.1f s of processor time", shown,
                LIMIT_FN_LOAD_CPU);
        break;
    case BUDGET_TIMEOUT:
        err_set(&instance->error, 0, "%s: loading took longer than %.1f s", shown,
                LIMIT_FN_LOAD_TIMEOUT);
        break;
    default:
        err_set(&instance->error, 0, "%s: loading needs more than the %zu bytes of `memory`", shown,
                instance->spec.memory);
    }
}

static void on_load_done(struct task *task, int status)
{
    struct instance *instance = task->arg;
    if (status == LUA_OK) {
        end_load(instance, INSTANCE_READY);
        return;
    }
    if (status == LUA_ERRMEM)
        instance->load_budget.end = BUDGET_MEMORY;
    if (instance->load_budget.end != BUDGET_RUNNING) {
        describe_limit(instance, budget_place(&instance->load_budget, task->co));
    } else {
        const char *text =
            lua_type(task->co, -1) == LUA_TSTRING ? lua_tostring(task->co, -1) : NULL;
        if (text != NULL)
            err_set(&instance->error, 0, "%s", text);
        else
            err_set(&instance->error, 0, "%s: raised a value that is not a text",
                    script_display_name(instance->spec.script.ptr, instance->spec.root));
    }
    end_load(instance, INSTANCE_FAILED);
}

void instance_cancel_load(struct instance *instance)
{
    instance->load_budget.end = BUDGET_CANCELLED;
    instance->state = INSTANCE_FAILED;
    task_cancel(instance->loader);
    task_free(instance->loader);
    instance->loader = NULL;
    close_timer(instance);
    instance_unref(instance); /* the loader's */
}

static void on_load_timeout(uv_timer_t *timer)
{
    struct instance *instance = container_of(timer, struct instance, load_timer);
    instance->load_budget.end = BUDGET_TIMEOUT;
    describe_limit(instance, budget_place(&instance->load_budget, instance->loader->co));
    task_cancel(instance->loader);
    end_load(instance, INSTANCE_FAILED);
}

/* What the policy of the script owns, where it is not that of functions.lua. */
static void free_policy(struct instance *instance)
{
    struct policy *policy = &instance->spec.policy;
    if (policy->claims != instance->base->policy.claims)
        json_decref(policy->claims);
    for (unsigned i = 0; policy->own != instance->base->policy.own && i < policy->own_count; i++)
        keyset_source_clear(&policy->own[i].own_keys);
}

/* All but the struct, whose timer the loop may still know. What is borrowed (`base`, the services)
 * is gone when that is closed. */
static void release(struct instance *instance)
{
    list_remove(&instance->tidying);
    tidy_after_free(instance->vm->peak);
    vm_free(instance->vm);
    free_policy(instance);
    arena_free(&instance->arena);
    origin_unref(instance->origin);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct instance *instance = container_of((uv_timer_t *)handle, struct instance, load_timer);
    instance->timer_open = false;
    if (instance->refs == 0)
        free(instance);
}

static void close_timer(struct instance *instance)
{
    if (instance->timer_open && !uv_is_closing((uv_handle_t *)&instance->load_timer))
        uv_close((uv_handle_t *)&instance->load_timer, on_timer_closed);
}

static int start_loader(struct instance *instance, const char *path)
{
    instance->load_budget.cpu_limit_ns = (uint64_t)(LIMIT_FN_LOAD_CPU * 1e9);
    instance->load_budget.may_stall = true; /* a module is loaded inside `require` */
    instance->loader = task_new(instance->vm, &instance->load_budget, on_load_done, instance);
    if (instance->loader == NULL)
        return -ENOMEM;
    uv_loop_t *loop = instance->vm->services->loop;
    instance->load_budget.may_slice = loop != NULL;
    if (loop != NULL) {
        uv_timer_init(loop, &instance->load_timer);
        instance->timer_open = true;
        uv_timer_start(&instance->load_timer, on_load_timeout,
                       (uint64_t)(LIMIT_FN_LOAD_TIMEOUT * 1000), 0);
    }
    lua_pushcfunction(instance->loader->co, l_load);
    lua_pushlightuserdata(instance->loader->co, (void *)path);
    return 0;
}

struct instance *instance_load(const struct function_spec *spec, const struct services *services,
                               const struct binding *bindings, struct origin *earlier,
                               void (*loaded)(struct instance *, void *), void *arg)
{
    struct instance *instance = calloc(1, sizeof(*instance));
    if (instance == NULL)
        return NULL;
    instance->refs = 2; /* the caller's and the loader's */
    instance->base = spec;
    instance->spec = *spec;
    arena_init(&instance->arena);
    list_init(&instance->tidying);
    instance->handler = LUA_NOREF;
    instance->loaded = loaded;
    instance->loaded_arg = arg;
    instance->origin = origin_new(earlier);
    instance->vm = instance->origin != NULL ? vm_new(spec->memory, services) : NULL;
    if (instance->vm == NULL) {
        origin_unref(instance->origin);
        free(instance);
        return NULL;
    }
    instance->vm->instance = instance;
    instance->vm->spec = &instance->spec;
    lua_pushcfunction(instance->vm->L, l_prepare);
    lua_pushlightuserdata(instance->vm->L, (void *)bindings);
    if (lua_pcall(instance->vm->L, 1, 0, 0) != LUA_OK ||
        start_loader(instance, spec->script.ptr) != 0) {
        release(instance);
        free(instance);
        return NULL;
    }
    task_resume(instance->loader, 1);
    return instance;
}

struct instance *instance_ref(struct instance *instance)
{
    instance->refs++;
    return instance;
}

void instance_unref(struct instance *instance)
{
    if (instance == NULL || --instance->refs > 0)
        return;
    close_timer(instance);
    release(instance);
    if (!instance->timer_open)
        free(instance);
}

/* ---- what the script says about itself ---- */

static int l_read_options(lua_State *L)
{
    struct options_reader *reader = lua_touserdata(L, 1);
    struct instance *instance = vm_of(L)->instance;
    lua_Integer rc = 0;
    if (lua_getfield(L, LUA_REGISTRYINDEX, OPTIONS) == LUA_TTABLE)
        rc = options_read_function(reader, &instance->spec, OPTIONS_SCRIPT);
    lua_pushinteger(L, rc);
    return 1;
}

int instance_read_options(struct instance *instance, struct err *err)
{
    lua_State *L = instance->vm->L;
    const struct function_spec *spec = &instance->spec;
    struct buf source = BUF_INIT;
    (void)!origin_read(instance->origin, spec->script.ptr, &source, NULL); /* for line numbers */
    struct options_reader reader = {.L = L,
                                    .arena = &instance->arena,
                                    .err = err,
                                    .file = script_display_name(spec->script.ptr, spec->root),
                                    .source = buf_str(&source)};
    lua_pushcfunction(L, l_read_options);
    lua_pushlightuserdata(L, &reader);
    int rc = lua_pcall(L, 1, 1, 0) == LUA_OK ? (int)lua_tointeger(L, -1)
                                             : err_set(err, -ENOMEM, "out of memory");
    lua_settop(L, 0);
    buf_free(&source);
    vm_set_limit(instance->vm, spec->memory);
    return rc;
}
