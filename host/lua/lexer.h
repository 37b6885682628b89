/* The tokens of a Lua source text, for those who look at it without compiling it (chain.c,
 * source_line.c). A text that is no Lua gives some tokens, too.
 *
 * Where a token ends is Lua's own opinion to the byte: what a text could hide from these tokens it
 * would hide from chain_check. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum lexer_token {
    LEXER_END,
    LEXER_NAME,
    LEXER_KEYWORD,
    LEXER_STRING,
    LEXER_NUMBER,
    LEXER_DOT,
    LEXER_COLON,
    LEXER_OPEN,  /* ( [ { */
    LEXER_CLOSE, /* ) ] } */
    LEXER_OTHER
};

struct lexer {
    const char *p, *end; /* what is left */
    const char *start;   /* of the token, which ends at p */
    unsigned line;       /* where the token begins (from 1) */
    unsigned next_line;  /* where it ends */
    enum lexer_token token;
};

/* A lexer before the first token of `source`. */
struct lexer lexer_of(struct str source);

/* Goes on to the next token and returns it. */
enum lexer_token lexer_next(struct lexer *lexer);

/* Is the token this word or sign? */
bool lexer_is(const struct lexer *lexer, const char *word);

/* The token as it is written; a string's without its quotes, a long one's empty. */
struct str lexer_text(const struct lexer *lexer);
