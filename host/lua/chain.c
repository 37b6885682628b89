/* A rough reading of Lua source: tokens and brackets, enough to count chains. */
#include "lua/chain.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/limits.h"

enum token { END, NAME, KEYWORD, LITERAL, DOT, COLON, OPEN, CLOSE, OTHER };

enum { DEPTH_MAX = 220 }; /* Lua refuses what nests deeper than 200 */

struct reader {
    const char *p, *end;
    const char *start; /* of the token */
    unsigned line;
};

/* ---- tokens -------------------------------------------------------------------------------- */

static int at(const struct reader *r, size_t i)
{
    return (size_t)(r->end - r->p) > i ? (unsigned char)r->p[i] : 0;
}

static void skip(struct reader *r, size_t count)
{
    for (; count > 0 && r->p < r->end; count--)
        r->line += *r->p++ == '\n';
}

/* At "[": the number of "=" and 1, or 0 when this is no long bracket. */
static size_t long_bracket(const struct reader *r)
{
    size_t level = 0;
    while (at(r, level + 1) == '=')
        level++;
    return at(r, level + 1) == '[' ? level + 1 : 0;
}

static void skip_long(struct reader *r, size_t level)
{
    skip(r, level + 1);
    while (r->p < r->end) {
        size_t i = 1;
        while (i < level && at(r, i) == '=')
            i++;
        if (at(r, 0) == ']' && i == level && at(r, i) == ']') {
            skip(r, level + 1);
            return;
        }
        skip(r, 1);
    }
}

static void skip_blank(struct reader *r)
{
    while (r->p < r->end) {
        if (isspace(at(r, 0))) {
            skip(r, 1);
        } else if (at(r, 0) == '-' && at(r, 1) == '-') {
            skip(r, 2);
            size_t level = at(r, 0) == '[' ? long_bracket(r) : 0;
            if (level > 0)
                skip_long(r, level);
            while (level == 0 && r->p < r->end && at(r, 0) != '\n')
                skip(r, 1);
        } else {
            return;
        }
    }
}

static void skip_quoted(struct reader *r)
{
    int quote = at(r, 0);
    skip(r, 1);
    while (r->p < r->end && at(r, 0) != quote && at(r, 0) != '\n')
        skip(r, at(r, 0) == '\\' ? 2 : 1);
    skip(r, 1);
}

static void skip_number(struct reader *r)
{
    while (isalnum(at(r, 0)) || at(r, 0) == '.') {
        bool exponent = strchr("eEpP", at(r, 0)) != NULL && strchr("+-", at(r, 1)) != NULL;
        skip(r, exponent && at(r, 1) != 0 ? 2 : 1);
    }
}

static bool token_is(const struct reader *r, const char *word)
{
    size_t len = (size_t)(r->p - r->start);
    return strlen(word) == len && memcmp(word, r->start, len) == 0;
}

static bool is_one_of(const struct reader *r, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (token_is(r, *words))
            return true;
    }
    return false;
}

static enum token read_word(struct reader *r)
{
    static const char *const keywords[] = {
        "and",      "break",  "do",   "else", "elseif", "end",   "false", "for",
        "function", "goto",   "if",   "in",   "local",  "nil",   "not",   "or",
        "repeat",   "return", "then", "true", "until",  "while", NULL};
    while (isalnum(at(r, 0)) || at(r, 0) == '_')
        skip(r, 1);
    return is_one_of(r, keywords) ? KEYWORD : NAME;
}

static enum token next(struct reader *r)
{
    skip_blank(r);
    r->start = r->p;
    int c = at(r, 0);
    if (r->p == r->end)
        return END;
    if (isalpha(c) || c == '_')
        return read_word(r);
    if (isdigit(c) || (c == '.' && isdigit(at(r, 1)))) {
        skip_number(r);
        return LITERAL;
    }
    if (c == '"' || c == '\'') {
        skip_quoted(r);
        return LITERAL;
    }
    size_t level = c == '[' ? long_bracket(r) : 0;
    if (level > 0) {
        skip_long(r, level);
        return LITERAL;
    }
    if ((c == '.' || c == ':') && at(r, 1) == c) {
        skip(r, at(r, 2) == '.' ? 3 : 2);
        return OTHER;
    }
    skip(r, at(r, 1) == '=' && strchr("=<>~", c) != NULL ? 2 : 1);
    switch (c) {
    case '.':
        return DOT;
    case ':':
        return COLON;
    case '(':
    case '[':
    case '{':
        return OPEN;
    case ')':
    case ']':
    case '}':
        return CLOSE;
    default:
        return OTHER;
    }
}

/* ---- chains -------------------------------------------------------------------------------- */

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

static void open_bracket(struct counts *n, enum token before, char bracket)
{
    bool suffix = before == NAME || before == LITERAL || before == CLOSE;
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

static void count_keyword(struct counts *n, const struct reader *r)
{
    static const char *const jumps[] = {"elseif", "break", "goto", NULL};
    static const char *const values[] = {"false", "nil", "not", "true", NULL};
    n->indexes = 0;
    if (token_is(r, "and") || token_is(r, "or"))
        n->logical++;
    else if (!is_one_of(r, values))
        n->logical = 0;
    if (is_one_of(r, jumps))
        n->jumps++;
}

static int refuse(const struct reader *r, struct err *err, unsigned limit, const char *what)
{
    return err_set(err, -EINVAL, "%u: more than %u %s", r->line, limit, what);
}

int chain_check(struct str source, struct err *err)
{
    struct reader r = {.p = source.ptr, .end = source.ptr + source.len, .line = 1};
    struct counts n = {.depth = 0};
    enum token before = OTHER, token;
    while ((token = next(&r)) != END) {
        if (token == NAME && before != DOT && before != COLON)
            n.indexes = 0;
        else if (token == DOT)
            n.indexes++;
        else if (token == KEYWORD)
            count_keyword(&n, &r);
        else if (token == OTHER || token == LITERAL)
            n.indexes = 0;
        if (token == OTHER && r.p - r.start == 1 && strchr("=,;", *r.start) != NULL)
            n.logical = 0;
        if ((token == OPEN && n.depth == DEPTH_MAX) || (token == CLOSE && n.depth == 0))
            return 0;
        if (token == OPEN)
            open_bracket(&n, before, *r.start);
        else if (token == CLOSE)
            close_bracket(&n);
        if (n.indexes > LIMIT_CHAIN_INDEXES)
            return refuse(&r, err, LIMIT_CHAIN_INDEXES, "indexes in a row (a.b.c)");
        if (n.logical > LIMIT_CHAIN_LOGICAL)
            return refuse(&r, err, LIMIT_CHAIN_LOGICAL, "`and` or `or` in one expression");
        if (n.jumps > LIMIT_SCRIPT_JUMPS)
            return refuse(&r, err, LIMIT_SCRIPT_JUMPS, "`elseif`, `break` and `goto` in a script");
        before = token;
    }
    return 0;
}
