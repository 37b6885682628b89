/* event and context: tables whose fields are made on first reading. */
#include "run/event.h"

#include <lauxlib.h>
#include <string.h>

#include "run/chunks.h"
#include "run/event_fields.h"
#include "run/event_read.h"
#include "run/invocation.h"
#include "run/parts.h"
#include "lua/lazy.h"
#include "lua/names.h"

/* A slot serves one invocation at a time and is then used again. Memory: a userdata anchored in the
 * registry. */
struct event_slot {
    struct invocation *inv; /* NULL: free */
    int anchor;             /* of this userdata */
    int metatable;          /* of both its tables; registry references, LUA_NOREF once let go */
    size_t charged;         /* once let go: to the function's memory, what the request has; */
    void (*gone)(struct invocation *inv); /* ... told when the tables are */
    /* Its tables; NULL: none. One that a script keeps longer has the metatable still, but is not
     * the slot's any more. */
    const void *event, *context;
    int fields_made, fields_before; /* of the event: in this request, and in the one before */
    struct event_slot *next_free;
};

/* ---- reading a field ---- */

static struct event_slot *slot_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* What the table at index 1 may have; NULL: what it told of is over. */
static const struct field *fields_of(lua_State *L)
{
    const struct event_slot *slot = slot_of(L);
    const void *table = lua_topointer(L, 1);
    if (slot->inv == NULL || table == NULL)
        return NULL;
    return table == slot->event     ? event_fields
           : table == slot->context ? event_fields_context
                                    : NULL;
}

