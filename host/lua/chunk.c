/* Compiling source texts. */
#include "lua/chunk.h"

#include "lua/budget.h"

enum { PIECE = 1024 }; /* bytes between two looks at the budget */

/* Raising here ends lua_load, which returns the error. */
static const char *next_piece(lua_State *L, void *arg, size_t *size)
{
    struct str *left = arg;
    budget_step(L);
    const char *piece = left->ptr;
    *size = left->len < PIECE ? left->len : PIECE;
    *left = str_skip(*left, *size);
    return piece;
}

int chunk_load(lua_State *L, struct str text, const char *name)
{
    return lua_load(L, next_piece, &text, name, "t");
}

struct str chunk_body(struct str content)
{
    if (str_starts_with(content, STR("\xef\xbb\xbf")))
        content = str_skip(content, 3);
    if (str_starts_with(content, STR("#")))
        content = str_skip(content, str_find(content, '\n'));
    return content;
}
