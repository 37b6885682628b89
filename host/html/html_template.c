/* Templates become Lua. */
#include "html/html_template.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "html/html_context.h"
#include "lua/lexer.h"

enum { BLOCKS = 30, NAMES = 2 * BLOCKS };

enum block_kind { BLOCK_FOR, BLOCK_IF, BLOCK_ELSE };

struct block {
    enum block_kind kind;
    unsigned line;
    unsigned names;               /* before it */
    struct html_context begin;    /* where it was */
    struct html_context branches; /* where those before this one ended */
    bool has_branches;
};

struct compiler {
    struct html_template *out;
    struct str rest;
    unsigned line;
    struct html_context context;
    struct block blocks[BLOCKS];
    unsigned block_count;
    struct str names[NAMES]; /* of loops around */
    unsigned name_count;
};

static int fault(struct compiler *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fault(struct compiler *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(c->out->fault, sizeof(c->out->fault), format, args);
    va_end(args);
    c->out->line = c->line;
    return -EINVAL;
}

/* ---- the page's own text ---- */

static void add_literal(struct buf *code, struct str text)
{
    buf_add_char(code, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte == '"' || byte == '\\' || byte < ' ' || byte == 0x7f)
            buf_printf(code, "\\%03u", byte);
        else
            buf_add_char(code, (char)byte);
    }
    buf_add_char(code, '"');
}

/* Lines stay lines. */
static void add_newlines(struct compiler *c, struct str text)
{
    size_t count = str_count(text, '\n');
    for (size_t i = 0; i < count; i++)
        buf_add_char(&c->out->code, '\n');
    c->line += (unsigned)count;
}

static int add_text(struct compiler *c, struct str text)
{
    if (text.len == 0)
        return 0;
    size_t at;
    const char *why = html_context_feed(&c->context, text, &at);
    if (why != NULL) {
        c->line += (unsigned)str_count((struct str){text.ptr, at}, '\n');
        return fault(c, "%s", why);
    }
    buf_add_str(&c->out->code, STR(" __w(__o,"));
    add_literal(&c->out->code, text);
    buf_add_char(&c->out->code, ')');
    add_newlines(c, text);
    return 0;
}

/* ---- expressions ---- */

/* A string with its quote at its end: nothing behind it can become a part of it. */
static bool is_closed(struct str token)
{
    size_t i = 1;
    while (i < token.len && token.ptr[i] != token.ptr[0]) {
        if (token.ptr[i] == '\\' && i + 1 < token.len && strchr("\n\rz", token.ptr[i + 1]) != NULL)
            return false;
        i += token.ptr[i] == '\\' ? 2 : 1;
    }
    return token.len >= 2 && i == token.len - 1;
}

static bool is_word_allowed(const struct lexer *lexer)
{
    static const char *const words[] = {"and", "or", "not", "nil", "true", "false", NULL};
    for (const char *const *word = words; *word != NULL; word++) {
        if (lexer_is(lexer, *word))
            return true;
    }
    return false;
}

static bool is_sign_allowed(const struct lexer *lexer)
{
    static const char *const signs[] = {"+", "-", "*", "/",  "%",  "^",  "#",  "&",  "~",
                                        "|", "<", ">", "==", "~=", "<=", ">=", "..", NULL};
    for (const char *const *sign = signs; *sign != NULL; sign++) {
        if (lexer_is(lexer, *sign))
            return true;
    }
    return false;
}

static bool ends_value(enum lexer_token token)
{
    return token == LEXER_NAME || token == LEXER_CLOSE || token == LEXER_STRING;
}

/* Why the token must not stand here, or NULL. `before` is the one before it. */
static const char *judge(const struct lexer *lexer, enum lexer_token before)
{
    struct str text = {lexer->start, (size_t)(lexer->p - lexer->start)};
    switch (lexer->token) {
    case LEXER_NAME:
        return str_starts_with(text, STR("__")) || str_eq(text, STR("_ENV"))
                   ? "is a name that templates have for themselves"
                   : NULL;
    case LEXER_KEYWORD:
        return is_word_allowed(lexer) ? NULL : "is no part of an expression";
    case LEXER_STRING:
        if (*text.ptr == '[' || !is_closed(text))
            return "is a text without an end, or one that templates do not know";
        return ends_value(before) ? "is called with a text: templates call nothing" : NULL;
    case LEXER_OPEN:
        if (*text.ptr == '{')
            return "begins a table: templates make none";
        return *text.ptr == '(' && ends_value(before) ? "begins a call: templates call nothing"
                                                      : NULL;
    case LEXER_COLON:
        return "begins a call: templates call nothing";
    case LEXER_OTHER:
        return is_sign_allowed(lexer) ? NULL : "is no part of an expression";
    default:
        return NULL;
    }
}

