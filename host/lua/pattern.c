/* The matcher: an attempt walks pattern and subject together and notes the places where it may have
 * to come back (repetitions, captures). When the walk fails it goes back to the last of them. */
#include "lua/pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "lua/budget.h"

enum { STEPS = 512 };

static inline void work(struct pattern *m, size_t amount)
{
    m->steps += (unsigned)amount;
    if (m->steps >= STEPS) {
        m->steps = 0;
        m->is_due = budget_step_or_pause(m->L);
    }
}

/* ---- single characters --------------------------------------------------------------------- */

static bool is_in_class(unsigned char c, unsigned char class)
{
    bool is;
    switch (tolower(class)) {
    case 'a':
        is = isalpha(c);
        break;
    case 'c':
        is = iscntrl(c);
        break;
    case 'd':
        is = isdigit(c);
        break;
    case 'g':
        is = isgraph(c);
        break;
    case 'l':
        is = islower(c);
        break;
    case 'p':
        is = ispunct(c);
        break;
    case 's':
        is = isspace(c);
        break;
    case 'u':
        is = isupper(c);
        break;
    case 'w':
        is = isalnum(c);
        break;
    case 'x':
        is = isxdigit(c);
        break;
    case 'z': /* of Lua 5.1, still there */
        is = c == '\0';
        break;
    default:
        return class == c; /* an escaped character stands for itself */
    }
    return isupper(class) ? !is : is;
}

/* Past the item at p: one character, %x, or a set. */
static const char *item_end(struct pattern *m, const char *p)
{
    char first = *p++;
    if (first == '%') {
        if (p == m->text_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (first != '[')
        return p;
    if (p < m->text_end && *p == '^')
        p++;
    const char *begin = p;
    do { /* a ']' that comes first belongs to the set */
        if (p == m->text_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%') {
            if (p == m->text_end)
                luaL_error(m->L, "malformed pattern (missing ']')");
            p++;
        }
    } while (p == m->text_end || *p != ']');
    work(m, (size_t)(p - begin) / 8);
    return p + 1;
}

/* Is c in the set from '[' at p to ']' at last? */
static bool is_in_set(struct pattern *m, unsigned char c, const char *p, const char *last)
{
    bool found = true;
    work(m, (size_t)(last - p) / 8);
    p++;
    if (*p == '^') {
        found = false;
        p++;
    }
    while (p < last) {
        if (*p == '%') {
            if (is_in_class(c, (unsigned char)p[1]))
                return found;
            p += 2;
        } else if (p[1] == '-' && p + 2 < last) {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return found;
            p += 3;
        } else {
            if ((unsigned char)*p == c)
                return found;
            p++;
        }
    }
    return !found;
}

/* Does the item p..end match the character at s? */
static bool matches_one(struct pattern *m, const char *s, const char *p, const char *end)
{
    if (s >= m->subject_end)
        return false;
    unsigned char c = (unsigned char)*s;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return is_in_class(c, (unsigned char)p[1]);
    case '[':
        return is_in_set(m, c, p, end - 1);
    default:
        return (unsigned char)*p == c;
    }
}

/* ---- places to come back to ---------------------------------------------------------------- */

static struct pattern_choice *add_choice(struct pattern *m, enum pattern_kind kind)
{
    if (m->depth == PATTERN_DEPTH - 1)
        luaL_error(m->L, "pattern too complex");
    struct pattern_choice *choice = &m->choices[m->depth++];
    choice->kind = kind;
    return choice;
}

/* An item that repeats: its first try begins at `s`, what follows it at `rest`. */
static struct pattern_choice *add_repetition(struct pattern *m, enum pattern_kind kind,
                                             const char *s, const char *rest)
{
    struct pattern_choice *choice = add_choice(m, kind);
    choice->s = s;
    choice->p = m->p;
    choice->rest = rest;
    choice->count = 0;
    m->s = s;
    m->p = rest;
    return choice;
}

/* As many repetitions as there are. False: paused meanwhile. */
static bool count_longest(struct pattern *m)
{
    struct pattern_choice *choice = &m->choices[m->depth - 1];
    const char *s = choice->s + choice->count, *p = choice->p, *end = choice->rest - 1;
    while (matches_one(m, s, p, end)) {
        s++;
        work(m, 1);
        if (m->is_due)
            break;
    }
    choice->count = s - choice->s;
    m->s = s;
    m->is_counting = m->is_due;
    return !m->is_due;
}

/* Back to the last place where something else can be tried; false when there is none. */
static bool come_back(struct pattern *m)
{
    while (m->depth > 0) {
        struct pattern_choice *choice = &m->choices[m->depth - 1];
        m->p = choice->rest;
        switch (choice->kind) {
        case PATTERN_LONGEST:
            if (choice->count-- > 0) {
                m->s = choice->s + choice->count;
                return true;
            }
            break;
        case PATTERN_SHORTEST:
            if (matches_one(m, choice->s, choice->p, choice->rest - 1)) {
                m->s = ++choice->s;
                return true;
            }
            break;
        case PATTERN_OPTIONAL:
            m->s = choice->s;
            m->depth--;
            return true;
        case PATTERN_OPENED:
            m->level--;
            break;
        case PATTERN_CLOSED:
            m->captures[choice->capture].len = PATTERN_UNFINISHED;
            break;
        }
        m->depth--;
    }
    return false;
}

/* ---- captures ------------------------------------------------------------------------------ */

static void open_capture(struct pattern *m)
{
    bool is_position = m->p + 1 < m->text_end && m->p[1] == ')';
    if (m->level >= PATTERN_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->level].start = m->s;
    m->captures[m->level].len = is_position ? PATTERN_POSITION : PATTERN_UNFINISHED;
    m->level++;
    add_choice(m, PATTERN_OPENED);
    m->p += is_position ? 2 : 1;
}

static void close_capture(struct pattern *m)
{
    unsigned i = m->level;
    while (i > 0 && m->captures[i - 1].len != PATTERN_UNFINISHED)
        i--;
    if (i == 0)
        luaL_error(m->L, "invalid pattern capture");
    m->captures[i - 1].len = m->s - m->captures[i - 1].start;
    add_choice(m, PATTERN_CLOSED)->capture = i - 1;
    m->p++;
}

/* %1 to %9: the same text again. */
static const char *match_back_reference(struct pattern *m, const char *s, unsigned char digit)
{
    int index = digit - '1';
    if (index < 0 || index >= (int)m->level || m->captures[index].len == PATTERN_UNFINISHED)
        luaL_error(m->L, "invalid capture index %%%d", index + 1);
    size_t len = (size_t)m->captures[index].len;
    if ((size_t)(m->subject_end - s) < len)
        return NULL;
    work(m, len / 64);
    return memcmp(m->captures[index].start, s, len) == 0 ? s + len : NULL;
}

/* ---- %b and %f ----------------------------------------------------------------------------- */

/* `p` is at the two characters. */
static const char *match_balance(struct pattern *m, const char *s, const char *p)
{
    if (p >= m->text_end - 1)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->subject_end || *s != *p)
        return NULL;
    char open = p[0], close = p[1];
    size_t nested = 1;
    for (s++; s < m->subject_end; s++) {
        work(m, 1);
        if (*s == close) {
            if (--nested == 0)
                return s + 1;
        } else if (*s == open) {
            nested++;
        }
    }
    return NULL;
}

