/* Line numbers for faults in tables that Lua has already evaluated. */
#include "lua/source_line.h"

#include <stdio.h>

#include "lua/chunk.h"
#include "lua/lexer.h"

enum { DEPTH_MAX = 16, PATH_MAX_BYTES = 512, SEEN_MAX = 1024 };

struct frame {
    size_t path_len; /* of the enclosing path */
    unsigned index;  /* positional members so far */
};

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
    struct names *names; /* of the members of the table that is wanted; NULL: nobody asks */
};

struct names {
    struct str seen[SEEN_MAX];
    unsigned count;
    unsigned twice; /* the line of the first that was there before */
    struct str which;
};

static void see_name(struct names *names, struct str name, unsigned line)
{
    for (unsigned i = 0; i < names->count && names->twice == 0; i++) {
        if (!str_eq(names->seen[i], name))
            continue;
        names->twice = line;
        names->which = name;
    }
    if (names->count < SEEN_MAX)
        names->seen[names->count++] = name;
}

static void set_member(struct walk *walk, struct str name, unsigned index, unsigned line)
{
    size_t base = walk->frames[walk->depth - 1].path_len;
    size_t room = sizeof(walk->path) - base;
    int n = name.ptr == NULL
                ? snprintf(walk->path + base, room, "[%u]", index)
                : snprintf(walk->path + base, room, "%s%.*s", base > 0 ? "." : "", STR_ARG(name));
    if (walk->names != NULL && name.ptr != NULL &&
        str_eq((struct str){walk->path, base}, walk->wanted))
        see_name(walk->names, name, line);
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
    if (lexer->token == LEXER_NAME) {
        name = lexer_text(lexer);
        lexer_next(lexer);
    } else if (lexer_is(lexer, "[")) {
        if (lexer_next(lexer) == LEXER_STRING)
            name = lexer_text(lexer);
        lexer_next(lexer);
        lexer_next(lexer);
    }
    if (name.ptr != NULL && lexer_is(lexer, "=")) {
        lexer_next(lexer);
        set_member(walk, name, 0, line);
    } else {
        *lexer = saved;
        set_member(walk, (struct str){NULL, 0}, ++walk->frames[walk->depth - 1].index, line);
    }
}

static void open_table(struct walk *walk)
{
    if (walk->names != NULL && walk->names->twice == 0 &&
        str_eq((struct str){walk->path, walk->path_len}, walk->wanted))
        walk->names->count = 0;
    if (walk->depth < DEPTH_MAX)
        walk->frames[walk->depth++] = (struct frame){walk->path_len, 0};
}

static unsigned walk_source(struct str source, struct str path, struct names *names)
{
    struct walk walk = {
        .lexer = lexer_of(chunk_body(source)), .wanted = path, .best_line = 1, .names = names};
    struct lexer *lexer = &walk.lexer;
    bool after_return = false, at_member = false;
    for (lexer_next(lexer); lexer->token != LEXER_END;) {
        if (names != NULL && walk.depth > 0 && lexer_is(lexer, "function"))
            return 0;
        if (walk.depth == 0) {
            if (after_return && lexer_is(lexer, "{")) {
                walk.best_line = lexer->line;
                open_table(&walk);
                at_member = true;
            }
            after_return = lexer_is(lexer, "return");
            lexer_next(lexer);
        } else if (at_member && !lexer_is(lexer, "}")) {
            read_key(&walk);
            at_member = false;
        } else {
            if (lexer_is(lexer, "{"))
                open_table(&walk);
            else if (lexer_is(lexer, "}"))
                walk.depth--;
            at_member = lexer_is(lexer, "{") || lexer_is(lexer, ",") || lexer_is(lexer, ";");
            lexer_next(lexer);
        }
    }
    return walk.best_line;
}

unsigned source_line(struct str source, struct str path)
{
    return walk_source(source, path, NULL);
}

unsigned source_line_twice(struct str source, struct str path, struct str *name)
{
    struct names names = {.count = 0};
    if (walk_source(source, path, &names) == 0)
        return 0;
    *name = names.which;
    return names.twice;
}
