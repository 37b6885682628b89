/* One pass over JSON: RFC 8259, strictly, and where objects and arrays are.
 *
 * It refuses without a reason: whoever reads the text otherwise then says what is wrong. The NUL
 * behind the text ends every loop. */
#include "json/boxes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json/block.h"
#include "json/text.h"

enum {
    SLOTS = 2 * JSON_BOX_NAMES,
    NAME_WORDS = JSON_BOX_NAMES / 64,
    LEVELS = 4, /* that have successors of their own */
    QUOTES = 3, /* what is around a name: two, and a colon */
    LEAST_BOXES = 64,
    BOX_BYTES = 4, /* of the text, for each box */
    KEPT_BOXES = 4096,
    SURE_DIGITS = 300, /* of a number without an exponent that a float surely holds, */
    SURE_INTEGER = 18, /* of one that 64 bits do */
};

/* A name that objects of this text have. Those side by side mostly have the same ones in the same
 * order, so that the one behind is tried first. */
struct name {
    const char *ptr;
    uint32_t len;
    uint16_t word, slot;
    uint64_t bit;       /* in that word of the names that an object has had */
    uint64_t first_bit; /* the same if that is the first word, else 0 */
    uint64_t marks;     /* of a block's bytes, those of it, its quotes and a colon that follows
                           at once; 0: they are more, or none does */
    struct name *next[LEVELS]; /* by depth */
};

/* What is found within a box besides those within. */
struct marks {
    bool odd, blanks;
    uint16_t height; /* of the highest within */
};

struct scan {
    const char *start, *end;
    const char *last_block; /* from behind it on there are fewer bytes than a block has */
    unsigned depth;
    unsigned name_count;
    uint32_t box_count, most_boxes;
    struct marks marks; /* of the box being read */
    /* For the boxes around, the names that they had, from the second word on; else zeros. */
    uint64_t had[LIMIT_JSON_DEPTH + 1][NAME_WORDS];
};

static struct scan scan;
static struct name names[JSON_BOX_NAMES + 1]; /* the first one is before all others */
static uint16_t slots[SLOTS];                 /* of names, by what they are; 0: free */
static struct json_box *boxes;                /* owned */
static size_t room;

/* All of these read on at `p` and give the place behind what they are called for; NULL: it is not
 * there. `last` is the name that was read last, or that the box is the value of. */
static const char *check_object(const char *p, struct name *last);
static const char *check_array(const char *p, struct name *last);
static const char *check_spaced_value(const char *p, struct name *last);

static const char *skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t') {
        p++;
        scan.marks.blanks = true;
    }
    return p;
}

/* Is there that byte, mostly without white space before it? Then *p is behind it, else before what
 * is there. */