static bool is_blank(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr(" \t\n\r\f\v", text.ptr[i]) == NULL || text.ptr[i] == '\0')
            return false;
    }
    return true;
}

/* An expression that is whole: its brackets are its own, and it has no comment. */
static int check_expression(struct compiler *c, struct str text)
{
    enum { DEPTH = 64 };
    char open[DEPTH];
    unsigned depth = 0;
    struct lexer lexer = lexer_of(text);
    enum lexer_token before = LEXER_OTHER;
    const char *at = lexer.p;
    while (lexer_next(&lexer) != LEXER_END) {
        struct str token = {lexer.start, (size_t)(lexer.p - lexer.start)};
        if (!is_blank((struct str){at, (size_t)(lexer.start - at)}))
            break;
        at = lexer.p;
        const char *why = judge(&lexer, before);
        if (lexer.token == LEXER_OPEN && depth < DEPTH)
            open[depth++] = *token.ptr == '(' ? ')' : ']';
        else if (lexer.token == LEXER_OPEN)
            why = "is one bracket too many";
        else if (lexer.token == LEXER_CLOSE && (depth == 0 || open[--depth] != *token.ptr))
            why = "closes what was not opened";
        if (why != NULL)
            return fault(c, "`%.*s` %s", STR_ARG(token), why);
        before = lexer.token;
    }
    if (!is_blank((struct str){at, (size_t)(lexer.end - at)}))
        return fault(c, "a comment stands in `%.*s`", STR_ARG(str_trim(text)));
    if (depth > 0)
        return fault(c, "`%.*s` has no end", STR_ARG(str_trim(text)));
    return is_blank(text) ? fault(c, "an expression is missing") : 0;
}

static int add_expression(struct compiler *c, struct str text)
{
    int rc = check_expression(c, text);
    buf_add_char(&c->out->code, '(');
    buf_add_str(&c->out->code, text);
    buf_add_char(&c->out->code, ')');
    c->line += (unsigned)str_count(text, '\n');
    return rc;
}

/* ---- {{ }} ---- */

/* Takes what is before `end`, which texts within may have, too. False: there is none. */
static bool take_until(struct str *rest, struct str end, struct str *inner)
{
    struct lexer lexer = lexer_of(*rest);
    while (lexer_next(&lexer) != LEXER_END) {
        struct str from = {lexer.start, (size_t)(lexer.end - lexer.start)};
        if (!str_starts_with(from, end))
            continue;
        *inner = (struct str){rest->ptr, (size_t)(lexer.start - rest->ptr)};
        *rest = str_skip(from, end.len);
        return true;
    }
    return false;
}

static int add_value(struct compiler *c)
{
    bool trusted = str_starts_with(c->rest, STR("{{{")), spaced = false;
    struct str inner;
    enum html_sink sink = HTML_TEXT;
    c->rest = str_skip(c->rest, trusted ? 3 : 2);
    if (!take_until(&c->rest, trusted ? STR("}}}") : STR("}}"), &inner))
        return fault(c, "{{ has no end");
    const char *why = trusted ? NULL : html_context_value(&c->context, &sink, &spaced);
    if (why != NULL)
        return fault(c, "{{%.*s}} %s", STR_ARG(inner), why);
    if (spaced)
        buf_add_str(&c->out->code, STR(" __w(__o,\" \")"));
    if (trusted)
        buf_add_str(&c->out->code, STR(" __v(__o,-1,"));
    else
        buf_printf(&c->out->code, " __v(__o,%d,", (int)sink);
    int rc = add_expression(c, inner);
    buf_add_char(&c->out->code, ')');
    return rc;
}

/* ---- {% %} ---- */

static int open_block(struct compiler *c, enum block_kind kind)
{
    if (c->block_count == BLOCKS)
        return fault(c, "blocks stand in each other more than %d times", BLOCKS);
    struct block *block = &c->blocks[c->block_count++];
    *block =
        (struct block){.kind = kind, .line = c->line, .names = c->name_count, .begin = c->context};
    return 0;
}

