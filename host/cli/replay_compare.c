/* Telling what a replay gave. */
#include "cli/replay_compare.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "json/dump.h"

enum { SHOWN = 300 };

struct comparison {
    const struct rerun *run;
    unsigned differences;
    json_t *list; /* owned: the differences, where JSON is wanted; else NULL */
};

static void on_difference(void *arg, const char *what, const char *was, const char *is)
{
    struct comparison *c = arg;
    c->differences++;
    if (c->list != NULL) {
        json_t *one = json_pack("{s:s,s:s,s:s}", "what", what, "was", was, "is", is);
        (void)json_array_append_new(c->list, one != NULL ? one : json_null());
        return;
    }
    printf("%s\n  was  %.*s\n  is   %.*s\n", what, SHOWN, was, SHOWN, is);
}

/* A line of JSON. */
static void print_json(const struct comparison *c, struct str divergence)
{
    json_t *out = json_pack("{s:b,s:I}", "same", c->differences == 0 && divergence.len == 0,
                            "calls", (json_int_t)replayer_calls(c->run->replayer));
    json_t *body = divergence.len == 0 ? rerun_shown_body(c->run) : NULL;
    int rc = out == NULL;
    if (divergence.len > 0)
        rc |= json_object_set_new(out, "another_way", json_stringn(divergence.ptr, divergence.len));
    else
        rc |= json_object_set_new(out, "status", json_integer(c->run->ex->res.status)) |
              json_object_set_new(out, "body", body != NULL ? body : json_null()) |
              json_object_set(out, "differences", c->list);
    char *text = rc == 0 ? dump_json_text(out, JSON_COMPACT) : NULL;
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
        printf("the same: %d, after %u calls\n", c->run->ex->res.status,
               replayer_calls(c->run->replayer));
}

int replay_compare(const struct rerun *run, bool as_json)
{
    struct comparison c = {.run = run};
    struct str divergence = replayer_divergence(run->replayer);
    struct str env = replayer_changed_env(run->replayer);
    c.list = as_json ? json_array() : NULL;
    if (as_json && c.list == NULL)
        return cli_fault("out of memory");
    if (env.len > 0)
        fprintf(stderr, "%.*s has another value than it had\n", STR_ARG(env));
    if (divergence.len == 0)
        rerun_compare(run, on_difference, &c);
    print_end(&c, divergence);
    json_decref(c.list);
    int rc = cli_flush("replay");
    return c.differences == 0 && divergence.len == 0 ? rc : EXIT_FAULT;
}
