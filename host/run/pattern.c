/* The matcher: an attempt walks pattern and subject together and recurses where it may have to come
 * back (repetitions, captures). */
#include "run/pattern.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "run/budget.h"

enum { CAPTURE_OPEN = -1, CAPTURE_POSITION = -2 };
enum { STEPS = 512, PLAIN_HEAD = 1024, PLAIN_WINDOW = 256 * 1024 };

static const char *attempt(struct pattern *m, const char *s, const char *p);

static inline void work(struct pattern *m, size_t amount)
{
    m->steps += (unsigned)amount;
    if (m->steps >= STEPS) {
        m->steps = 0;
        budget_step(m->L);
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

/* ---- repetitions --------------------------------------------------------------------------- */

static const char *match_longest(struct pattern *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t count = 0;
    while (matches_one(m, s + count, p, end)) {
        count++;
        work(m, 1);
    }
    for (; count >= 0; count--) {
        const char *result = attempt(m, s + count, end + 1);
        if (result != NULL)
            return result;
    }
    return NULL;
}

static const char *match_shortest(struct pattern *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        const char *result = attempt(m, s, end + 1);
        if (result != NULL)
            return result;
        if (!matches_one(m, s, p, end))
            return NULL;
    }
}

/* ---- captures ------------------------------------------------------------------------------ */

static const char *open_capture(struct pattern *m, const char *s, const char *p, ptrdiff_t kind)
{
    if (m->level >= PATTERN_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->level].start = s;
    m->captures[m->level].len = kind;
    m->level++;
    const char *result = attempt(m, s, p);
    if (result == NULL)
        m->level--;
    return result;
}

static const char *close_capture(struct pattern *m, const char *s, const char *p)
{
    unsigned i = m->level;
    while (i > 0 && m->captures[i - 1].len != CAPTURE_OPEN)
        i--;
    if (i == 0)
        luaL_error(m->L, "invalid pattern capture");
    struct pattern_capture *capture = &m->captures[i - 1];
    capture->len = s - capture->start;
    const char *result = attempt(m, s, p);
    if (result == NULL)
        capture->len = CAPTURE_OPEN;
    return result;
}

/* %1 to %9: the same text again. */
static const char *match_back_reference(struct pattern *m, const char *s, unsigned char digit)
{
    int index = digit - '1';
    if (index < 0 || index >= (int)m->level || m->captures[index].len == CAPTURE_OPEN)
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

/* An item with its repetition. Sets *s and *p and returns false to go on from there; returns true
 * when *s is the result. */
static bool match_item(struct pattern *m, const char **s, const char **p)
{
    const char *end = item_end(m, *p);
    char suffix = end < m->text_end ? *end : '\0';
    switch (suffix) {
    case '*':
        *s = match_longest(m, *s, *p, end);
        return true;
    case '+':
        *s = matches_one(m, *s, *p, end) ? match_longest(m, *s + 1, *p, end) : NULL;
        return true;
    case '-':
        *s = match_shortest(m, *s, *p, end);
        return true;
    case '?':
        if (matches_one(m, *s, *p, end)) {
            const char *result = attempt(m, *s + 1, end + 1);
            if (result != NULL) {
                *s = result;
                return true;
            }
        }
        *p = end + 1;
        return false;
    default:
        if (!matches_one(m, *s, *p, end)) {
            *s = NULL;
            return true;
        }
        (*s)++;
        *p = end;
        return false;
    }
}

/* %b, %f and %1: like match_item. `p` is at the '%'; there is a character behind it. */
static bool match_special(struct pattern *m, const char **s, const char **p)
{
    unsigned char kind = (unsigned char)(*p)[1];
    if (kind == 'b') {
        *s = match_balance(m, *s, *p + 2);
        *p += 4;
    } else if (kind == 'f') {
        const char *set = *p + 2;
        if (set >= m->text_end || *set != '[')
            luaL_error(m->L, "missing '[' after '%%f' in pattern");
        *p = item_end(m, set);
        if (!is_frontier(m, *s, set, *p))
            *s = NULL;
    } else {
        *s = match_back_reference(m, *s, kind);
        *p += 2;
    }
    return *s == NULL;
}

static bool is_special(unsigned char kind)
{
    return kind == 'b' || kind == 'f' || isdigit(kind);
}

static const char *walk(struct pattern *m, const char *s, const char *p)
{
    for (bool is_done = false; !is_done;) {
        work(m, 1);
        if (p == m->text_end)
            return s;
        if (*p == '(') {
            bool is_position = p + 1 < m->text_end && p[1] == ')';
            return is_position ? open_capture(m, s, p + 2, CAPTURE_POSITION)
                               : open_capture(m, s, p + 1, CAPTURE_OPEN);
        }
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->text_end)
            return s == m->subject_end ? s : NULL;
        if (*p == '%' && p + 1 < m->text_end && is_special((unsigned char)p[1]))
            is_done = match_special(m, &s, &p);
        else
            is_done = match_item(m, &s, &p);
    }
    return s;
}

static const char *attempt(struct pattern *m, const char *s, const char *p)
{
    if (m->depth-- == 0)
        luaL_error(m->L, "pattern too complex");
    const char *result = walk(m, s, p);
    m->depth++;
    return result;
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
}

const char *pattern_match(struct pattern *pattern, const char *at)
{
    pattern->level = 0;
    pattern->depth = PATTERN_DEPTH;
    return attempt(pattern, at, pattern->text);
}

void pattern_push_capture(struct pattern *pattern, unsigned index, const char *start,
                          const char *end)
{
    lua_State *L = pattern->L;
    if (index >= pattern->level) {
        if (index != 0)
            luaL_error(L, "invalid capture index %%%d", (int)index + 1);
        lua_pushlstring(L, start, (size_t)(end - start));
        return;
    }
    const struct pattern_capture *capture = &pattern->captures[index];
    if (capture->len == CAPTURE_OPEN)
        luaL_error(L, "unfinished capture");
    if (capture->len == CAPTURE_POSITION)
        lua_pushinteger(L, capture->start - pattern->subject + 1);
    else
        lua_pushlstring(L, capture->start, (size_t)capture->len);
}

int pattern_push_captures(struct pattern *pattern, const char *start, const char *end)
{
    unsigned count = pattern->level == 0 && start != NULL ? 1 : pattern->level;
    luaL_checkstack(pattern->L, (int)count, "too many captures");
    for (unsigned i = 0; i < count; i++)
        pattern_push_capture(pattern, i, start, end);
    return (int)count;
}

bool pattern_is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '\0' && strchr("^$*+?.([%-", text[i]) != NULL)
            return false;
    }
    return true;
}

/* The head of the needle is looked for window by window; where it is found the rest is compared. */
const char *pattern_find_plain(lua_State *L, const char *text, size_t len, const char *needle,
                               size_t needle_len)
{
    size_t head = needle_len < PLAIN_HEAD ? needle_len : PLAIN_HEAD;
    while (len >= needle_len) {
        size_t part = len < PLAIN_WINDOW ? len : PLAIN_WINDOW;
        const char *found = memmem(text, part, needle, head);
        size_t done = part - head + 1; /* no head begins there */
        if (found != NULL) {
            done = (size_t)(found - text);
            if (len - done < needle_len)
                return NULL;
            if (memcmp(found + head, needle + head, needle_len - head) == 0)
                return found;
            done++;
        }
        text += done;
        len -= done;
        budget_step(L);
    }
    return NULL;
}
