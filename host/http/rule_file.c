/* Netlify's _redirects and _headers files as rules: lines, words, and what each word means. */
#include "http/rule_file.h"

#include <errno.h>

enum { WORDS_MAX = 64 }; /* a message names it */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static struct str trim(struct str s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* The text of a file, without the mark that some editors begin it with. */
static struct str text_of(const struct rule_file *file)
{
    return str_starts_with(file->text, STR("\xEF\xBB\xBF")) ? str_skip(file->text, 3) : file->text;
}

static bool copy(struct arena *arena, struct str *s)
{
    *s = arena_copy(arena, *s);
    return s->ptr != NULL;
}

/* ---- _redirects ---- */

struct words {
    struct str items[WORDS_MAX];
    unsigned count;
};

/* Up to a comment. False when there are too many. */
static bool split_words(struct str line, struct words *words)
{
    words->count = 0;
    for (line = trim(line); line.len > 0 && line.ptr[0] != '#'; line = trim(line)) {
        if (words->count == WORDS_MAX)
            return false;
        size_t len = 0;
        while (len < line.len && !is_blank(line.ptr[len]))
            len++;
        words->items[words->count++] = (struct str){line.ptr, len};
        line = str_skip(line, len);
    }
    return true;
}

bool rule_status(struct str text, int *status, bool *force)
{
    uint64_t number;
    bool forced = text.len > 1 && text.ptr[text.len - 1] == '!';
    text.len -= forced;
    if (text.len == 0 || str_to_u64(text, 999, &number) != 0)
        return false;
    *status = (int)number;
    *force = forced;
    return true;
}

static bool is_target(struct str word)
{
    return str_starts_with(word, STR("/")) || str_starts_with(word, STR("http:")) ||
           str_starts_with(word, STR("https:"));
}

/* The words [first, end) as name=value pairs. Returns what is wrong, or NULL. */
static const char *read_pairs(struct arena *arena, const struct words *words, unsigned first,
                              unsigned end, struct redirect_pair **pairs, unsigned *count)
{
    *pairs = arena_zalloc(arena, (end - first + 1) * sizeof(**pairs));
    *count = 0;
    for (unsigned i = first; *pairs != NULL && i < end; i++) {
        size_t equals = str_find(words->items[i], '=');
        if (equals == 0 || equals == words->items[i].len)
            return "expected name=value between the paths or after the status";
        struct redirect_pair *pair = &(*pairs)[(*count)++];
        pair->name = (struct str){words->items[i].ptr, equals};
        pair->value = str_skip(words->items[i], equals + 1);
        if (!copy(arena, &pair->name) || !copy(arena, &pair->value))
            *pairs = NULL;
    }
    return *pairs != NULL ? NULL : "out of memory";
}

/* "from 200!": the target may be left out. Else the first word that looks like a path or URL is it,
 * and what stands before are query parameters. Returns what is wrong, or NULL. */
static const char *read_redirect(struct arena *arena, const struct words *words,
                                 struct redirect_rule *rule)
{
    unsigned next = 1;
    *rule = (struct redirect_rule){.from = words->items[0], .to = STR(""), .status = 301};
    if (words->count == 1)
        return "the target is missing: from to [status]";
    if (!rule_status(words->items[1], &rule->status, &rule->force)) {
        while (next < words->count && !is_target(words->items[next]))
            next++;
        if (next == words->count)
            return "the target must begin with '/', http:// or https://";
        const char *fault = read_pairs(arena, words, 1, next, &rule->query, &rule->query_count);
        if (fault != NULL)
            return fault;
        rule->to = words->items[next++];
        if (!copy(arena, &rule->to))
            return "out of memory";
    }
    if (next < words->count && rule_status(words->items[next], &rule->status, &rule->force))
        next++;
    if (!copy(arena, &rule->from))
        return "out of memory";
    return read_pairs(arena, words, next, words->count, &rule->conditions, &rule->condition_count);
}

int rule_file_redirects(const struct rule_file *file, struct redirect_rule **rules, unsigned *count)
{
    struct str rest = text_of(file), line;
    *count = 0;
    *rules = arena_zalloc(file->arena, (str_count(rest, '\n') + 1) * sizeof(**rules));
    for (unsigned number = 1; *rules != NULL && str_split_next(&rest, '\n', &line); number++) {
        struct words words;
        struct err err;
        struct redirect_rule *rule = &(*rules)[*count];
        const char *fault = split_words(line, &words) ? NULL : "more than 64 words in a line";
        if (fault == NULL && words.count == 0)
            continue;
        if (fault == NULL)
            fault = read_redirect(file->arena, &words, rule);
        if (fault == NULL && redirect_check(rule, &err) != 0)
            fault = err.text;
        if (fault != NULL)
            file->fault(file->arg, number, fault);
        else
            ++*count;
    }
    return *rules != NULL ? 0 : -ENOMEM;
}

/* ---- _headers ---- */

/* Twice the same name in a block: one field, as a list. False when out of memory. */
static bool add_field(struct arena *arena, struct header_rule *rule, struct header field)
{
    for (unsigned i = 0; i < rule->value_count; i++) {
        struct header *known = &rule->values[i];
        if (!str_eq_nocase(known->name, field.name))
            continue;
        known->value =
            arena_printf(arena, "%.*s, %.*s", STR_ARG(known->value), STR_ARG(field.value));
        return known->value.ptr != NULL;
    }
    if (!copy(arena, &field.name) || !copy(arena, &field.value))
        return false;
    rule->values[rule->value_count++] = field;
    return true;
}

/* One "Name: value" of the block. Returns what is wrong, or NULL. */
static const char *read_field(struct arena *arena, struct str line, struct header_rule *rule)
{
    size_t colon = str_find(line, ':');
    struct header field = {trim((struct str){line.ptr, colon}), STR("")};
    if (colon == line.len)
        return "expected a path that begins with '/', or Name: value";
    field.value = trim(str_skip(line, colon + 1));
    if (rule == NULL)
        return "a field needs a path above it: a line that begins with '/'";
    if (field.name.len == 0 || field.value.len == 0)
        return field.name.len == 0 ? "the field's name is missing" : "the field's value is missing";
    if (!header_name_is_valid(field.name) || !header_value_is_valid(field.value))
        return "this cannot be sent: a name is letters, digits and '-', a value has no control characters";
    return add_field(arena, rule, field) ? NULL : "out of memory";
}

/* The lines after the path, to the next path: room for their fields. */
static unsigned block_lines(struct str rest)
{
    unsigned lines = 0;
    struct str line;
    while (str_split_next(&rest, '\n', &line) && !str_starts_with(trim(line), STR("/")))
        lines++;
    return lines;
}

int rule_file_headers(const struct rule_file *file, struct header_rule **rules, unsigned *count)
{
    struct str rest = text_of(file), line;
    struct header_rule *rule = NULL;
    *count = 0;
    *rules = arena_zalloc(file->arena, (str_count(rest, '\n') + 1) * sizeof(**rules));
    for (unsigned number = 1; *rules != NULL && str_split_next(&rest, '\n', &line); number++) {
        line = trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (line.ptr[0] != '/') {
            const char *fault = read_field(file->arena, line, rule);
            if (fault != NULL)
                file->fault(file->arg, number, fault);
            continue;
        }
        rule = &(*rules)[(*count)++];
        rule->path = arena_copy(file->arena, line);
        rule->values = arena_zalloc(file->arena, (block_lines(rest) + 1) * sizeof(*rule->values));
        if (rule->path.ptr == NULL || rule->values == NULL)
            return -ENOMEM;
    }
    return *rules != NULL ? 0 : -ENOMEM;
}
