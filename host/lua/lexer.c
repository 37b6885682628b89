/* The tokens of a Lua source text. */
#include "lua/lexer.h"

#include <ctype.h>
#include <string.h>

static int at(const struct lexer *lexer, size_t i)
{
    return (size_t)(lexer->end - lexer->p) > i ? (unsigned char)lexer->p[i] : 0;
}

static void skip(struct lexer *lexer, size_t count)
{
    for (; count > 0 && lexer->p < lexer->end; count--)
        lexer->next_line += *lexer->p++ == '\n';
}

static bool is_newline(int c)
{
    return c == '\n' || c == '\r';
}

/* At "[": the number of "=" and 1, or 0 when this is no long bracket. */
static size_t long_bracket(const struct lexer *lexer)
{
    size_t level = 0;
    while (at(lexer, level + 1) == '=')
        level++;
    return at(lexer, level + 1) == '[' ? level + 1 : 0;
}

static void skip_long(struct lexer *lexer, size_t level)
{
    skip(lexer, level + 1);
    while (lexer->p < lexer->end) {
        size_t i = 1;
        while (i < level && at(lexer, i) == '=')
            i++;
        if (at(lexer, 0) == ']' && i == level && at(lexer, i) == ']') {
            skip(lexer, level + 1);
            return;
        }
        skip(lexer, 1);
    }
}

static void skip_blank(struct lexer *lexer)
{
    while (lexer->p < lexer->end) {
        if (isspace(at(lexer, 0))) {
            skip(lexer, 1);
        } else if (at(lexer, 0) == '-' && at(lexer, 1) == '-') {
            skip(lexer, 2);
            size_t level = at(lexer, 0) == '[' ? long_bracket(lexer) : 0;
            if (level > 0)
                skip_long(lexer, level);
            while (level == 0 && lexer->p < lexer->end && !is_newline(at(lexer, 0)))
                skip(lexer, 1);
        } else {
            return;
        }
    }
}

/* What stands behind a backslash: one character, a newline of one or two, or with \z all blanks. */
static void skip_escaped(struct lexer *lexer)
{
    int c = at(lexer, 0);
    bool pair = is_newline(c) && is_newline(at(lexer, 1)) && at(lexer, 1) != c;
    skip(lexer, pair ? 2 : 1);
    while (c == 'z' && isspace(at(lexer, 0)))
        skip(lexer, 1);
}

static void skip_quoted(struct lexer *lexer)
{
    int quote = at(lexer, 0);
    skip(lexer, 1);
    while (lexer->p < lexer->end && at(lexer, 0) != quote && !is_newline(at(lexer, 0))) {
        bool escaped = at(lexer, 0) == '\\';
        skip(lexer, 1);
        if (escaped)
            skip_escaped(lexer);
    }
    if (at(lexer, 0) == quote)
        skip(lexer, 1);
}

/* In 0xe+x the sign is an operator. */
static void skip_number(struct lexer *lexer)
{
    const char *exponents = at(lexer, 0) == '0' && tolower(at(lexer, 1)) == 'x' ? "pP" : "eE";
    while (isalnum(at(lexer, 0)) || at(lexer, 0) == '.') {
        bool is_exponent = strchr(exponents, at(lexer, 0)) != NULL;
        skip(lexer, 1);
        if (is_exponent && (at(lexer, 0) == '+' || at(lexer, 0) == '-'))
            skip(lexer, 1);
    }
}

/* All words of a text pass here: those that cannot be keywords are told by length and letter. */
static bool is_keyword(struct str word)
{
    static const char *const keywords[] = {
        "and",      "break",  "do",   "else", "elseif", "end",   "false", "for",
        "function", "goto",   "if",   "in",   "local",  "nil",   "not",   "or",
        "repeat",   "return", "then", "true", "until",  "while", NULL};
    if (word.len < 2 || word.len > 8)
        return false;
    for (const char *const *k = keywords; *k != NULL && **k <= *word.ptr; k++) {
        if (**k == *word.ptr && strlen(*k) == word.len && memcmp(*k, word.ptr, word.len) == 0)
            return true;
    }
    return false;
}

static enum lexer_token read_word(struct lexer *lexer)
{
    while (isalnum(at(lexer, 0)) || at(lexer, 0) == '_')
        lexer->p++;
    struct str word = {lexer->start, (size_t)(lexer->p - lexer->start)};
    return is_keyword(word) ? LEXER_KEYWORD : LEXER_NAME;
}

static enum lexer_token read_sign(struct lexer *lexer, int c)
{
    if ((c == '.' || c == ':') && at(lexer, 1) == c) {
        skip(lexer, at(lexer, 2) == '.' ? 3 : 2);
        return LEXER_OTHER;
    }
    skip(lexer, at(lexer, 1) == '=' && strchr("=<>~", c) != NULL ? 2 : 1);
    switch (c) {
    case '.':
        return LEXER_DOT;
    case ':':
        return LEXER_COLON;
    case '(':
    case '[':
    case '{':
        return LEXER_OPEN;
    case ')':
    case ']':
    case '}':
        return LEXER_CLOSE;
    default:
        return LEXER_OTHER;
    }
}

static enum lexer_token read_token(struct lexer *lexer)
{
    int c = at(lexer, 0);
    if (lexer->p == lexer->end)
        return LEXER_END;
    if (isalpha(c) || c == '_')
        return read_word(lexer);
    if (isdigit(c) || (c == '.' && isdigit(at(lexer, 1)))) {
        skip_number(lexer);
        return LEXER_NUMBER;
    }
    if (c == '"' || c == '\'') {
        skip_quoted(lexer);
        return LEXER_STRING;
    }
    size_t level = c == '[' ? long_bracket(lexer) : 0;
    if (level == 0)
        return read_sign(lexer, c);
    skip_long(lexer, level);
    return LEXER_STRING;
}

struct lexer lexer_of(struct str source)
{
    const char *text = source.ptr != NULL ? source.ptr : "";
    return (struct lexer){
        .p = text, .start = text, .end = text + source.len, .line = 1, .next_line = 1};
}

enum lexer_token lexer_next(struct lexer *lexer)
{
    skip_blank(lexer);
    lexer->start = lexer->p;
    lexer->line = lexer->next_line;
    lexer->token = read_token(lexer);
    return lexer->token;
}

bool lexer_is(const struct lexer *lexer, const char *word)
{
    size_t len = (size_t)(lexer->p - lexer->start);
    return strlen(word) == len && memcmp(word, lexer->start, len) == 0;
}

struct str lexer_text(const struct lexer *lexer)
{
    struct str text = {lexer->start, (size_t)(lexer->p - lexer->start)};
    if (lexer->token != LEXER_STRING)
        return text;
    if (*text.ptr == '[')
        return (struct str){text.ptr, 0};
    return (struct str){text.ptr + 1, text.len >= 2 ? text.len - 2 : 0};
}
