/* A rough reading of Lua source: tokens and brackets, enough to count chains. */
#include "lua/chain.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "lua/lexer.h"

enum { DEPTH_MAX = 220 }; /* Lua refuses what nests deeper than 200 */

struct counts {
    unsigned indexes; /* of the expression that is being read */
    unsigned logical; /* `and` and `or` in a row */
    unsigned jumps;   /* elseif, break, goto: of the text */
    unsigned depth;
    struct {
        unsigned indexes;
        bool ends_chain; /* a call's arguments, a table: what comes out is a new value */
    } outer[DEPTH_MAX];
};

static void open_bracket(struct counts *n, enum lexer_token before, char bracket)
{
    bool suffix = before == LEXER_NAME || before == LEXER_STRING || before == LEXER_NUMBER ||
                  before == LEXER_CLOSE;
    if (bracket == '[' && suffix)
        n->indexes++;
    n->outer[n->depth].indexes = n->indexes;
    n->outer[n->depth].ends_chain = bracket == '{' || (bracket == '(' && suffix);
    n->depth++;
    n->indexes = 0;
}

/* What was counted inside of (a.b) or [a.b] belongs to the chain around it. */
static void close_bracket(struct counts *n)
{
    n->depth--;
    n->indexes = n->outer[n->depth].ends_chain ? 0 : n->indexes + n->outer[n->depth].indexes;
}

static bool is_one_of(const struct lexer *lexer, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (lexer_is(lexer, *words))
            return true;
    }
    return false;
}

static void count_keyword(struct counts *n, const struct lexer *lexer)
{
    static const char *const jumps[] = {"elseif", "break", "goto", NULL};
    static const char *const values[] = {"false", "nil", "not", "true", NULL};
    n->indexes = 0;
    if (lexer_is(lexer, "and") || lexer_is(lexer, "or"))
        n->logical++;
    else if (!is_one_of(lexer, values))
        n->logical = 0;
    if (is_one_of(lexer, jumps))
        n->jumps++;
}

static int refuse(const struct lexer *lexer, struct err *err, unsigned limit, const char *what)
{
    return err_set(err, -EINVAL, "%u: more than %u %s", lexer->line, limit, what);
}

int chain_check(struct str source, struct err *err)
{
    struct lexer lexer = lexer_of(source);
    struct counts n = {.depth = 0};
    enum lexer_token before = LEXER_OTHER, token;
    while ((token = lexer_next(&lexer)) != LEXER_END) {
        if (token == LEXER_NAME && before != LEXER_DOT && before != LEXER_COLON)
            n.indexes = 0;
        else if (token == LEXER_DOT)
            n.indexes++;
        else if (token == LEXER_KEYWORD)
            count_keyword(&n, &lexer);
        else if (token == LEXER_OTHER || token == LEXER_STRING || token == LEXER_NUMBER)
            n.indexes = 0;
        if (token == LEXER_OTHER && lexer.p - lexer.start == 1 &&
            strchr("=,;", *lexer.start) != NULL)
            n.logical = 0;
        if ((token == LEXER_OPEN && n.depth == DEPTH_MAX) || (token == LEXER_CLOSE && n.depth == 0))
            return 0;
        if (token == LEXER_OPEN)
            open_bracket(&n, before, *lexer.start);
        else if (token == LEXER_CLOSE)
            close_bracket(&n);
        if (n.indexes > LIMIT_CHAIN_INDEXES)
            return refuse(&lexer, err, LIMIT_CHAIN_INDEXES, "indexes in a row (a.b.c)");
        if (n.logical > LIMIT_CHAIN_LOGICAL)
            return refuse(&lexer, err, LIMIT_CHAIN_LOGICAL, "`and` or `or` in one expression");
        if (n.jumps > LIMIT_SCRIPT_JUMPS)
            return refuse(&lexer, err, LIMIT_SCRIPT_JUMPS,
                          "`elseif`, `break` and `goto` in a script");
        before = token;
    }
    return 0;
}
