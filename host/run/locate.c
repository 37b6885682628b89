/* Where in a required file a value was written. */
#include "run/locate.h"

#include <lauxlib.h>

#include "lua/script.h"
#include "lua/source_line.h"
#include "lua/vm.h"
#include "options/spec.h"

int l_locate(lua_State *L)
{
    struct str name, path;
    name.ptr = luaL_checklstring(L, 1, &name.len);
    path.ptr = luaL_checklstring(L, 2, &path.len);
    const struct function_spec *spec = vm_of(L)->spec;
    char file[4096];
    struct buf source = BUF_INIT;
    if (spec == NULL ||
        script_candidate("", spec->root, name, SCRIPT_ROOT, false, file, sizeof(file)) != 0 ||
        script_read(file, &source, NULL) != 0) {
        buf_free(&source);
        return luaL_error(L, "there is no module '%s' beside functions.lua", name.ptr);
    }
    unsigned line = source_line(buf_str(&source), path);
    buf_free(&source);
    lua_pushfstring(L, "%s:%d", script_display_name(file, spec->root), (int)line);
    return 1;
}
