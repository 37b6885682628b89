/* TOML's keys, and values: numbers, dates, lists, tables in braces. */
#include "config/toml_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

/* ---- numbers and dates ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]))
            return false;
    }
    return s.len > 0;
}

static unsigned two(struct str s, size_t at)
{
    return (unsigned)(s.ptr[at] - '0') * 10 + (unsigned)(s.ptr[at + 1] - '0');
}

/* Does `s` begin like `shape`, in which 0 stands for a digit? */
static bool has_shape(struct str s, struct str shape)
{
    for (size_t i = 0; i < shape.len; i++) {
        if (i >= s.len || (shape.ptr[i] == '0' ? !is_digit(s.ptr[i]) : s.ptr[i] != shape.ptr[i]))
            return false;
    }
    return true;
}

/* 07:32:00 with a fraction; what follows is left in *s. */
static bool take_time(struct str *s)
{
    if (!has_shape(*s, STR("00:00:00")) || two(*s, 0) > 23 || two(*s, 3) > 59 || two(*s, 6) > 60)
        return false;
    *s = str_skip(*s, 8);
    if (s->len == 0 || s->ptr[0] != '.')
        return true;
    *s = str_skip(*s, 1);
    size_t digits = 0;
    while (digits < s->len && is_digit(s->ptr[digits]))
        digits++;
    *s = str_skip(*s, digits);
    return digits > 0;
}

static bool is_day(struct str s)
{
    static const unsigned char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = two(s, 0) * 100 + two(s, 2), month = two(s, 5), day = two(s, 8);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1] &&
           (month != 2 || day < 29 || leap);
}

static bool is_date(struct str s)
{
    if (!has_shape(s, STR("0000-00-00")))
        return take_time(&s) && s.len == 0;
    if (!is_day(s))
        return false;
    s = str_skip(s, 10);
    if (s.len == 0)
        return true;
    if (strchr("Tt ", s.ptr[0]) == NULL)
        return false;
    s = str_skip(s, 1);
    if (!take_time(&s))
        return false;
    if (s.len == 0 || str_eq_nocase(s, STR("Z")))
        return true;
    return s.len == 6 && strchr("+-", s.ptr[0]) != NULL &&
           has_shape(str_skip(s, 1), STR("00:00")) && two(s, 1) <= 23 && two(s, 4) <= 59;
}

/* Drops underscores, each of which stands between two digits. False: one does not. */
static bool without_underscores(struct str s, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_') {
            if (i == 0 || i + 1 == s.len || str_hex_value(s.ptr[i - 1]) < 0 ||
                str_hex_value(s.ptr[i + 1]) < 0)
                return false;
            continue;
        }
        if (len + 1 >= size)
            return false;
        out[len++] = s.ptr[i];
    }
    out[len] = '\0';
    return true;
}

/* 0x, 0o, 0b. False: it is none, or does not fit. */
static bool read_based(const char *text, int64_t *out)
{
    int base = text[0] != '0'   ? 0
               : text[1] == 'x' ? 16
               : text[1] == 'o' ? 8
               : text[1] == 'b' ? 2
                                : 0;
    uint64_t value = 0;
    if (base == 0 || text[2] == '\0')
        return false;
    for (const char *c = text + 2; *c != '\0'; c++) {
        int digit = str_hex_value(*c);
        if (digit < 0 || digit >= base || value > (uint64_t)INT64_MAX / (unsigned)base)
            return false;
        value = value * (unsigned)base + (unsigned)digit;
        if (value > INT64_MAX)
            return false;
    }
    *out = (int64_t)value;
    return true;
}

