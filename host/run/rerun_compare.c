/* Comparing a run with its record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "json/dump.h"
#include "json/strict.h"
#include "run/outcome.h"
#include "run/rerun.h"

enum { SHOWN = 300 };

struct comparison {
    const struct rerun *run;
    rerun_differs *differs;
    void *arg;
};

static void differ(const struct comparison *c, const char *what, const char *was, const char *is)
{
    c->differs(c->arg, what, was, is);
}

/* ---- body ---- */

static json_t *parse(const char *text, size_t len)
{
    json_t *value = strict_json_watched((struct str){text, len}, JSON_ALLOW_NUL, NULL);
    return json_is_object(value) || json_is_array(value) ? value : (json_decref(value), NULL);
}

static bool same_texts(const json_t *was, const json_t *is)
{
    if (json_equal((json_t *)(uintptr_t)was, (json_t *)(uintptr_t)is) == 1)
        return true;
    if (!json_is_string(was) || !json_is_string(is))
        return false;
    json_t *a = parse(json_string_value(was), json_string_length(was));
    json_t *b = parse(json_string_value(is), json_string_length(is));
    bool same = a != NULL && b != NULL && json_equal(a, b) == 1;
    json_decref(a);
    json_decref(b);
    return same;
}

static char *dump(const json_t *value)
{
    return json_is_string(value) ? strdup(json_string_value(value))
                                 : dump_json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

static const json_t *body_of(const struct rerun *r)
{
    return json_object_get(json_object_get(r->record, "answer"), "body");
}

/* Of a cut one what there is of it. */
json_t *rerun_shown_body(const struct rerun *r)
{
    const json_t *was = body_of(r);
    struct buf text = BUF_INIT;
    size_t max = LIMIT_JOURNAL_TEXT;
    if (json_object_get(was, "cut") != NULL)
        max = json_string_length(json_object_get(was, "text"));
    redact_add_text(replayer_redact(r->replayer), rerun_body(r), max, &text);
    json_t *is = buf_failed(&text)
                     ? NULL
                     : strict_json_watched(buf_str(&text), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    buf_free(&text);
    return is;
}

static void compare_body(const struct comparison *c)
{
    const json_t *was = body_of(c->run);
    json_t *is = rerun_shown_body(c->run);
    bool both_empty = was == NULL && json_string_length(is) == 0 && json_is_string(is);
    if (!both_empty && !same_texts(was, is)) {
        char *old = was != NULL ? dump(was) : strdup(""), *new = is != NULL ? dump(is) : strdup("");
        differ(c, "body", old != NULL ? old : "?", new != NULL ? new : "?");
        free(old);
        free(new);
    }
    json_decref(is);
}

/* ---- headers ---- */

/* Those that the host adds: by who asks, by generation, by how often. */
static bool is_hosts_own(const char *name)
{
    static const char *const names[] = {"content-encoding",
                                        "vary",
                                        "x-luafn-generation",
                                        "x-luafn-fault",
                                        "ratelimit",
                                        "ratelimit-policy",
                                        "retry-after",
                                        "access-control-allow-origin",
                                        NULL};
    for (const char *const *n = names; *n != NULL; n++) {
        if (str_eq_nocase(str_from(*n), str_from(name)))
            return true;
    }
    return false;
}

static const char *name_of(const json_t *pair)
{
    const char *name = json_string_value(json_array_get(pair, 0));
    return name != NULL ? name : "";
}

/* Each of `list` that `other` has not. */
static void compare_lists(const struct comparison *c, const json_t *list, const json_t *other,
                          bool was)
{
    const json_t *pair;
    size_t i;
    json_array_foreach(list, i, pair)
    {
        bool found = is_hosts_own(name_of(pair));
        for (size_t k = 0; !found && k < json_array_size(other); k++)
            found = json_equal((json_t *)(uintptr_t)pair, json_array_get(other, k)) == 1;
        const char *value = json_string_value(json_array_get(pair, 1));
        char text[SHOWN];
        snprintf(text, sizeof(text), "%s: %s", name_of(pair), value != NULL ? value : "");
        if (!found)
            differ(c, "header", was ? text : "", was ? "" : text);
    }
}

static void compare_headers(const struct comparison *c)
{
    const struct headers *headers = &c->run->ex->res.headers;
    const json_t *was = json_object_get(json_object_get(c->run->record, "answer"), "headers");
    struct buf text = BUF_INIT;
    redact_add_headers(replayer_redact(c->run->replayer), headers->items, headers->len, &text);
    json_t *is =
        buf_failed(&text) ? NULL : strict_json_watched(buf_str(&text), JSON_ALLOW_NUL, NULL);
    compare_lists(c, was, is, true);
    compare_lists(c, is, was, false);
    json_decref(is);
    buf_free(&text);
}

/* ---- the whole ---- */

static struct str plain(struct str message, char out[4096])
{
    if (message.len > 4096)
        message.len = 4096;
    if (message.len == 0)
        return STR("");
    return outcome_without_positions(message, out);
}

static void compare_faults(const struct comparison *c)
{
    const json_t *fault = json_object_get(c->run->record, "fault");
    const char *text = json_string_value(json_object_get(fault, "message"));
    char first[4096], second[4096], old[SHOWN], new[SHOWN];
    struct str was = plain(str_from(text), first);
    struct str is = plain(replayer_fault(c->run->replayer), second);
    if (str_eq(was, is))
        return;
    snprintf(old, sizeof(old), "%.*s", STR_ARG(was.len > 0 ? was : STR("none")));
    snprintf(new, sizeof(new), "%.*s", STR_ARG(is.len > 0 ? is : STR("none")));
    differ(c, "fault", old, new);
}

void rerun_compare(const struct rerun *r, rerun_differs *differs, void *arg)
{
    const struct comparison comparison = {.run = r, .differs = differs, .arg = arg},
                            *c = &comparison;
    int was = (int)json_integer_value(json_object_get(c->run->record, "status"));
    int is = c->run->ex->res.status;
    bool failed = json_object_get(c->run->record, "fault") != NULL ||
                  replayer_fault(c->run->replayer).len > 0;
    if (was != is) {
        char old[16], new[16];
        snprintf(old, sizeof(old), "%d", was);
        snprintf(new, sizeof(new), "%d", is);
        differ(c, "status", old, new);
    }
    compare_faults(c);
    if (!failed || was != is)
        compare_body(c);
    if (!failed)
        compare_headers(c);
}
