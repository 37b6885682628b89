/* luafn new: share/new.lua does it, with the calls below. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/embedded.h"
#include "base/file.h"
#include "cli/cli.h"
#include "config/config.h"
#include "lua/own_script.h"
#include "lua/script.h"

/* ---- what the script needs of the host ---- */

/* (path): is there something of that name? */
static int l_exists(lua_State *L)
{
    lua_pushboolean(L, file_exists(luaL_checkstring(L, 1)));
    return 1;
}

/* (name): the text of a file of the program, or nil. */
static int l_embedded(lua_State *L)
{
    const struct embedded_file *file = embedded_find(luaL_checkstring(L, 1));
    if (file == NULL)
        return 0;
    lua_pushlstring(L, file->data, file->len);
    return 1;
}

/* Makes the folders of `path` that are missing, from that byte on. */
static int make_folders(char *path, size_t from)
{
    for (char *slash = strchr(path + from, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : -errno;
        *slash = '/';
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* (path, length of the folder that is there, text): a new file; nil, or why it cannot be. */
static int l_create(lua_State *L)
{
    char path[8300];
    struct str name, text;
    name.ptr = luaL_checklstring(L, 1, &name.len);
    text.ptr = luaL_checklstring(L, 3, &text.len);
    size_t from = (size_t)luaL_checkinteger(L, 2);
    luaL_argcheck(L, name.len < sizeof(path) && from <= name.len, 1, "too long");
    memcpy(path, name.ptr, name.len + 1);
    int rc = make_folders(path, from);
    if (rc == 0)
        rc = file_create(path, text, 0666);
    lua_pushstring(L, rc != 0 ? strerror(-rc) : NULL);
    return 1;
}

/* (file): a script's text; or nil, and why not. */
static int l_read(lua_State *L)
{
    static struct buf text;
    struct err err;
    buf_clear(&text);
    int rc = script_read(luaL_checkstring(L, 1), &text, &err);
    lua_pushlstring(L, text.data, rc == 0 ? text.len : 0);
    if (rc == 0)
        return 1;
    lua_pushnil(L);
    lua_pushstring(L, err.text);
    return 2;
}

/* (from, to): `to` gets the permissions of the other. Did it? */
static int l_copy_mode(lua_State *L)
{
    struct stat st;
    lua_pushboolean(L, stat(luaL_checkstring(L, 1), &st) == 0 &&
                           chmod(luaL_checkstring(L, 2), st.st_mode & 0777) == 0);
    return 1;
}

static int l_push_config(lua_State *L)
{
    const struct config *config = lua_touserdata(L, 1);
    lua_createtable(L, 0, 3);
    lua_pushlstring(L, config->functions_folder.ptr, config->functions_folder.len);
    lua_setfield(L, -2, "folder");
    lua_pushboolean(L, config->issuer_count > 0);
    lua_setfield(L, -2, "has_issuer");
    lua_createtable(L, 0, (int)config->function_count);
    for (unsigned i = 0; i < config->function_count; i++) {
        lua_pushlstring(L, config->functions[i].name.ptr, config->functions[i].name.len);
        lua_pushboolean(L, true);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "functions");
    return 1;
}

/* (file): what the configuration says, { functions = { NAME = true }, folder =, has_issuer = }; or
 * nil, and why it does not load. */
static int l_load(lua_State *L)
{
    static const char *const defaults[] = {"JWT_ISSUER", "http://localhost:8888/", "JWT_AUDIENCE",
                                           "https://api", NULL};
    const struct config_options options = {luaL_checkstring(L, 1), true, defaults, NULL, NULL};
    struct err err;
    lua_pushcfunction(L, l_push_config);
    struct config *config = config_load(&options, &err);
    if (config == NULL) {
        lua_pushnil(L);
        lua_pushstring(L, err.text);
        return 2;
    }
    lua_pushlightuserdata(L, config);
    int status = lua_pcall(L, 1, 1, 0);
    config_free(config);
    return status == LUA_OK ? 1 : lua_error(L);
}

static const luaL_Reg calls[] = {
    {"copy_mode", l_copy_mode},
    {"create", l_create},
    {"embedded", l_embedded},
    {"exists", l_exists},
    {"load", l_load},
    {"read", l_read},
    {NULL, NULL},
};

/* ---- the command ---- */

struct new_function {
    const char *name, *template, *config_file;
};

/* stack: the script */
static void make(lua_State *L, void *arg)
{
    const struct new_function *f = arg;
    luaL_newlib(L, calls);
    lua_pushstring(L, f->name);
    lua_pushstring(L, f->template);
    lua_pushstring(L, f->config_file);
    lua_call(L, 4, 0);
}

static bool name_is_good(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 128 && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               len &&
           !str_ends_with(str_from(name), STR("_test"));
}

static bool has_template(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "share/templates/%s.test.lua", name);
    return embedded_find(path) != NULL;
}

static int run(int argc, char **argv)
{
    struct new_function f = {.template = "hello", .config_file = "functions.lua"};
    const struct option options[] = {{"--template", OPTION_TEXT, &f.template},
                                     {"--config", OPTION_TEXT, &f.config_file},
                                     {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_new, argc, argv, options, &f.name, 1, &count);
    if (rc != 0)
        return rc;
    if (count == 0)
        return cli_usage(&command_new, "a name is missing");
    if (!name_is_good(f.name))
        return cli_usage(
            &command_new,
            "'%s' is no name: use letters, digits, '-' and '_', and no _test at the end", f.name);
    if (!has_template(f.template))
        return cli_usage(
            &command_new,
            "'%s' is not one of hello, protected, scope, fetch, background, scheduled, webhook, "
            "tool",
            f.template);
    if (strlen(f.config_file) > 4000)
        return cli_usage(&command_new, "the name of --config is too long");
    struct err err;
    return own_script_run("share/new.lua", make, &f, &err) == 0 ? EXIT_GOOD
                                                                : cli_fault("%s", err.text);
}

const struct command command_new = {"new", run};
