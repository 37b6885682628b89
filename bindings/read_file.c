/* read_file: files of the deployment that the function's `files` lists. They are read through the
 * instance's origin, as scripts are: what a generation has read stays, and a change makes a new
 * one. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "bindings/bindings.h"
#include "lua/vm.h"
#include "run/instance.h"

/* Leads down from the folder, and to nothing that is hidden (`.env`). */
static bool is_below(struct str path)
{
    struct str rest = path, part;
    bool below = memchr(path.ptr, '\0', path.len) == NULL;
    while (below && str_split_next(&rest, '/', &part))
        below = part.len > 0 && part.ptr[0] != '.';
    return below;
}

static bool is_listed(const struct function_spec *spec, struct str path)
{
    for (unsigned i = 0; i < spec->file_count; i++) {
        if (str_glob(spec->files[i], path))
            return true;
    }
    return false;
}

/* Where Lua runs out of memory nobody else would free the buffer. */
static int l_free(lua_State *L)
{
    buf_free(lua_touserdata(L, 1));
    return 0;
}

static struct buf *push_buf(lua_State *L)
{
    struct buf *buf = lua_newuserdatauv(L, sizeof(*buf), 0);
    *buf = BUF_INIT;
    if (luaL_newmetatable(L, "luafn.read_file")) {
        lua_pushcfunction(L, l_free);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return buf;
}

/* read_file(path) -> text, or nil and why not */
static int l_read_file(lua_State *L)
{
    struct str path;
    struct err err;
    path.ptr = luaL_checklstring(L, 1, &path.len);
    struct instance *instance = vm_of(L)->instance;
    if (instance == NULL || !is_below(path) || !is_listed(&instance->spec, path))
        return luaL_error(L,
                          "read_file: '%s' is not among the `files` of this function, as in "
                          "files = { \"templates/*\" }",
                          path.ptr);
    const char *full = lua_pushfstring(L, "%s/%s", instance->spec.root.ptr, path.ptr);
    struct buf *text = push_buf(L);
    int rc = origin_read(instance->origin, full, text, &err);
    if (rc == -ENOMEM)
        return luaL_error(L, "out of memory");
    if (rc == 0) {
        lua_pushlstring(L, text->len > 0 ? text->data : "", text->len);
    } else {
        lua_pushnil(L);
        if (rc == -EFBIG)
            lua_pushfstring(L, "%s: is larger than %d bytes", path.ptr, LIMIT_SCRIPT_BYTES);
        else
            lua_pushfstring(L, "%s: %s", path.ptr, err.text);
    }
    buf_free(text);
    return rc == 0 ? 1 : 2;
}

int open_read_file(lua_State *L)
{
    lua_pushcfunction(L, l_read_file);
    return 1;
}