static inline bool take(const char **p, char c)
{
    if (**p != c)
        *p = skip_blanks(*p);
    bool there = **p == c;
    *p += there;
    return there;
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

static const char *check_escape(const char *p)
{
    scan.marks.odd = true;
    if (p[1] != 'u')
        return p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL ? p + 2 : NULL;
    int unit = unit_at(p);
    if (unit < 0xd800 || unit > 0xdfff)
        return unit >= 0 ? p + 6 : NULL;
    int low = unit < 0xdc00 ? unit_at(p + 6) : -1;
    return low >= 0xdc00 && low <= 0xdfff ? p + 12 : NULL;
}

/* What is left of a string, and its closing quote. */
static const char *check_rest(const char *p)
{
    while (p != NULL) {
        p += json_text_plain((struct str){p, (size_t)(scan.end - p)});
        if (*p == '"')
            return p + 1;
        if (*p == '\\') {
            p = check_escape(p);
        } else if ((unsigned char)*p < 0x80) {
            return NULL;
        } else {
            size_t bad, run = json_text_wide((struct str){p, (size_t)(scan.end - p)}, &bad);
            p = bad < run ? NULL : p + run;
        }
    }
    return NULL;
}

/* p is behind the opening quote. Most strings are short, and none but the closing one is special.
 */
static inline const char *check_string(const char *p)
{
    if (p <= scan.last_block) {
        p += block_run(block_special(p));
        if (*p == '"')
            return p + 1;
    }
    return check_rest(p);
}

static const char *skip_digits(const char *p)
{
    while (*p >= '0' && *p <= '9')
        p++;
    return p;
}

/* At least one. */
static const char *some_digits(const char *p)
{
    const char *end = skip_digits(p);
    return end > p ? end : NULL;
}

/* The digits before fraction and exponent, `end` is behind them. */
static bool is_odd_integer(const char *start, const char *end)
{
    return end - start > SURE_INTEGER || (start[0] == '-' && start[1] == '0');
}

/* p is behind those digits. */
static const char *check_fraction(const char *start, const char *p) __attribute__((noinline));

static const char *check_fraction(const char *start, const char *p)
{
    scan.marks.odd = true;
    if (*p == '.')
        p = some_digits(p + 1);
    if (p == NULL)
        return NULL;
    bool is_sure = (*p | 0x20) != 'e' && p - start < SURE_DIGITS;
    if ((*p | 0x20) == 'e')
        p = some_digits(p + 1 + (p[1] == '+' || p[1] == '-'));
    return is_sure || !isinf(strtod(start, NULL)) ? p : NULL;
}

static const char *check_number(const char *start)
{
    const char *first = start + (*start == '-'), *p = skip_digits(first);
    if (p == first || (*first == '0' && p - first > 1))
        return NULL;
    if (*p == '.' || (*p | 0x20) == 'e' || is_odd_integer(start, p))
        return check_fraction(start, p);
    return p;
}

static const char *check_word(const char *p)
{
    size_t rest = (size_t)(scan.end - p);
    if (rest >= 4 && (memcmp(p, "true", 4) == 0 || memcmp(p, "null", 4) == 0))
        return p + 4;
    return rest >= 5 && memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
}

static inline const char *check_value(const char *p, struct name *last)
{
    if (*p == '"')
        return check_string(p + 1);
    switch (*p) {
    case '{':
        return check_object(p, last);
    case '[':
        return check_array(p, last);
    case 't':
    case 'f':
    case 'n':
        return check_word(p);
    case ' ':
    case '\n':
    case '\r':
    case '\t':
        return check_spaced_value(p, last);
    default:
        return check_number(p);
    }
}

static const char *check_spaced_value(const char *p, struct name *last)
{
    return check_value(skip_blanks(p), last);
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

/* NULL: there are too many. */
static struct name *name_of(struct str text)
{
    size_t slot = slot_of(text);
    for (; slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        struct name *name = &names[slots[slot]];
        if (str_eq((struct str){name->ptr, name->len}, text))
            return name;
    }
    if (scan.name_count == JSON_BOX_NAMES)
        return NULL;
    unsigned index = scan.name_count++;
    slots[slot] = (uint16_t)(index + 1);
    bool in_block = text.len + QUOTES <= BLOCK && text.ptr[text.len + 1] == ':';
    uint64_t bit = UINT64_C(1) << index % 64;
    names[index + 1] = (struct name){.ptr = text.ptr,
                                     .len = (uint32_t)text.len,
                                     .slot = (uint16_t)slot,
                                     .word = (uint16_t)(index / 64),
                                     .bit = bit,
                                     .first_bit = index < 64 ? bit : 0,
                                     .marks = in_block ? block_marks_of(text.len + QUOTES) : 0};
    return &names[index + 1];
}

/* Any name, and the colon; it is expected there from now on. Out of line: it is rare. */
static const char *read_name(const char *p, struct name **expected) __attribute__((noinline));

static const char *read_name(const char *p, struct name **expected)
{
    if (!take(&p, '"'))
        return NULL;
    const char *end = check_string(p);
    size_t len = end != NULL ? (size_t)(end - p) - 1 : 0;
    if (end == NULL || memchr(p, '\\', len) != NULL)
        return NULL;
    *expected = name_of((struct str){p, len});
    return *expected != NULL && take(&end, ':') ? end : NULL;
}

static bool is_any_name(const char *p, const struct name *name)
{
    size_t len = name->len;
    return len + QUOTES < (size_t)(scan.end - p) && p[0] == '"' &&
           memcmp(p + 1, name->ptr, len) == 0 && p[len + 1] == '"' && p[len + 2] == ':';
}

/* Is that what is there, with quotes and colon and without white space? The name was read before,
 * so that there is as much behind it. */
static inline bool is_name(const char *p, const struct name *name)
{
    if (name->marks != 0 && p <= scan.last_block)
        return (block_differences(p, name->ptr - 1) & name->marks) == 0;
    return is_any_name(p, name);
}

static bool note_late_name(const struct name *name)
{
    uint64_t *had = &scan.had[scan.depth][name->word];
    bool before = (*had & name->bit) != 0;
    *had |= name->bit;
    return before;
}

/* Has this object had the name? Now it has. *had: those of the first word, nearly always all. */
static inline bool note_name(const struct name *name, uint64_t *had)
{
    if (name->first_bit == 0)
        return note_late_name(name);
    bool before = (*had & name->first_bit) != 0;
    *had |= name->first_bit;
    return before;
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

/* p is at the opening bracket. False: there are too many, or they are too deep. */
static inline bool open_box(const char *p, uint32_t *index, struct marks *outer)
{
    if (scan.box_count == scan.most_boxes || scan.depth == LIMIT_JSON_DEPTH ||
        (scan.box_count == room && !grow()))
        return false;
    *index = scan.box_count++;
    boxes[*index].start = (uint32_t)(p - scan.start);
    *outer = scan.marks;
    scan.marks = (struct marks){0};
    scan.depth++;
    return true;
}

/* p is behind the closing bracket. */
static inline void close_box(const char *p, uint32_t index, uint32_t count, struct marks outer)
{
    struct json_box *box = &boxes[index];
    uint16_t height = (uint16_t)(scan.marks.height + 1);
    box->end = (uint32_t)(p - scan.start);
    box->next = scan.box_count;
    box->count = count;
    box->height = (uint8_t)height;
    box->blanks = scan.marks.blanks;
    box->odd = scan.marks.odd;
    scan.marks.odd = outer.odd;
    scan.marks.blanks |= outer.blanks;
    scan.marks.height = height > outer.height ? height : outer.height;
    scan.depth--;
}

static const char *check_object(const char *p, struct name *last)
{
    uint32_t index, count = 0;
    uint64_t had = 0;
    struct marks outer;
    if (!open_box(p++, &index, &outer))
        return NULL;
    unsigned level = scan.depth % LEVELS;
    if (!take(&p, '}')) {
        do {
            struct name **next = &last->next[level];
            last = *next;
            if (last != NULL && is_name(p, last)) {
                p += last->len + (size_t)QUOTES;
            } else {
                p = read_name(p, next);
                last = *next;
                if (p == NULL)
                    return NULL;
            }
            if (note_name(last, &had))
                return NULL;
            p = check_value(p, last);
            if (p == NULL)
                return NULL;
            count++;
        } while (take(&p, ','));
        if (!take(&p, '}'))
            return NULL;
        for (unsigned i = 1; i * 64 < scan.name_count; i++)
            scan.had[scan.depth][i] = 0;
    }
    close_box(p, index, count, outer);
    return p;
}

static const char *check_array(const char *p, struct name *last)
{
    uint32_t index, count = 0;
    struct marks outer;
    if (!open_box(p++, &index, &outer))
        return NULL;
    if (!take(&p, ']')) {
        do {
            p = check_value(p, last);
            if (p == NULL)
                return NULL;
            count++;
        } while (take(&p, ','));
        if (!take(&p, ']'))
            return NULL;
    }
    close_box(p, index, count, outer);
    return p;
}

static bool check_text(void)
{
    const char *p = skip_blanks(scan.start);
    if (*p != '{' && *p != '[')
        return false;
    p = check_value(p, &names[0]);
    return p != NULL && skip_blanks(p) == scan.end;
}

/* `whole`: the text was read to its end. */
static void forget(bool whole)
{
    for (unsigned i = 1; i <= scan.name_count; i++)
        slots[names[i].slot] = 0;
    scan.name_count = 0;
    names[0] = (struct name){0};
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
    scan.start = text.ptr;
    scan.end = text.ptr + text.len;
    scan.last_block = text.len >= BLOCK ? scan.end - BLOCK : NULL;
    scan.depth = 0;
    scan.box_count = 0;
    scan.most_boxes = (uint32_t)text.len / BOX_BYTES + LEAST_BOXES;
    scan.marks = (struct marks){0};
    bool whole = check_text();
    forget(whole);
    *count = scan.box_count;
    if (!whole)
        json_boxes_drop();
    return whole ? boxes : NULL;
}

/* ---- what was checked ---- */

static bool is_odd_number(struct str number)
{
    const char *end = number.ptr + number.len;
    return skip_digits(number.ptr + (number.ptr[0] == '-')) != end ||
           is_odd_integer(number.ptr, end);
}

static bool is_escaped(const char *quote)
{
    const char *p = quote;
    while (p[-1] == '\\')
        p--;
    return (quote - p) % 2 != 0;
}

/* From quote to quote. */
static size_t string_length(struct str rest)
{
    size_t len = 1;
    if (rest.len > BLOCK) {
        uint64_t marks = block_special(rest.ptr + 1);
        len += marks != 0 ? block_first(marks) : 0;
        if (rest.ptr[len] == '"') /* nearly always */
            return len + 1;
    }
    do {
        const char *quote = memchr(rest.ptr + len, '"', rest.len - len);
        len = quote != NULL ? (size_t)(quote - rest.ptr) + 1 : rest.len;
    } while (len < rest.len && is_escaped(rest.ptr + len - 1));
    return len;
}

size_t json_scalar_length(struct str rest)
{
    size_t len = 1;
    if (rest.ptr[0] == '"')
        return string_length(rest);
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
    return is_number && is_odd_number(scalar);
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
    size_t len = string_length(str_skip(walk->text, walk->at));
    struct str name = {walk->text.ptr + walk->at + 1, len - 2};
    walk->at += (uint32_t)len;
    walk->at = behind_blanks(walk->text, walk->at) + 1; /* the colon */
    walk->at = behind_blanks(walk->text, walk->at);
    return name;
}

bool json_walk_named(struct json_walk *walk, struct str name)
{
    struct str rest = str_skip(walk->text, walk->at);
    if (rest.len < name.len + QUOTES || memcmp(rest.ptr + 1, name.ptr, name.len) != 0 ||
        rest.ptr[name.len + 1] != '"' || rest.ptr[name.len + 2] != ':')
        return false;
    walk->at = behind_blanks(walk->text, walk->at + (uint32_t)name.len + QUOTES);
    return true;
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
