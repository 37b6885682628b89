/* Line numbers for faults in tables that Lua has already evaluated. */
#include "lua/source_line.h"

#include <ctype.h>
#include <stdio.h>

enum { DEPTH_MAX = 16, PATH_MAX_BYTES = 512 };

enum token { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_OTHER };

struct lexer {
    struct str rest;
    unsigned line;
    enum token token;
    struct str text; /* of the token; a string's without its quotes */
    char symbol;     /* for TOKEN_OTHER: its first character */
};

struct frame {
    size_t path_len; /* of the enclosing path */
    unsigned index;  /* positional members so far */
};

static void take(struct lexer *lexer, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lexer->line += lexer->rest.ptr[i] == '\n';
    lexer->rest = str_skip(lexer->rest, count);
}

/* Length of "[[", "[=[" and so on at the start of s, or 0. */
static size_t long_bracket(struct str s)
{
    if (s.len == 0 || s.ptr[0] != '[')
        return 0;
    size_t i = 1;
    while (i < s.len && s.ptr[i] == '=')
        i++;
    return i < s.len && s.ptr[i] == '[' ? i + 1 : 0;
}

static size_t long_bracket_end(struct str s, size_t open)
{
    for (size_t i = open; i + open <= s.len; i++) {
        if (s.ptr[i] != ']' || s.ptr[i + open - 1] != ']')
            continue;
        size_t k = 1;
        while (k < open - 1 && s.ptr[i + k] == '=')
            k++;
        if (k == open - 1)
            return i + open;
    }
    return s.len;
}

static void skip_blanks(struct lexer *lexer)
{
    for (;;) {
        struct str s = lexer->rest;
        if (s.len > 0 && isspace((unsigned char)s.ptr[0])) {
            take(lexer, 1);
        } else if (str_starts_with(s, STR("--"))) {
            struct str body = str_skip(s, 2);
            size_t open = long_bracket(body);
            take(lexer, 2 + (open > 0 ? long_bracket_end(body, open) : str_find(body, '\n')));
        } else {
            return;
        }
    }
}

static void take_quoted(struct lexer *lexer)
{
    struct str s = lexer->rest;
    size_t i = 1;
    while (i < s.len && s.ptr[i] != s.ptr[0])
        i += s.ptr[i] == '\\' && i + 1 < s.len ? 2 : 1;
    lexer->token = TOKEN_STRING;
    lexer->text = (struct str){s.ptr + 1, i - 1};
    take(lexer, i < s.len ? i + 1 : s.len);
}

static void next_token(struct lexer *lexer)
{
    skip_blanks(lexer);
    struct str s = lexer->rest;
    lexer->symbol = '\0';
    if (s.len == 0) {
        lexer->token = TOKEN_END;
        return;
    }
    if (s.ptr[0] == '"' || s.ptr[0] == '\'') {
        take_quoted(lexer);
        return;
    }
    size_t open = long_bracket(s);
    if (open > 0) {
        lexer->token = TOKEN_STRING;
        lexer->text = (struct str){s.ptr, 0};
        take(lexer, long_bracket_end(s, open));
        return;
    }
    size_t len = 0;
    while (len < s.len && (isalnum((unsigned char)s.ptr[len]) || s.ptr[len] == '_'))
        len++;
    lexer->token = len > 0 ? TOKEN_NAME : TOKEN_OTHER;
    lexer->text = (struct str){s.ptr, len};
    lexer->symbol = len > 0 ? '\0' : s.ptr[0];
    take(lexer, len > 0 ? len : 1);
}

/* The walk: keeps the path of the member that is being read. */
struct walk {
    struct lexer lexer;
    char path[PATH_MAX_BYTES];
    size_t path_len;
    struct frame frames[DEPTH_MAX];
    unsigned depth;
    struct str wanted;
    unsigned best_line;
    size_t best_len;
};

static void set_member(struct walk *walk, struct str name, unsigned index, unsigned line)
{
    size_t base = walk->frames[walk->depth - 1].path_len;
    size_t room = sizeof(walk->path) - base;
    int n = name.ptr == NULL
                ? snprintf(walk->path + base, room, "[%u]", index)
                : snprintf(walk->path + base, room, "%s%.*s", base > 0 ? "." : "", STR_ARG(name));
    walk->path_len = base + ((size_t)n < room ? (size_t)n : 0);
    struct str path = {walk->path, walk->path_len};
    bool encloses = str_starts_with(walk->wanted, path) &&
                    (walk->wanted.len == path.len || walk->wanted.ptr[path.len] == '.' ||
                     walk->wanted.ptr[path.len] == '[');
    if (encloses && path.len > walk->best_len) {
        walk->best_len = path.len;
        walk->best_line = line;
    }
}

/* At the start of a member: `name =`, `["name"] =`, or a positional value. Leaves the lexer at the
 * value. */
static void read_key(struct walk *walk)
{
    struct lexer *lexer = &walk->lexer;
    unsigned line = lexer->line;
    struct lexer saved = *lexer;
    struct str name = {NULL, 0};
    if (lexer->token == TOKEN_NAME) {
        name = lexer->text;
        next_token(lexer);
    } else if (lexer->symbol == '[') {
        next_token(lexer);
        if (lexer->token == TOKEN_STRING)
            name = lexer->text;
        next_token(lexer);
        next_token(lexer);
    }
    bool keyed =
        name.ptr != NULL && lexer->symbol == '=' && !str_starts_with(lexer->rest, STR("="));
    if (keyed) {
        next_token(lexer);
        set_member(walk, name, 0, line);
    } else {
        *lexer = saved;
        set_member(walk, (struct str){NULL, 0}, ++walk->frames[walk->depth - 1].index, line);
    }
}

static void open_table(struct walk *walk)
{
    if (walk->depth < DEPTH_MAX)
        walk->frames[walk->depth++] = (struct frame){walk->path_len, 0};
}

unsigned source_line(struct str source, struct str path)
{
    struct walk walk = {.lexer = {.rest = source, .line = 1}, .wanted = path, .best_line = 1};
    struct lexer *lexer = &walk.lexer;
    bool after_return = false, at_member = false;
    for (next_token(lexer); lexer->token != TOKEN_END;) {
        if (walk.depth == 0) {
            if (after_return && lexer->symbol == '{') {
                walk.best_line = lexer->line;
                open_table(&walk);
                at_member = true;
            }
            after_return = lexer->token == TOKEN_NAME && str_eq(lexer->text, STR("return"));
            next_token(lexer);
        } else if (at_member && lexer->symbol != '}') {
            read_key(&walk);
            at_member = false;
        } else {
            if (lexer->symbol == '{')
                open_table(&walk);
            else if (lexer->symbol == '}')
                walk.depth--;
            at_member = lexer->symbol == '{' || lexer->symbol == ',' || lexer->symbol == ';';
            next_token(lexer);
        }
    }
    return walk.best_line;
}
