/* Source texts that Lua would choke on are refused; all others pass. */
#include "unit.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "lua/chain.h"

struct text {
    const char *before, *piece, *after;
    unsigned limit; /* so many pieces pass, one more does not; 0: any number passes */
};

static const struct text texts[] = {
    {"return x", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return x", " . a --[[ . ]]\n", "", LIMIT_CHAIN_INDEXES},
    {"return x", "[i]", "", LIMIT_CHAIN_INDEXES},
    {"return x", "['a']", "", LIMIT_CHAIN_INDEXES},
    {"return x", "[1]", ".b", LIMIT_CHAIN_INDEXES - 1},
    {"return (x.a).b", ".c", "", LIMIT_CHAIN_INDEXES - 2},
    {"return x[y", ".a", "].b", LIMIT_CHAIN_INDEXES - 2},
    {"return (((x", ".a", ").b).c).d", LIMIT_CHAIN_INDEXES - 3},
    {"local t = function() return (x", ".a", ") end", LIMIT_CHAIN_INDEXES},
    {"x:m()", ".a", "()", LIMIT_CHAIN_INDEXES},
    {"return 'quoted ] ) \\' .a'", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return [==[ ]=] long ]==]", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return q", ".a()", "", 0},
    {"return q", ":a{ b.c }", "", 0},
    {"return q", ".a'x'", "", 0},
    {"", "a.b = c.d\n", "", 0},
    {"return {", "a.b, [c.d] = e.f,", "}", 0},
    {"return 1", " + a.b", "", 0},
    {"return 1", " .. a.b", "", 0},
    {"return 1", " + 1.5e-3 + .5 + 0x1p+4", "", 0},
    {"-- ", ".a", "", 0},
    /* What ends a token only in the eyes of one of the two readers would hide what follows. */
    {"-- \r return x", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return '\\z \n\t', x", ".a", ", '", LIMIT_CHAIN_INDEXES},
    {"return '\\\r\n', x", ".a", ", '", LIMIT_CHAIN_INDEXES},
    {"return '\\\n\r', x", ".a", ", '", LIMIT_CHAIN_INDEXES},
    {"return 0xe+x", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return 0XE-x", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return 1e+1, 0x1p-1, x", ".a", "", LIMIT_CHAIN_INDEXES},
    {"return [[", ".a", "]]", 0},
    {"return '", ".a", "'", 0},
    {"return a", " and b", "", LIMIT_CHAIN_LOGICAL},
    {"return a", " or not (b == nil)", "", LIMIT_CHAIN_LOGICAL},
    {"", "x = a and b or c\n", "", 0},
    {"", "if a and b then end\n", "", 0},
    {"f(", "a or b,", ")", 0},
    {"if a then", " elseif a then", " end", LIMIT_SCRIPT_JUMPS},
    {"while a do", " if b then break end", " end", LIMIT_SCRIPT_JUMPS},
    {"::l::", " do goto l end", "", LIMIT_SCRIPT_JUMPS},
    {"", "elseifs.breaks = gotos\n", "", 0},
    {"", "((((", "", 0}, /* the compiler's business */
    {"", "))))", "", 0},
};

static int check(const struct text *text, unsigned pieces, struct err *err)
{
    struct buf source = BUF_INIT;
    buf_add_str(&source, str_from(text->before));
    for (unsigned i = 0; i < pieces; i++)
        buf_add_str(&source, str_from(text->piece));
    buf_add_str(&source, str_from(text->after));
    /* a copy of exact size: reading past the end is noticed */
    char *copy = malloc(source.len);
    assert_non_null(copy);
    memcpy(copy, source.data, source.len);
    int rc = chain_check((struct str){copy, source.len}, err);
    free(copy);
    buf_free(&source);
    return rc;
}