/* Is s where a run of the set begins? `p` is at the set, `end` past it. */
static bool is_frontier(struct pattern *m, const char *s, const char *p, const char *end)
{
    unsigned char before = s == m->subject ? '\0' : (unsigned char)s[-1];
    unsigned char here = s == m->subject_end ? '\0' : (unsigned char)*s;
    return !is_in_set(m, before, p, end - 1) && is_in_set(m, here, p, end - 1);
}

/* ---- the walk ------------------------------------------------------------------------------ */

/* An item with its repetition. False when it does not match. */
static bool match_item(struct pattern *m)
{
    const char *end = item_end(m, m->p), *s = m->s;
    char suffix = end < m->text_end ? *end : '\0';
    switch (suffix) {
    case '*':
    case '+':
        if (suffix == '+' && !matches_one(m, s, m->p, end))
            return false;
        add_repetition(m, PATTERN_LONGEST, suffix == '+' ? s + 1 : s, end + 1);
        m->is_counting = true;
        return true;
    case '-':
        add_repetition(m, PATTERN_SHORTEST, s, end + 1);
        return true;
    case '?':
        if (matches_one(m, s, m->p, end)) {
            add_repetition(m, PATTERN_OPTIONAL, s, end + 1);
            m->s++;
        }
        m->p = end + 1;
        return true;
    default:
        if (!matches_one(m, s, m->p, end))
            return false;
        m->s++;
        m->p = end;
        return true;
    }
}

/* %b, %f and %1: like match_item. There is a character behind the '%'. */
static bool match_special(struct pattern *m)
{
    unsigned char kind = (unsigned char)m->p[1];
    if (kind == 'f') {
        const char *set = m->p + 2;
        if (set >= m->text_end || *set != '[')
            luaL_error(m->L, "missing '[' after '%%f' in pattern");
        m->p = item_end(m, set);
        return is_frontier(m, m->s, set, m->p);
    }
    m->s = kind == 'b' ? match_balance(m, m->s, m->p + 2) : match_back_reference(m, m->s, kind);
    m->p += kind == 'b' ? 4 : 2;
    return m->s != NULL;
}

static bool is_special(unsigned char kind)
{
    return kind == 'b' || kind == 'f' || isdigit(kind);
}

/* One step; false when the walk cannot go on from here. */
static bool advance(struct pattern *m)
{
    char c = *m->p;
    if (c == '(') {
        open_capture(m);
        return true;
    }
    if (c == ')') {
        close_capture(m);
        return true;
    }
    if (c == '$' && m->p + 1 == m->text_end) {
        m->p++;
        return m->s == m->subject_end;
    }
    if (c == '%' && m->p + 1 < m->text_end && is_special((unsigned char)m->p[1]))
        return match_special(m);
    return match_item(m);
}

static enum pattern_end walk(struct pattern *m)
{
    for (;;) {
        work(m, 1);
        if (m->is_counting ? !count_longest(m) : m->is_due)
            return PATTERN_PAUSED;
        if (m->p == m->text_end)
            return PATTERN_FOUND;
        if (!advance(m) && !come_back(m))
            return PATTERN_FAILED;
    }
}

/* ---- interface ----------------------------------------------------------------------------- */

void pattern_init(struct pattern *pattern, lua_State *L, const char *subject, size_t subject_len,
                  const char *text, size_t text_len)
{
    pattern->L = L;
    pattern->subject = subject;
    pattern->subject_end = subject + subject_len;
    pattern->text = text;
    pattern->text_end = text + text_len;
    pattern->steps = 0;
    pattern->is_due = false;
}

enum pattern_end pattern_match(struct pattern *pattern, const char *at)
{
    pattern->start = pattern->s = at;
    pattern->p = pattern->text;
    pattern->is_counting = false;
    pattern->level = 0;
    pattern->depth = 0;
    return walk(pattern); /* which pauses at once when an attempt before this one used the slice */
}

enum pattern_end pattern_go_on(struct pattern *pattern)
{
    pattern->is_due = false;
    return walk(pattern);
}
