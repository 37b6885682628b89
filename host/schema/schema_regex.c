/* Patterns of ECMA-262 by PCRE2. */
#include "schema/schema_regex.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/buf.h"
#include "base/limits.h"

struct schema_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* ---- how PCRE2 writes it ---- */

struct writer {
    struct str rest; /* of the pattern */
    struct buf out;
    bool in_class;
    const char *why; /* static; NULL: nothing is wrong */
};

/* ECMA-262's white space and line ends, and all that is none. */
#define SPACES                                                                                     \
    "\\x{9}-\\x{d}\\x{20}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"                    \
    "\\x{202f}\\x{205f}\\x{3000}\\x{feff}"
#define NOT_SPACES                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"               \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"                 \
    "\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}"

static void add(struct writer *w, const char *text)
{
    buf_add_str(&w->out, str_from(text));
}

static char peek(const struct writer *w, size_t ahead)
{
    return ahead < w->rest.len ? w->rest.ptr[ahead] : '\0';
}

static void copy(struct writer *w, size_t len)
{
    buf_add(&w->out, w->rest.ptr, len);
    w->rest = str_skip(w->rest, len);
}

static void add_character(struct writer *w, unsigned c)
{
    buf_printf(&w->out, "\\x{%x}", c);
}

static void add_set(struct writer *w, const char *set)
{
    add(w, w->in_class ? "" : "[");
    add(w, set);
    add(w, w->in_class ? "" : "]");
}