static int add_for(struct compiler *c, struct str inner)
{
    struct lexer lexer = lexer_of(inner);
    struct str names[2];
    unsigned count = 0;
    do {
        if (lexer_next(&lexer) != LEXER_NAME || count == 2)
            return fault(c, "write {%% for x in list %%} or {%% for i, x in list %%}");
        names[count++] = lexer_text(&lexer);
        if (judge(&lexer, LEXER_OTHER) != NULL)
            return fault(c, "`%.*s` is a name that templates have for themselves",
                         STR_ARG(names[count - 1]));
        lexer_next(&lexer);
    } while (lexer_is(&lexer, ","));
    if (!lexer_is(&lexer, "in"))
        return fault(c, "write {%% for x in list %%} or {%% for i, x in list %%}");
    int rc = open_block(c, BLOCK_FOR);
    if (rc != 0)
        return rc;
    if (count == 1)
        buf_printf(&c->out->code, " for __k,%.*s in __e(", STR_ARG(names[0]));
    else
        buf_printf(&c->out->code, " for %.*s,%.*s in __e(", STR_ARG(names[0]), STR_ARG(names[1]));
    struct str head = {inner.ptr, (size_t)(lexer.p - inner.ptr)};
    add_newlines(c, head);
    rc = add_expression(c, str_skip(inner, head.len));
    buf_printf(&c->out->code, ",%u) do", count);
    for (unsigned i = 0; i < count; i++)
        c->names[c->name_count++] = names[i];
    if (c->context.state == HTML_RAW || c->context.state == HTML_VALUE)
        c->context.before = ')'; /* the turn before this one may have ended anyhow */
    return rc;
}

static int add_if(struct compiler *c, struct str inner)
{
    int rc = open_block(c, BLOCK_IF);
    buf_add_str(&c->out->code, STR(" if "));
    rc = rc == 0 ? add_expression(c, inner) : rc;
    buf_add_str(&c->out->code, STR(" then"));
    return rc;
}

static int join(struct compiler *c, struct html_context *context, const struct html_context *other,
                const struct block *block)
{
    return html_context_join(context, other)
               ? 0
               : fault(c,
                       "the block of line %u ends in another place of the page than where it "
                       "began, or than another of its branches",
                       block->line);
}

/* Behind a branch: the next one begins where the first one did. */
static int end_branch(struct compiler *c, struct block *block)
{
    int rc = 0;
    if (block->has_branches)
        rc = join(c, &block->branches, &c->context, block);
    else
        block->branches = c->context;
    block->has_branches = true;
    c->context = block->begin;
    return rc;
}

static int add_else(struct compiler *c, struct str inner, bool has_condition)
{
    struct block *block = c->block_count > 0 ? &c->blocks[c->block_count - 1] : NULL;
    const char *word = has_condition ? "elseif" : "else";
    if (block == NULL || block->kind != BLOCK_IF)
        return fault(c, "`%s` belongs to no `if`", word);
    if (!has_condition && !is_blank(inner))
        return fault(c, "`else` stands alone; with a condition it is `elseif`");
    int rc = end_branch(c, block);
    block->kind = has_condition ? BLOCK_IF : BLOCK_ELSE;
    buf_printf(&c->out->code, " %s ", word);
    if (rc == 0 && has_condition) {
        rc = add_expression(c, inner);
        buf_add_str(&c->out->code, STR(" then"));
    }
    return rc;
}

static int add_end(struct compiler *c, struct str inner)
{
    if (c->block_count == 0 || !is_blank(inner))
        return fault(c, "`end` belongs to no block, or does not stand alone");
    struct block *block = &c->blocks[--c->block_count];
    int rc = 0;
    if (block->kind == BLOCK_FOR && !html_context_repeats(&c->context, &block->begin))
        return fault(c, "the loop of line %u ends in another place of the page than it began",
                     block->line);
    if (block->kind == BLOCK_ELSE)
        rc = join(c, &c->context, &block->branches, block);
    else if (block->has_branches)
        rc = end_branch(c, block);
    if (rc == 0 && block->kind == BLOCK_IF && block->has_branches) {
        c->context = block->branches;
        rc = join(c, &c->context, &block->begin, block);
    } else if (rc == 0 && block->kind != BLOCK_ELSE) {
        rc = join(c, &c->context, &block->begin, block);
    }
    c->name_count = block->names;
    buf_add_str(&c->out->code, STR(" end"));
    return rc;
}

