/* One pass over JSON: RFC 8259, strictly, and where objects and arrays are.
 *
 * It refuses without a reason: whoever reads the text otherwise then says what is wrong. The NUL
 * behind the text ends every loop. */
#include "json/boxes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json/text.h"

enum {
    SLOTS = 2 * JSON_BOX_NAMES,
    NAME_WORDS = JSON_BOX_NAMES / 64,
    LEAST_BOXES = 64,
    BOX_BYTES = 4, /* of the text, for each box */
    KEPT_BOXES = 4096,
    SURE_DIGITS = 300, /* of a number without an exponent that a float surely holds, */
    SURE_INTEGER = 18, /* of one that 64 bits do */
};

/* A name that objects of this text have. Those side by side mostly have the same ones in the same
 * order, so that the one behind is tried first. */
struct name {
    struct str text;
    uint16_t next, slot;
};

struct scan {
    struct str text;
    const char *p;
    unsigned depth;
    uint16_t last; /* name */
    uint16_t name_count;
    uint32_t box_count;
    struct json_box *box;                           /* the one that p is in; moves when they grow */
    uint64_t had[LIMIT_JSON_DEPTH + 1][NAME_WORDS]; /* names of the objects around p; else zeros */
};

static struct scan scan;
static struct name names[JSON_BOX_NAMES + 1]; /* the first one is before all others */
static uint16_t slots[SLOTS];                 /* of names, by what they are; 0: free */
static struct json_box *boxes;                /* owned */
static size_t room;

static bool check_value(void);

/* Moves p over white space; the box has some then. */
static void skip_blanks(void)
{
    if ((unsigned char)*scan.p > ' ')
        return;
    while (*scan.p == ' ' || *scan.p == '\n' || *scan.p == '\r' || *scan.p == '\t') {
        scan.p++;
        scan.box->blanks = true;
    }
}

/* ---- scalars ---- */