static void test_limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct text *text = &texts[i];
        struct err err;
        unsigned pieces = text->limit != 0 ? text->limit : 3 * LIMIT_SCRIPT_JUMPS;
        if (check(text, pieces, &err) != 0)
            fail_msg("%s%s: refused: %s", text->before, text->piece, err.text);
        if (text->limit != 0 && check(text, pieces + 1, &err) != -EINVAL)
            fail_msg("%s%s: passes", text->before, text->piece);
    }
}

static void test_place(void **state)
{
    (void)state;
    const struct text text = {"local a\nlocal b = [[\n]]\nreturn x", ".a", "", 0};
    struct err err;
    assert_int_equal(check(&text, LIMIT_CHAIN_INDEXES + 1, &err), -EINVAL);
    assert_string_equal(err.text, "4: more than 100 indexes in a row (a.b.c)");
}

/* Cut anywhere, nothing is read past the end. */
static void test_cut_texts(void **state)
{
    (void)state;
    static const char whole[] =
        "x.y[1]:z'a\\'b' --[==[ ]=] ]==] .. 0x1p-4 ::l:: [[long]] -- end\n \"\\z\n\" .5e+1 ...";
    for (size_t len = 1; len < sizeof(whole); len++) {
        char cut[sizeof(whole)] = {0};
        memcpy(cut, whole, len);
        const struct text text = {"", cut, "", 0};
        assert_int_equal(check(&text, 1, NULL), 0);
    }
}

/* ---- nothing hides from it ---- */

static bool compiles(lua_State *L, struct str before, const char *after, size_t times)
{
    struct buf text = BUF_INIT;
    buf_add_str(&text, before);
    for (size_t i = 0; i < times; i++)
        buf_add_str(&text, str_from(after));
    bool ok = luaL_loadbufferx(L, text.data != NULL ? text.data : "", text.len, "=t", "t") == 0;
    lua_settop(L, 0);
    buf_free(&text);
    return ok;
}

/* Texts of pieces on whose ends two readers may disagree, then a name: where Lua takes that as code
 * (a '$' behind it is a fault, which it is not in texts and comments), and compiles what follows, a
 * chain behind it must be found. */
static void test_no_text_hides_a_chain(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "'",    "\"",   "\\",    "\\z",   "\\\n",    "\\x41", "\\u{41}",  "\\065", "\n",    "\r",
        "\r\n", "\n\r", " ",     "\t",    "\f",      "--",    "--[[",     "--[=[", "]]",    "]=]",
        "[[",   "[=[",  "[==[",  "]==]",  "0x",      "0xe+",  "1e+",      "1e-",   "0x1p+", "3.",
        ".5",   "..",   "...",   "::l::", "return ", "x=",    "y ",       "z",     "(",     ")",
        "{",    "}",    ",",     ";",     "+",       "-",     "//",       "~=",    "==",    "#",
        "not ", "'a'",  "\"b\"", "[[c]]", "=",       "<",     "local x ", "f",     "]",     "[",
    };
    lua_State *L = luaL_newstate();
    uint64_t seed = 88172645463325252u;
    unsigned tried = 0;
    for (unsigned round = 0; round < 200000 / slowness(); round++) {
        struct buf text = BUF_INIT;
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        uint64_t random = seed;
        for (uint64_t count = 1 + random % 7; count > 0; count--, random /= 60)
            buf_add_str(&text, str_from(pieces[random / 7 % (sizeof(pieces) / sizeof(pieces[0]))]));
        buf_add_str(&text, STR("q"));
        if (!compiles(L, buf_str(&text), " $", 1) &&
            compiles(L, buf_str(&text), ".a", LIMIT_CHAIN_INDEXES + 2)) {
            tried++;
            for (unsigned i = 0; i < LIMIT_CHAIN_INDEXES + 2; i++)
                buf_add_str(&text, STR(".a"));
            if (chain_check(buf_str(&text), NULL) == 0)
                fail_msg("passes: %.*s", (int)text.len, text.data);
        }
        buf_free(&text);
    }
    lua_close(L);
    assert_true(tried > 20);
    print_message("# %u texts with a chain\n", tried);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_cut_texts),
        cmocka_unit_test(test_no_text_hides_a_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