static int add_include(struct compiler *c, struct str inner)
{
    struct lexer lexer = lexer_of(inner);
    struct html_template *out = c->out;
    bool is_text = lexer_next(&lexer) == LEXER_STRING;
    struct str name = lexer_text(&lexer);
    if (!is_text || lexer_next(&lexer) != LEXER_END)
        return fault(c, "write {%% include \"part.html\" %%}");
    if (c->context.state != HTML_IN_TEXT)
        return fault(c, "`include` stands within a tag, a comment or a script: only between them");
    if (out->include_count == LIMIT_HTML_INCLUDES)
        return fault(c, "at most %d includes in a template", LIMIT_HTML_INCLUDES);
    out->includes[out->include_count++] = name;
    buf_printf(&out->code, " __i(__o,__c[%u],_ENV", out->include_count);
    for (unsigned i = 0; i < c->name_count; i++)
        buf_printf(&out->code, "%s%.*s=%.*s", i == 0 ? ",{" : ",", STR_ARG(c->names[i]),
                   STR_ARG(c->names[i]));
    buf_add_str(&out->code, c->name_count > 0 ? STR("})") : STR(")"));
    return 0;
}

static int add_statement(struct compiler *c)
{
    struct str inner;
    c->rest = str_skip(c->rest, 2);
    if (!take_until(&c->rest, STR("%}"), &inner))
        return fault(c, "{%% has no end");
    struct lexer lexer = lexer_of(inner);
    lexer_next(&lexer);
    struct str head = {inner.ptr, (size_t)(lexer.p - inner.ptr)};
    struct str rest = str_skip(inner, head.len), word = lexer_text(&lexer);
    unsigned line = c->line + (unsigned)str_count(inner, '\n');
    int rc;
    add_newlines(c, head);
    if (str_eq(word, STR("for")))
        rc = add_for(c, rest);
    else if (str_eq(word, STR("if")))
        rc = add_if(c, rest);
    else if (str_eq(word, STR("else")) || str_eq(word, STR("elseif")))
        rc = add_else(c, rest, word.len > 4);
    else if (str_eq(word, STR("end")))
        rc = add_end(c, rest);
    else if (str_eq(word, STR("include")))
        rc = add_include(c, rest);
    else
        rc = fault(c, "`%.*s` is none of for, if, elseif, else, end, include", STR_ARG(word));
    for (; rc == 0 && c->line < line; c->line++)
        buf_add_char(&c->out->code, '\n');
    return rc;
}

/* ---- all of it ---- */

/* Where the next "{{" or "{%" is, or the end. */
static size_t find_tag(struct str text)
{
    size_t at = 0;
    for (;;) {
        at += str_find(str_skip(text, at), '{');
        if (at + 1 >= text.len)
            return text.len;
        if (text.ptr[at + 1] == '{' || text.ptr[at + 1] == '%')
            return at;
        at++;
    }
}

static int compile(struct compiler *c)
{
    int rc = 0;
    while (rc == 0 && c->rest.len > 0) {
        size_t len = find_tag(c->rest);
        rc = add_text(c, (struct str){c->rest.ptr, len});
        c->rest = str_skip(c->rest, len);
        if (rc == 0 && c->rest.len > 0)
            rc = c->rest.ptr[1] == '{' ? add_value(c) : add_statement(c);
    }
    if (rc == 0 && c->block_count > 0) {
        c->line = c->blocks[c->block_count - 1].line;
        rc = fault(c, "this block has no {%% end %%}");
    }
    if (rc == 0 && c->context.state != HTML_IN_TEXT)
        rc = fault(c, "the page ends within a tag, a comment or a script");
    return rc;
}

int html_template_compile(struct str text, struct html_template *out)
{
    struct compiler c = {.out = out, .rest = text, .line = 1};
    buf_add_str(&out->code, STR("local __c,__w,__v,__e,__i=... return function(_ENV,__o)"));
    int rc = compile(&c);
    buf_add_str(&out->code, STR(" end"));
    return rc == 0 && buf_failed(&out->code) ? -ENOMEM : rc;
}

void html_template_free(struct html_template *template)
{
    buf_free(&template->code);
}