/* The unit that "\\uXXXX" at `p` stands for; -1: it is none. */
static int unit_at(const char *p)
{
    int unit = 0;
    if (p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = str_hex_value(p[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* p is at the backslash. */
static bool check_escape(void)
{
    if (scan.p[1] != 'u') {
        bool known = scan.p[1] != '\0' && strchr("\"\\/bfnrt", scan.p[1]) != NULL;
        scan.p += 2;
        return known;
    }
    int unit = unit_at(scan.p);
    scan.p += 6;
    if (unit < 0xd800 || unit > 0xdfff)
        return unit >= 0;
    int low = unit < 0xdc00 ? unit_at(scan.p) : -1;
    scan.p += 6;
    return low >= 0xdc00 && low <= 0xdfff;
}

/* p is at the opening quote. */
static bool check_string(bool *escaped)
{
    const char *end = scan.text.ptr + scan.text.len;
    scan.p++;
    for (;;) {
        scan.p += json_text_plain((struct str){scan.p, (size_t)(end - scan.p)});
        if (*scan.p == '"') {
            scan.p++;
            return true;
        }
        if (*scan.p == '\\') {
            *escaped = true;
            if (!check_escape())
                return false;
        } else if ((unsigned char)*scan.p < 0x80) {
            return false;
        } else {
            size_t bad, run = json_text_wide((struct str){scan.p, (size_t)(end - scan.p)}, &bad);
            if (bad < run)
                return false;
            scan.p += run;
        }
    }
}

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Where the digits from `p` on end, of which there must be one; else NULL. */
static const char *some_digits(const char *p)
{
    const char *end = skip_digits(p);
    return end > p ? end : NULL;
}

static bool is_odd_number(const char *start, const char *end)
{
    bool negative = *start == '-';
    return skip_digits(start + negative) != end || end - start > SURE_INTEGER ||
           (negative && start[1] == '0');
}

static bool check_number(void)
{
    const char *start = scan.p, *first = start + (*start == '-'), *p = some_digits(first);
    if (p == NULL || (*first == '0' && p - first > 1))
        return false;
    if (*p == '.')
        p = some_digits(p + 1);
    bool is_sure = p == NULL || ((*p | 0x20) != 'e' && p - start < SURE_DIGITS);
    if (p != NULL && (*p | 0x20) == 'e')
        p = some_digits(p + 1 + (p[1] == '+' || p[1] == '-'));
    if (p == NULL)
        return false;
    scan.box->odd |= is_odd_number(start, p);
    scan.p = p;
    return is_sure || !isinf(strtod(start, NULL));
}

static bool check_word(const char *word, size_t len)
{
    if (strncmp(scan.p, word, len) != 0)
        return false;
    scan.p += len;
    return true;
}

/* ---- names ---- */

static size_t slot_of(struct str name)
{
    uint64_t sum = name.len, part;
    for (size_t i = 0; i < name.len; i += 8) {
        part = 0;
        memcpy(&part, name.ptr + i, name.len - i < 8 ? name.len - i : 8);
        sum = (sum ^ part) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 29;
    }
    return (size_t)(sum % SLOTS);
}

/* Its index; 0: there are too many. */
static uint16_t index_of(struct str name)
{
    size_t slot = slot_of(name);
    for (; slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        if (str_eq(names[slots[slot]].text, name))
            return slots[slot];
    }
    if (scan.name_count == JSON_BOX_NAMES)
        return 0;
    slots[slot] = ++scan.name_count;
    names[slots[slot]] = (struct name){.text = name, .slot = (uint16_t)slot};
    return slots[slot];
}

/* p is at what should be the opening quote of a name. 0: it is none, or there are too many. */
static uint16_t read_name(void)
{
    uint16_t expected = names[scan.last].next;
    struct str name = names[expected].text;
    bool escaped = false;
    if (*scan.p != '"')
        return 0;
    size_t rest = scan.text.len - (size_t)(scan.p + 1 - scan.text.ptr);
    if (expected != 0 && name.len < rest && scan.p[1 + name.len] == '"' &&
        memcmp(scan.p + 1, name.ptr, name.len) == 0) {
        scan.p += name.len + 2;
        return expected;
    }
    const char *open = scan.p + 1;
    if (!check_string(&escaped) || escaped)
        return 0;
    uint16_t index = index_of((struct str){open, (size_t)(scan.p - open) - 1});
    names[scan.last].next = index;
    return index;
}

/* A name that this object has not had yet. */
static bool check_name(void)
{
    uint16_t index = read_name();
    uint64_t *had = &scan.had[scan.depth][(index - 1u) / 64 % NAME_WORDS];
    uint64_t bit = UINT64_C(1) << (index - 1u) % 64;
    if (index == 0 || (*had & bit) != 0)
        return false;
    *had |= bit;
    scan.last = index;
    return true;
}

/* ---- objects and arrays ---- */

static bool grow(void)
{
    size_t wanted = room > 0 ? 2 * room : LEAST_BOXES;
    struct json_box *larger = realloc(boxes, wanted * sizeof(*boxes));
    if (larger == NULL)
        return false;
    boxes = larger;
    room = wanted;
    return true;
}

/* p is at the opening bracket. */
static bool open_box(uint32_t *index)
{
    bool many = scan.box_count > scan.text.len / BOX_BYTES + LEAST_BOXES;
    if (many || scan.depth == LIMIT_JSON_DEPTH || (scan.box_count == room && !grow()))
        return false;
    *index = scan.box_count++;
    scan.box = &boxes[*index];
    *scan.box = (struct json_box){.start = (uint32_t)(scan.p - scan.text.ptr), .height = 1};
    scan.depth++;
    scan.p++;
    skip_blanks();
    return true;
}

/* p is behind the closing bracket; `outer` is the index of the box around it. */
static void close_box(uint32_t index, uint32_t outer)
{
    const struct json_box *box = &boxes[index];
    boxes[index].end = (uint32_t)(scan.p - scan.text.ptr);
    boxes[index].next = scan.box_count;
    scan.depth--;
    scan.box = &boxes[outer];
    if (outer == index)
        return;
    scan.box->blanks |= box->blanks;
    if (scan.box->height <= box->height)
        scan.box->height = (uint8_t)(box->height + 1);
}

static bool check_member(void)
{
    if (!check_name())
        return false;
    skip_blanks();
    if (*scan.p != ':')
        return false;
    scan.p++;
    skip_blanks();
    return check_value();
}

/* p is at the opening bracket. */
static bool check_box(char close)
{
    uint32_t outer = scan.box_count > 0 ? (uint32_t)(scan.box - boxes) : 0, index;
    if (!open_box(&index))
        return false;
    while (*scan.p != close) {
        if (close == '}' ? !check_member() : !check_value())
            return false;
        scan.box->count++;
        skip_blanks();
        if (*scan.p == close)
            break;
        if (*scan.p != ',')
            return false;
        scan.p++;
        skip_blanks();
        if (*scan.p == close)
            return false;
    }
    if (close == '}' && scan.box->count > 0)
        memset(scan.had[scan.depth], 0, (scan.name_count + 63u) / 64 * sizeof(uint64_t));
    scan.p++;
    close_box(index, outer);
    return true;
}

static bool check_value(void)
{
    switch (*scan.p) {
    case '{':
        return check_box('}');
    case '[':
        return check_box(']');
    case '"':
        return check_string(&scan.box->odd);
    case 't':
        return check_word("true", 4);
    case 'f':
        return check_word("false", 5);
    case 'n':
        return check_word("null", 4);
    default:
        return check_number();
    }
}

static bool check_text(void)
{
    static struct json_box outside;
    scan.box = &outside;
    skip_blanks();
    if (*scan.p != '{' && *scan.p != '[')
        return false;
    if (!check_value())
        return false;
    scan.box = &outside;
    skip_blanks();
    return scan.p == scan.text.ptr + scan.text.len;
}

/* `whole`: the text was read to its end. */
static void forget(bool whole)
{
    for (unsigned i = 1; i <= scan.name_count; i++)
        slots[names[i].slot] = 0;
    scan.name_count = 0;
    scan.last = 0;
    names[0].next = 0;
    if (!whole)
        memset(scan.had, 0, sizeof(scan.had));
}

void json_boxes_drop(void)
{
    if (room > KEPT_BOXES) {
        free(boxes);
        boxes = NULL;
        room = 0;
    }
}

const struct json_box *json_boxes(struct str text, uint32_t *count)
{
    json_boxes_drop();
    if (text.len > INT32_MAX)
        return NULL;
    scan.text = text;
    scan.p = text.ptr;
    scan.depth = 0;
    scan.box_count = 0;
    bool whole = check_text();
    forget(whole);
    *count = scan.box_count;
    if (!whole)
        json_boxes_drop();
    return whole ? boxes : NULL;
}

/* ---- what was checked ---- */

static bool is_escaped(const char *quote)
{
    const char *p = quote;
    while (p[-1] == '\\')
        p--;
    return (quote - p) % 2 != 0;
}

size_t json_scalar_length(struct str rest)
{
    size_t len = 1;
    if (rest.ptr[0] == '"') {
        do {
            const char *quote = memchr(rest.ptr + len, '"', rest.len - len);
            len = quote != NULL ? (size_t)(quote - rest.ptr) + 1 : rest.len;
        } while (len < rest.len && is_escaped(rest.ptr + len - 1));
        return len;
    }
    for (char c; len < rest.len; len++) {
        c = rest.ptr[len];
        if (c <= ' ' || c == ',' || c == ']' || c == '}')
            break;
    }
    return len;
}

bool json_scalar_is_odd(struct str scalar)
{
    if (scalar.ptr[0] == '"')
        return memchr(scalar.ptr, '\\', scalar.len) != NULL;
    bool is_number = scalar.ptr[0] <= '9';
    return is_number && is_odd_number(scalar.ptr, scalar.ptr + scalar.len);
}

/* ---- from member to member ---- */

static uint32_t behind_blanks(struct str text, uint32_t at)
{
    if ((unsigned char)text.ptr[at] > ' ') /* nearly always */
        return at;
    while (text.ptr[at] == ' ' || text.ptr[at] == '\n' || text.ptr[at] == '\r' ||
           text.ptr[at] == '\t')
        at++;
    return at;
}

struct json_walk json_walk_into(struct str text, const struct json_box *all,
                                const struct json_box *box)
{
    struct json_walk walk = {text, all, box + 1, behind_blanks(text, box->start + 1)};
    return walk;
}

struct str json_walk_name(struct json_walk *walk)
{
    const char *open = walk->text.ptr + walk->at + 1;
    const char *end = memchr(open, '"', walk->text.len - walk->at - 1); /* has no escapes */
    size_t len = end != NULL ? (size_t)(end - open) : 0;
    walk->at += (uint32_t)len + 2;
    walk->at = behind_blanks(walk->text, walk->at) + 1; /* the colon */
    walk->at = behind_blanks(walk->text, walk->at);
    return (struct str){open, len};
}

struct str json_walk_value(struct json_walk *walk, const struct json_box **box)
{
    struct str value = str_skip(walk->text, walk->at);
    bool boxed = *value.ptr == '{' || *value.ptr == '[';
    *box = boxed ? walk->child : NULL;
    if (boxed)
        walk->child = walk->boxes + walk->child->next;
    value.len = boxed ? (*box)->end - (*box)->start : json_scalar_length(value);
    walk->at = behind_blanks(walk->text, walk->at + (uint32_t)value.len);
    walk->at = behind_blanks(walk->text, walk->at + 1); /* the comma */
    return value;
}

void json_add_compact(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t len = *text.ptr == '"' ? json_scalar_length(text) : 1;
        if (len > 1 || (unsigned char)*text.ptr > ' ')
            buf_add(out, text.ptr, len);
        text = str_skip(text, len);
    }
}