/* [+-]digits without leading zeros, then maybe a fraction and an exponent. */
static bool is_decimal(struct str s, bool *whole)
{
    size_t sign = s.len > 0 && strchr("+-", s.ptr[0]) != NULL;
    s = str_skip(s, sign);
    size_t e = str_find(s, 'e') < str_find(s, 'E') ? str_find(s, 'e') : str_find(s, 'E');
    struct str mantissa = {s.ptr, e};
    struct str digits = {s.ptr, str_find(mantissa, '.')};
    *whole = digits.len == s.len;
    if (!all_digits(digits) || (digits.len > 1 && digits.ptr[0] == '0'))
        return false;
    if (digits.len < mantissa.len && !all_digits(str_skip(mantissa, digits.len + 1)))
        return false;
    if (e == s.len)
        return true;
    struct str exponent = str_skip(s, e + 1);
    if (exponent.len > 0 && strchr("+-", exponent.ptr[0]) != NULL)
        exponent = str_skip(exponent, 1);
    return all_digits(exponent);
}

static struct toml *read_number(struct toml_reader *r, struct str word)
{
    char text[128] = "";
    int64_t integer = 0;
    bool whole = true;
    bool plain = without_underscores(word, text, sizeof(text));
    struct str s = str_from(text);
    size_t sign = plain && s.len > 0 && strchr("+-", s.ptr[0]) != NULL;
    if (plain && (str_eq(str_skip(s, sign), STR("inf")) || str_eq(str_skip(s, sign), STR("nan")))) {
        struct toml *node = toml_node(r, TOML_FLOAT);
        if (node != NULL)
            node->number = s.ptr[sign] == 'n' ? NAN : s.ptr[0] == '-' ? -INFINITY : INFINITY;
        return node;
    }
    if (plain && read_based(text, &integer)) {
        whole = true;
    } else if (!plain || !is_decimal(s, &whole)) {
        return toml_fault(r, "'%.*s' is not a value; texts stand in quotes",
                          (int)(word.len < 40 ? word.len : 40), word.ptr);
    } else if (whole) {
        errno = 0;
        integer = strtoll(text, NULL, 10);
        if (errno == ERANGE)
            return toml_fault(r, "'%s' is too large", text);
    }
    struct toml *node = toml_node(r, whole ? TOML_INTEGER : TOML_FLOAT);
    if (node == NULL)
        return NULL;
    node->integer = integer;
    node->number = whole ? (double)integer : strtod(text, NULL);
    return node;
}

/* A word that is in no quotes. "1979-05-27 07:32:00" is one, too. */
static struct str take_word(struct toml_reader *r)
{
    size_t len = 0;
    while (len < r->rest.len && strchr(" \t\r\n,]}#=[{\"'", r->rest.ptr[len]) == NULL)
        len++;
    struct str rest = str_skip(r->rest, len);
    if (len == 10 && has_shape(r->rest, STR("0000-00-00")) && has_shape(rest, STR(" 00:"))) {
        len++;
        while (len < r->rest.len && strchr(" \t\r\n,]}#", r->rest.ptr[len]) == NULL)
            len++;
    }
    struct str word = {r->rest.ptr, len};
    toml_take(r, len);
    return word;
}

static struct toml *read_word(struct toml_reader *r)
{
    struct str word = take_word(r);
    if (word.len == 0)
        return toml_fault(r, "a value was expected");
    if (str_eq(word, STR("true")) || str_eq(word, STR("false"))) {
        struct toml *node = toml_node(r, TOML_BOOLEAN);
        if (node != NULL)
            node->boolean = word.len == 4;
        return node;
    }
    if (!is_date(word))
        return read_number(r, word);
    struct toml *node = toml_node(r, TOML_DATE);
    if (node == NULL)
        return NULL;
    node->text = arena_copy(r->arena, word);
    return node->text.ptr != NULL ? node : toml_fault(r, "out of memory");
}

/* ---- lists and tables ---- */

static struct toml *read_list(struct toml_reader *r)
{
    struct toml *list = toml_node(r, TOML_ARRAY);
    if (list == NULL)
        return NULL;
    list->is_closed = true;
    toml_take(r, 1);
    for (;;) {
        if (!toml_skip_lines(r))
            return NULL;
        if (toml_peek(r) == ']')
            break;
        struct toml *item = toml_read_value(r);
        if (item == NULL || !toml_skip_lines(r))
            return NULL;
        toml_append(list, item);
        if (toml_peek(r) != ',')
            break;
        toml_take(r, 1);
    }
    if (toml_peek(r) != ']')
        return toml_fault(r, "',' or ']' was expected in a list");
    toml_take(r, 1);
    return list;
}

