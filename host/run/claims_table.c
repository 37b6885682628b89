/* Claims whose members are made when they are read. */
#include "run/claims_table.h"

#include <lauxlib.h>
#include <string.h>

#include "lua/json_lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"

static void push_copy(lua_State *L, const struct sheet *sheet)
{
    memcpy(lua_newuserdatauv(L, sheet->bytes, 0), sheet, sheet->bytes);
}

/* One token often comes again and again: its sheet and text are kept. */
static void push_sheet(lua_State *L, const struct sheet *sheet)
{
    if (vm_push_kept(L, VM_KEPT_SHEET)) {
        if (((const struct sheet *)lua_touserdata(L, -1))->serial == sheet->serial)
            return;
        lua_pop(L, 1);
    }
    push_copy(L, sheet);
    vm_keep(L, VM_KEPT_SHEET);
}

void claims_table_push(lua_State *L, struct claims *claims, struct str ns)
{
    const struct sheet *sheet = claims_sheet(claims, ns);
    luaL_checkstack(L, 4, NULL);
    if (sheet != NULL) {
        push_sheet(L, sheet);
        json_lazy_wrap(L);
        return;
    }
    json_t *plain = claims_plain(claims, ns);
    if (plain == NULL)
        luaL_error(L, "out of memory");
    json_decref(plain); /* the claims hold it */
    tree_push(L, plain);
}

void claims_push_token(lua_State *L, const struct claims *claims, struct str token)
{
    struct vm *vm = vm_of(L);
    if (vm->token_of == claims->serial && vm_push_kept(L, VM_KEPT_TOKEN))
        return;
    vm->token_of = 0;
    lua_pushlstring(L, token.ptr, token.len);
    vm_keep(L, VM_KEPT_TOKEN);
    vm->token_of = claims->serial;
}

bool claims_push_mapped(lua_State *L, int index, const struct sheet_map *map)
{
    const struct sheet *sheet = json_lazy_push_sheet(L, index);
    const struct sheet *mapped = sheet != NULL ? sheet_map(sheet, map) : NULL;
    if (mapped == sheet)
        return sheet != NULL;
    lua_pop(L, 1);
    if (mapped != NULL)
        push_copy(L, mapped);
    return mapped != NULL;
}
