/* Comparing two answers, after redaction on both sides: JSON by its values, other texts byte by
 * byte; a fault by its message. */
#include "cli/replay_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "run/outcome.h"

enum { SHOWN = 300 };

struct comparison {
    const json_t *record;
    struct replayer *replayer;
    struct local_call *call;
    unsigned differences;
    json_t *list; /* owned: the differences, where JSON is wanted; else NULL */
    json_t *body; /* owned: the answer's, after redaction; NULL: none, or it was not compared */
};

static void differ(struct comparison *c, const char *what, const char *was, const char *is)
{
    c->differences++;
    if (c->list != NULL) {
        json_t *one = json_pack("{s:s,s:s,s:s}", "what", what, "was", was, "is", is);
        (void)json_array_append_new(c->list, one != NULL ? one : json_null());
        return;
    }
    printf("%s\n  was  %.*s\n  is   %.*s\n", what, SHOWN, was, SHOWN, is);
}

/* ---- body ---- */

static json_t *parse(const char *text, size_t len)
{
    json_t *value = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
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
                                 : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* Of a cut one what there is of it. */
static void compare_body(struct comparison *c)
{
    const json_t *was = json_object_get(json_object_get(c->record, "answer"), "body");
    struct buf text = BUF_INIT;
    size_t max = LIMIT_JOURNAL_TEXT;
    if (json_object_get(was, "cut") != NULL)
        max = json_string_length(json_object_get(was, "text"));
    redact_add_text(replayer_redact(c->replayer), local_body(c->call), max, &text);
    json_t *is = buf_failed(&text)
                     ? NULL
                     : json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool both_empty = was == NULL && json_string_length(is) == 0 && json_is_string(is);
    if (!both_empty && !same_texts(was, is)) {
        char *old = was != NULL ? dump(was) : strdup(""), *new = is != NULL ? dump(is) : strdup("");
        differ(c, "body", old != NULL ? old : "?", new != NULL ? new : "?");
        free(old);
        free(new);
    }
    c->body = is;
    buf_free(&text);
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
static void compare_lists(struct comparison *c, const json_t *list, const json_t *other, bool was)
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

static void compare_headers(struct comparison *c)
{
    const struct headers *headers = &c->call->ex->res.headers;
    const json_t *was = json_object_get(json_object_get(c->record, "answer"), "headers");
    struct buf text = BUF_INIT;
    redact_add_headers(replayer_redact(c->replayer), headers->items, headers->len, &text);
    json_t *is = buf_failed(&text) ? NULL : json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
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

static void compare_faults(struct comparison *c)
{
    const json_t *fault = json_object_get(c->record, "fault");
    const char *text = json_string_value(json_object_get(fault, "message"));
    char first[4096], second[4096], old[SHOWN], new[SHOWN];
    struct str was = plain(str_from(text), first);
    struct str is = plain(replayer_fault(c->replayer), second);
    if (str_eq(was, is))
        return;
    snprintf(old, sizeof(old), "%.*s", STR_ARG(was.len > 0 ? was : STR("none")));
    snprintf(new, sizeof(new), "%.*s", STR_ARG(is.len > 0 ? is : STR("none")));
    differ(c, "fault", old, new);
}

/* A line of JSON. */
static void print_json(const struct comparison *c, struct str divergence)
{
    json_t *out = json_pack("{s:b,s:I}", "same", c->differences == 0 && divergence.len == 0,
                            "calls", (json_int_t)replayer_calls(c->replayer));
    int rc = out == NULL;
    if (divergence.len > 0)
        rc |= json_object_set_new(out, "another_way", json_stringn(divergence.ptr, divergence.len));
    else
        rc |= json_object_set_new(out, "status", json_integer(c->call->ex->res.status)) |
              json_object_set(out, "body", c->body != NULL ? c->body : json_null()) |
              json_object_set(out, "differences", c->list);
    char *text = rc == 0 ? json_dumps(out, JSON_COMPACT) : NULL;
    puts(text != NULL ? text : "{\"fault\":\"out of memory\"}");
    free(text);
    json_decref(out);
}

static void print_end(const struct comparison *c, struct str divergence)
{
    if (c->list != NULL)
        print_json(c, divergence);
    else if (divergence.len > 0)
        printf("another way: %.*s\n", STR_ARG(divergence));
    else if (c->differences == 0)
        printf("the same: %d, after %u calls\n", c->call->ex->res.status,
               replayer_calls(c->replayer));
}

static void compare(struct comparison *c)
{
    int was = (int)json_integer_value(json_object_get(c->record, "status"));
    int is = c->call->ex->res.status;
    bool failed =
        json_object_get(c->record, "fault") != NULL || replayer_fault(c->replayer).len > 0;
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

int replay_compare(const json_t *record, struct replayer *replayer, struct local_call *call,
                   bool as_json)
{
    struct comparison c = {.record = record, .replayer = replayer, .call = call};
    struct str divergence = replayer_divergence(replayer);
    struct str env = replayer_changed_env(replayer);
    c.list = as_json ? json_array() : NULL;
    if (as_json && c.list == NULL)
        return cli_fault("out of memory");
    if (env.len > 0)
        fprintf(stderr, "%.*s has another value than it had\n", STR_ARG(env));
    if (divergence.len == 0)
        compare(&c);
    print_end(&c, divergence);
    json_decref(c.list);
    json_decref(c.body);
    int rc = cli_flush("replay");
    return c.differences == 0 && divergence.len == 0 ? rc : EXIT_FAULT;
}