/* What dotted keys made inside the braces is closed, too. */
static void close_tables(struct toml *table)
{
    table->is_closed = true;
    for (struct toml *node = table->first; node != NULL; node = node->next) {
        if (node->type == TOML_TABLE && !node->is_closed)
            close_tables(node);
    }
}

static struct toml *read_braces(struct toml_reader *r)
{
    struct toml *table = toml_node(r, TOML_TABLE);
    if (table == NULL)
        return NULL;
    toml_take(r, 1);
    toml_skip_blanks(r);
    while (toml_peek(r) != '}' || table->first != NULL) {
        if (!toml_read_pair(r, table))
            return NULL;
        toml_skip_blanks(r);
        if (toml_peek(r) != ',')
            break;
        toml_take(r, 1);
        toml_skip_blanks(r);
    }
    if (toml_peek(r) != '}')
        return toml_fault(r, "',' or '}' was expected, on the same line");
    toml_take(r, 1);
    close_tables(table);
    return table;
}

struct toml *toml_read_value(struct toml_reader *r)
{
    if (++r->depth > LIMIT_TOML_DEPTH)
        return toml_fault(r, "nested too deep");
    struct toml *value;
    switch (toml_peek(r)) {
    case '"':
    case '\'':
        value = toml_node(r, TOML_TEXT);
        if (value != NULL && !toml_read_text(r, true, &value->text))
            value = NULL;
        break;
    case '[':
        value = read_list(r);
        break;
    case '{':
        value = read_braces(r);
        break;
    default:
        value = read_word(r);
    }
    r->depth--;
    return value;
}

/* ---- keys ---- */

bool toml_read_key(struct toml_reader *r, struct str *key)
{
    if (toml_peek(r) == '"' || toml_peek(r) == '\'')
        return toml_read_text(r, false, key);
    size_t len = 0;
    while (len < r->rest.len) {
        char c = r->rest.ptr[len];
        if (!str_is_alnum(c) && c != '_' && c != '-')
            break;
        len++;
    }
    if (len == 0)
        return toml_fault(
                   r, "a key was expected: letters, digits, '_', '-', or a text in quotes") != NULL;
    *key = arena_copy(r->arena, (struct str){r->rest.ptr, len});
    toml_take(r, len);
    return key->ptr != NULL || toml_fault(r, "out of memory") != NULL;
}

/* A step of a dotted key before "=": only tables that were made that way, in this very place, can
 * be gone into. */
static struct toml *step_dotted(struct toml_reader *r, struct toml *table, struct str key)
{
    struct toml *found = toml_get(table, key);
    if (found == NULL) {
        found = toml_add_table(r, table, key);
        if (found != NULL)
            found->is_dotted = true;
        return found;
    }
    if (found->type != TOML_TABLE || found->is_closed || !found->is_dotted)
        return toml_fault(r, "'%.*s' cannot be added to here", STR_ARG(key));
    return found;
}

bool toml_read_pair(struct toml_reader *r, struct toml *table)
{
    struct str key = {NULL, 0};
    for (unsigned depth = 0;; depth++) {
        if (depth > LIMIT_TOML_DEPTH)
            return toml_fault(r, "too many dots in a key") != NULL;
        if (!toml_read_key(r, &key))
            return false;
        toml_skip_blanks(r);
        if (toml_peek(r) != '.')
            break;
        toml_take(r, 1);
        toml_skip_blanks(r);
        table = step_dotted(r, table, key);
        if (table == NULL)
            return false;
    }
    if (toml_peek(r) != '=')
        return toml_fault(r, "'=' was expected after the key '%.*s'", STR_ARG(key)) != NULL;
    if (toml_get(table, key) != NULL)
        return toml_fault(r, "the key '%.*s' is given twice", STR_ARG(key)) != NULL;
    toml_take(r, 1);
    toml_skip_blanks(r);
    struct toml *value = toml_read_value(r);
    if (value == NULL)
        return false;
    value->key = key;
    toml_append(table, value);
    return true;
}