/* So many hexadecimal digits at the front; -1: they are not there. */
static int hex(const struct writer *w, size_t at, size_t digits)
{
    int value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = str_hex_value(peek(w, at + i));
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* \uXXXX, two of them for what is beyond 16 bits, or \u{X}; at the 'u'. */
static void write_unicode(struct writer *w)
{
    unsigned c = 0;
    if (peek(w, 1) == '{') {
        size_t at = 2;
        for (; str_hex_value(peek(w, at)) >= 0 && c <= 0x10ffff; at++)
            c = c << 4 | (unsigned)str_hex_value(peek(w, at));
        if (at == 2 || peek(w, at) != '}' || c > 0x10ffff)
            w->why = "\\u{...} is not a character";
        w->rest = str_skip(w->rest, w->why == NULL ? at + 1 : 0);
    } else {
        int unit = hex(w, 1, 4);
        if (unit < 0) {
            w->why = "\\u needs four hexadecimal digits";
            return;
        }
        w->rest = str_skip(w->rest, 5);
        c = (unsigned)unit;
        int low = peek(w, 0) == '\\' && peek(w, 1) == 'u' ? hex(w, 2, 4) : -1;
        if (c >= 0xd800 && c < 0xdc00 && low >= 0xdc00 && low <= 0xdfff) {
            c = 0x10000 + ((c - 0xd800) << 10) + ((unsigned)low - 0xdc00);
            w->rest = str_skip(w->rest, 6);
        }
    }
    if (c >= 0xd800 && c <= 0xdfff)
        w->why = "half of a surrogate pair is no character";
    add_character(w, c);
}

/* General categories by the names that PCRE2 does not know. */
static struct str category(struct str name)
{
    static const char *const names[][2] = {
        {"Cased_Letter", "L&"},
        {"Close_Punctuation", "Pe"},
        {"Connector_Punctuation", "Pc"},
        {"Control", "Cc"},
        {"cntrl", "Cc"},
        {"Currency_Symbol", "Sc"},
        {"Dash_Punctuation", "Pd"},
        {"Decimal_Number", "Nd"},
        {"digit", "Nd"},
        {"Enclosing_Mark", "Me"},
        {"Final_Punctuation", "Pf"},
        {"Format", "Cf"},
        {"Initial_Punctuation", "Pi"},
        {"Letter", "L"},
        {"Letter_Number", "Nl"},
        {"Line_Separator", "Zl"},
        {"Lowercase_Letter", "Ll"},
        {"Mark", "M"},
        {"Combining_Mark", "M"},
        {"Math_Symbol", "Sm"},
        {"Modifier_Letter", "Lm"},
        {"Modifier_Symbol", "Sk"},
        {"Nonspacing_Mark", "Mn"},
        {"Number", "N"},
        {"Open_Punctuation", "Ps"},
        {"Other", "C"},
        {"Other_Letter", "Lo"},
        {"Other_Number", "No"},
        {"Other_Punctuation", "Po"},
        {"Other_Symbol", "So"},
        {"Paragraph_Separator", "Zp"},
        {"Private_Use", "Co"},
        {"Punctuation", "P"},
        {"punct", "P"},
        {"Separator", "Z"},
        {"Space_Separator", "Zs"},
        {"Spacing_Mark", "Mc"},
        {"Surrogate", "Cs"},
        {"Symbol", "S"},
        {"Titlecase_Letter", "Lt"},
        {"Unassigned", "Cn"},
        {"Uppercase_Letter", "Lu"},
        {"LC", "L&"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(name, str_from(names[i][0])))
            return str_from(names[i][1]);
    }
    return name;
}

/* \p{...}: at the 'p'. */
static void write_property(struct writer *w)
{
    char letter = peek(w, 0);
    struct str inner = str_skip(w->rest, 1);
    size_t end = str_find(inner, '}');
    if (peek(w, 1) != '{' || end == inner.len) {
        w->why = "\\p is written \\p{Letter}";
        return;
    }
    w->rest = str_skip(w->rest, end + 2);
    inner = (struct str){inner.ptr + 1, end - 1};
    size_t equals = str_find(inner, '=');
    struct str kind = {inner.ptr, equals}, name = inner;
    if (equals < inner.len)
        name = str_skip(inner, equals + 1);
    bool script = str_eq(kind, STR("Script")) || str_eq(kind, STR("sc"));
    bool scripts = str_eq(kind, STR("Script_Extensions")) || str_eq(kind, STR("scx"));
    bool general = str_eq(kind, STR("General_Category")) || str_eq(kind, STR("gc"));
    for (size_t i = 0; i < name.len && w->why == NULL; i++) {
        if (!str_is_alnum(name.ptr[i]) && name.ptr[i] != '_')
            w->why = "a property of characters is a name";
    }
    if (name.len == 0 || (equals < inner.len && !script && !scripts && !general))
        w->why = "a property of characters is a name";
    name = category(name);
    buf_printf(&w->out, "\\%c{%s%.*s}", letter,
               script    ? "sc:"
               : scripts ? "scx:"
                         : "",
               STR_ARG(name));
}

/* \1 and further, and \0; at the digit. */
static void write_number(struct writer *w)
{
    size_t len = 0;
    while (peek(w, len) >= '0' && peek(w, len) <= '9')
        len++;
    if (peek(w, 0) == '0' ? len > 1 : w->in_class || len > 3)
        w->why = "a number behind a backslash is that of a group";
    if (peek(w, 0) == '0')
        add_character(w, 0);
    else
        buf_printf(&w->out, "\\g{%.*s}", (int)len, w->rest.ptr);
    w->rest = str_skip(w->rest, len);
}

/* At what follows a backslash. */
static void write_escape(struct writer *w)
{
    static const char plain[] = "dDwWfnrt";
    char c = peek(w, 0);
    if (w->rest.len == 0) {
        w->why = "it ends with a backslash";
    } else if (c == 'u') {
        write_unicode(w);
    } else if (c == 'p' || c == 'P') {
        write_property(w);
    } else if (c >= '0' && c <= '9') {
        write_number(w);
    } else if (c == 's' || c == 'S') {
        add_set(w, c == 's' ? SPACES : NOT_SPACES);
        w->rest = str_skip(w->rest, 1);
    } else if (c == 'v') {
        add_character(w, 0x0b);
        w->rest = str_skip(w->rest, 1);
    } else if (c == 'x' && hex(w, 1, 2) >= 0) {
        add_character(w, (unsigned)hex(w, 1, 2));
        w->rest = str_skip(w->rest, 3);
    } else if (c == 'c' && str_is_alnum(peek(w, 1)) && peek(w, 1) > '9') {
        add_character(w, (unsigned)peek(w, 1) & 31);
        w->rest = str_skip(w->rest, 2);
    } else if (c == 'k' && peek(w, 1) == '<' && !w->in_class) {
        buf_add_char(&w->out, '\\');
        copy(w, 2);
    } else if (strchr(plain, c) != NULL || c == 'b' || (c == 'B' && !w->in_class) ||
               (!str_is_alnum(c) && c > 0)) {
        buf_add_char(&w->out, '\\');
        copy(w, 1);
    } else {
        w->why = "a backslash before this character means nothing";
    }
}

/* Length of "{2}", "{2,}" or "{2,3}" at the front; 0: that is none. */
static size_t braces(const struct writer *w)
{
    size_t at = 1, digits = 0;
    for (; peek(w, at) >= '0' && peek(w, at) <= '9'; at++)
        digits++;
    if (peek(w, at) == ',') {
        for (at++; peek(w, at) >= '0' && peek(w, at) <= '9';)
            at++;
    }
    return digits > 0 && peek(w, at) == '}' ? at + 1 : 0;
}

/* A quantifier at the front; PCRE2 has some with a plus behind them that ECMA-262 has not. */
static void write_quantifier(struct writer *w, size_t len)
{
    copy(w, len);
    if (peek(w, 0) == '?')
        copy(w, 1);
    if (peek(w, 0) == '+')
        w->why = "nothing stands before this plus";
}

static void write_group(struct writer *w)
{
    static const char *const kinds[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!"};
    if (peek(w, 1) == '*')
        w->why = "nothing stands before this star";
    if (peek(w, 1) != '?') {
        copy(w, 1);
        return;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (str_starts_with(w->rest, str_from(kinds[i]))) {
            copy(w, strlen(kinds[i]));
            return;
        }
    }
    if (peek(w, 2) == '<')
        copy(w, 3);
    else
        w->why = "a group begins with (, (?:, (?=, (?!, (?<=, (?<! or (?<name>";
}

static void write_one(struct writer *w)
{
    char c = peek(w, 0);
    if (c == '\\') {
        w->rest = str_skip(w->rest, 1);
        write_escape(w);
    } else if (w->in_class) {
        w->in_class = c != ']';
        add(w, c == '[' ? "\\" : "");
        copy(w, 1);
    } else if (c == '[') {
        w->in_class = true;
        copy(w, peek(w, 1) == '^' ? 2 : 1);
    } else if (c == '(') {
        write_group(w);
    } else if (c == '.') {
        add(w, "[^\\n\\r\\x{2028}\\x{2029}]");
        w->rest = str_skip(w->rest, 1);
    } else if (c == '*' || c == '+' || c == '?') {
        write_quantifier(w, 1);
    } else if (c == '{' && braces(w) > 0) {
        write_quantifier(w, braces(w));
    } else {
        add(w, c == '{' ? "\\" : "");
        copy(w, 1);
    }
}

/* ---- */

/* Calls of a match that need no more are free of further tries. */
enum { FIRST_STEPS = 128, STEPS_GROWTH = 8, STACK_KB = 4096 };

static int compile(struct schema_regex *regex, struct str pattern, char *why, size_t why_size)
{
    const uint32_t options = PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_ALLOW_EMPTY_CLASS |
                             PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C;
    int error;
    PCRE2_SIZE at;
    regex->code = pcre2_compile((PCRE2_SPTR)pattern.ptr, pattern.len, options, &error, &at, NULL);
    if (regex->code == NULL) {
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, why_size);
        return error == PCRE2_ERROR_HEAP_FAILED ? ENOMEM : EINVAL;
    }
    regex->data = pcre2_match_data_create(1, NULL);
    regex->context = pcre2_match_context_create(NULL);
    if (regex->data == NULL || regex->context == NULL)
        return ENOMEM;
    pcre2_set_heap_limit(regex->context, STACK_KB);
    return 0;
}

struct schema_regex *schema_regex_new(struct str pattern, char *why, size_t why_size)
{
    struct writer w = {.rest = pattern};
    struct schema_regex *regex = calloc(1, sizeof(*regex));
    if (pattern.len > LIMIT_SCHEMA_PATTERN)
        w.why = "it is too long";
    buf_add_char(&w.out, '\0'); /* so that there is a pointer; skipped below */
    while (w.rest.len > 0 && w.why == NULL)
        write_one(&w);
    int code = regex == NULL || buf_failed(&w.out) ? ENOMEM : w.why != NULL ? EINVAL : 0;
    snprintf(why, why_size, "%s", w.why != NULL ? w.why : "out of memory");
    if (code == 0)
        code = compile(regex, str_skip(buf_str(&w.out), 1), why, why_size);
    buf_free(&w.out);
    if (code == 0)
        return regex;
    schema_regex_free(regex);
    errno = code;
    return NULL;
}

void schema_regex_free(struct schema_regex *regex)
{
    if (regex == NULL)
        return;
    pcre2_code_free(regex->code);
    pcre2_match_data_free(regex->data);
    pcre2_match_context_free(regex->context);
    free(regex);
}

size_t schema_regex_size(const struct schema_regex *regex)
{
    size_t size = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &size);
    return size + sizeof(*regex);
}

/* How much a match needed nobody tells, only that it was too much: so it begins with few steps, and
 * those that need more pay for all their tries. */
int schema_regex_match(const struct schema_regex *regex, struct str text, size_t *steps)
{
    size_t passes = text.len / 64 + 1;
    if (*steps < passes)
        return -E2BIG;
    *steps -= passes;
    for (size_t tried = FIRST_STEPS;; tried *= STEPS_GROWTH) {
        bool last = tried >= *steps || tried > UINT32_MAX / STEPS_GROWTH;
        pcre2_set_match_limit(regex->context, (uint32_t)(last ? *steps : tried));
        int rc = pcre2_match(regex->code, (PCRE2_SPTR)text.ptr, text.len, 0, PCRE2_NO_UTF_CHECK,
                             regex->data, regex->context);
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH)
            return rc >= 0;
        if (rc == PCRE2_ERROR_NOMEMORY)
            return -ENOMEM;
        if (rc != PCRE2_ERROR_MATCHLIMIT || last) {
            *steps = 0;
            return -E2BIG;
        }
        *steps -= tried;
    }
}
