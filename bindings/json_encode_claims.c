/* Claims to JSON without making their members: those that a script has not touched are text
 * already. */
#include "base/limits.h"
#include "bindings/json_internal.h"
#include "run/claims_table.h"

/* From the name's quote to the value's end, for the members `from` to `to`; they are side by side.
 */
static struct str run_of(const struct sheet *sheet, unsigned from, unsigned to)
{
    const char *start = sheet_name(sheet, from).ptr - 1;
    struct str last = sheet_value(sheet, to);
    return (struct str){start, (size_t)(last.ptr + last.len - start)};
}

/* The raw table stands for this member, which it may have lost. */
static bool encode_made(struct encoder *enc, int table, struct frame *frame, struct str name,
                        bool first)
{
    lua_State *L = enc->L;
    lua_pushlstring(L, name.ptr, name.len);
    lua_pushvalue(L, -1);
    bool there = lua_rawget(L, table) != LUA_TNIL;
    if (there)
        json_encode_member(enc, frame, first);
    return there;
}

/* Members besides those of the sheet. */
static void encode_others(struct encoder *enc, int table, struct frame *frame,
                          const struct sheet *sheet, bool first)
{
    lua_State *L = enc->L;
    for (lua_pushnil(L); !enc->failed && lua_next(L, table) != 0;) {
        struct str name = {NULL, 0};
        if (lua_type(L, -2) == LUA_TSTRING)
            name.ptr = lua_tolstring(L, -2, &name.len);
        if (name.ptr == NULL || sheet_find(sheet, name) >= 0) {
            lua_pop(L, 1);
            continue;
        }
        json_encode_member(enc, frame, first);
        first = false;
    }
}

static void encode_members(struct encoder *enc, int table, const struct claims_table *view)
{
    const struct sheet *sheet = view->sheet;
    struct frame frame = {enc->frame, 0, 0};
    int top = lua_gettop(enc->L);
    bool first = true;
    enc->frame = &frame;
    for (unsigned i = 0; i < sheet->count && !enc->failed; i++) {
        unsigned from = i;
        while (i < sheet->count && (view->made >> i & 1) == 0)
            i++;
        if (i > from) {
            if (!first)
                buf_add_char(enc->out, ',');
            buf_add_str(enc->out, run_of(sheet, from, i - 1));
            first = false;
        }
        if (i < sheet->count && encode_made(enc, table, &frame, sheet_name(sheet, i), first))
            first = false;
        if (!enc->failed)
            lua_settop(enc->L, top);
    }
    if (view->others && !enc->failed)
        encode_others(enc, table, &frame, sheet, first);
    enc->frame = frame.up;
}

bool json_encode_claims(struct encoder *enc, int table)
{
    struct claims_table view;
    if (!claims_table_view(enc->L, table, &view))
        return false;
    if (view.made == 0 && !view.others) {
        buf_add_str(enc->out, sheet_text(view.sheet));
        return true;
    }
    buf_add_char(enc->out, '{');
    enc->depth++;
    encode_members(enc, table, &view);
    enc->depth--;
    buf_add_char(enc->out, '}');
    return true;
}