/* Pushes the metatable of an event whose fields are made: what it has still is its methods. */
static void lx_push_methods(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"chunks", l_chunks},     {"cookies", l_event_cookies},
        {"form", l_event_form},   {"json", l_event_json},
        {"parts", l_parts},       {"progress", l_tool_call_progress},
        {"query", l_event_query}, {NULL, NULL},
    };
    if (!luaL_newmetatable(L, "luafn.event"))
        return;
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* __index(table, name): the upvalue is the slot. */
static int l_index(lua_State *L)
{
    const struct field *fields = fields_of(L);
    if (fields == NULL || lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tostring(L, 2);
    for (const struct field *field = fields; field->name != NULL; field++) {
        if (strcmp(field->name, name) != 0)
            continue;
        slot_of(L)->fields_made += fields == event_fields;
        field->push(L, slot_of(L)->inv);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        return 1;
    }
    if (fields != event_fields)
        return 0;
    lx_push_methods(L);
    lua_getfield(L, -1, "__index");
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static void fill_in(lua_State *L, int table, const struct field *field, struct invocation *inv)
{
    bool has_methods = field == event_fields;
    for (; field != NULL && field->name != NULL; field++) {
        lua_pushstring(L, field->name);
        lua_pushvalue(L, -1);
        bool made = lua_rawget(L, table) != LUA_TNIL;
        lua_pop(L, 1); /* stack: ..., name */
        if (made) {
            lua_pop(L, 1);
            continue;
        }
        field->push(L, inv);
        lua_rawset(L, table);
    }
    if (has_methods)
        lx_push_methods(L);
    else
        lua_pushnil(L);
    lua_setmetatable(L, table);
}

static int l_pairs(lua_State *L)
{
    fill_in(L, 1, fields_of(L), slot_of(L)->inv);
    lua_pushcfunction(L, lazy_next);
    lua_pushvalue(L, 1);
    return 2;
}

static void make_whole(lua_State *L, int index)
{
    luaL_getmetafield(L, index, "__pairs");
    lua_pushvalue(L, index);
    lua_call(L, 1, 0);
}

bool event_is_of(lua_State *L, int index, const struct invocation *inv)
{
    return inv->slot != NULL && lua_istable(L, index) &&
           lua_topointer(L, index) == inv->slot->event;
}

bool event_authorization(lua_State *L, int index, struct str *out)
{
    struct invocation *inv = invocation_of(L);
    if (inv == NULL || inv->slot == NULL || !lua_istable(L, index) ||
        lua_topointer(L, index) != inv->slot->event)
        return false;
    name_push(L, NAME_HEADERS);
    bool looked_at = lua_rawget(L, index) != LUA_TNIL;
    lua_pop(L, 1);
    if (looked_at)
        return false;
    const struct headers *headers = &inv->ex->req.headers;
    bool many;
    const struct str *value = headers_get_single(headers, STR("authorization"), &many);
    *out = value != NULL ? *value : (struct str){NULL, 0};
    if (!many)
        return true;
    value = headers_get(headers, STR("authorization"));
    *out = lx_vm_check(L, arena_printf(&inv->ex->arena, "%.*s, ", STR_ARG(*value)));
    return true;
}

/* ---- slots ---- */

/* Pushes a metatable whose functions know the slot (at `slot_index`). */
static void push_metatable(lua_State *L, int slot_index)
{
    static const struct {
        const char *name;
        lua_CFunction fn;
    } functions[] = {{"__index", l_index}, {"__pairs", l_pairs}};
    lua_createtable(L, 0, 4);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        lua_pushvalue(L, slot_index);
        lua_pushcclosure(L, functions[i].fn, 1);
        lua_setfield(L, -2, functions[i].name);
    }
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    static const struct lazy_type lazy = {.make = make_whole, .kind = LAZY_HOST};
    lazy_mark(L, &lazy);
}

static struct event_slot *new_slot(lua_State *L)
{
    struct event_slot *slot = lua_newuserdatauv(L, sizeof(*slot), 0);
    int index = lua_gettop(L);
    *slot = (struct event_slot){0};
    push_metatable(L, index);
    slot->metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    slot->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return slot;
}

/* A new table under that metatable, and which it is. [-0, +1] */
static const void *push_lazy(lua_State *L, int metatable, int size)
{
    lua_createtable(L, 0, size);
    lua_rawgeti(L, LUA_REGISTRYINDEX, metatable);
    lua_setmetatable(L, -2);
    return lua_topointer(L, -1);
}

void event_push(lua_State *L, struct invocation *inv, int count)
{
    if (count == 0)
        return;
    struct vm *vm = vm_of(L);
    struct event_slot *slot = vm->free_slots;
    if (slot != NULL)
        vm->free_slots = slot->next_free;
    else
        slot = new_slot(L);
    slot->inv = inv;
    inv->slot = slot; /* now, so that it is released also when the next lines raise */
    slot->event = push_lazy(L, slot->metatable, slot->fields_before);
    if (count > 1)
        slot->context = push_lazy(L, slot->metatable, 2);
}

static int l_gone(lua_State *L)
{
    struct event_slot *slot = lua_touserdata(L, 1);
    struct invocation *inv = slot->inv;
    event_release(L, slot);
    if (inv != NULL) {
        inv->slot = NULL;
        slot->gone(inv);
    }
    return 0;
}

/* What its memory is charged for is freed by a finalizer, which Lua does not run for want of
 * memory: hence the room. */
void event_let_go(lua_State *L, struct invocation *inv, void (*gone)(struct invocation *inv))
{
    struct event_slot *slot = inv->slot;
    struct vm *vm = vm_of(L);
    if (slot == NULL)
        return;
    vm_make_room(vm, L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, slot->anchor);
    if (luaL_newmetatable(L, "luafn.event_slot")) {
        lua_pushcfunction(L, l_gone);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    if (vm_charge(vm, 0, inv->ex->arena.total))
        slot->charged = inv->ex->arena.total;
    luaL_unref(L, LUA_REGISTRYINDEX, slot->anchor);
    luaL_unref(L, LUA_REGISTRYINDEX, slot->metatable);
    slot->anchor = slot->metatable = LUA_NOREF;
    slot->gone = gone;
    /* To the collector a request is two small tables. It is hurried by eight times of what goes
     * with them, so that few wait for it, between what stays, at once. */
    lua_gc(L, LUA_GCSTEP, (int)(8 * inv->ex->arena.total / 1024));
}

void event_release(lua_State *L, struct event_slot *slot)
{
    if (slot == NULL)
        return;
    struct vm *vm = vm_of(L);
    slot->inv = NULL;
    slot->event = slot->context = NULL;
    if (slot->anchor == LUA_NOREF) {
        (void)vm_charge(vm, slot->charged, 0);
        slot->charged = 0;
        return;
    }
    slot->fields_before = slot->fields_made;
    slot->fields_made = 0;
    slot->next_free = vm->free_slots;
    vm->free_slots = slot;
}
