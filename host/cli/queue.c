/* luafn queue: jobs that wait, run, or have failed for good.
 *
 * It reads and writes the store that the hosts of this configuration share; no host need run. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "cli/dev_place.h"
#include "cli/kept_store.h"
#include "store/job.h"

struct queue_command {
    const char *config_file, *id; /* NULL: none */
    bool all, dev;
    enum store_kind kind;
    unsigned counts[JOB_DEAD + 1];
};

/* ---- list ---- */

static void print_job(const struct job *job)
{
    static const char *const states[] = {"waits", "runs", "dead"};
    char text[32];
    time_t time = (time_t)(job->due_ms / 1000);
    struct tm tm;
    gmtime_r(&time, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("%.*s  %-5s  %s  %.*s  tries: %u", STR_ARG(job->id), states[job->state], text,
           STR_ARG(job->function), job->attempt);
    if (job->key.len > 0)
        printf("  key: %.*s", STR_ARG(job->key));
    struct str reason = job->reason;
    for (size_t i = 0; i < reason.len; i++) {
        if (i == 0)
            fputs("  ", stdout);
        unsigned char c = (unsigned char)reason.ptr[i];
        putchar(c < ' ' || c == 0x7f ? ' ' : c);
    }
    putchar('\n');
}

static int list(struct queue_command *q, struct store *store, uv_loop_t *loop)
{
    struct buf after = BUF_INIT;
    bool more = true;
    int status = 0;
    while (status == 0 && more) {
        struct store_request request = {
            .kind = STORE_JOB_LIST, .after = buf_str(&after), .limit = LIMIT_QUEUE_LIST};
        status = kept_store_run(store, loop, &request);
        struct str rest = buf_str(&request.out);
        struct job job;
        while (status == 0 && job_next(&rest, &job)) {
            q->counts[job.state]++;
            if (q->all || job.state == JOB_DEAD)
                print_job(&job);
        }
        more = request.more;
        buf_free(&request.out);
        buf_free(&after);
        after = request.position;
    }
    buf_free(&after);
    if (status == 0)
        printf("%u wait, %u run, %u dead\n", q->counts[JOB_WAITING], q->counts[JOB_RUNNING],
               q->counts[JOB_DEAD]);
    return status;
}

/* ---- retry, drop ---- */

static int change(const struct queue_command *q, struct store *store, uv_loop_t *loop, int64_t *n)
{
    bool more = true;
    int status = 0;
    *n = 0;
    while (status == 0 && more) {
        struct store_request request = {.kind = q->kind, .id = str_from(q->id)};
        status = kept_store_run(store, loop, &request);
        *n += status == 0 ? request.number : 0;
        more = request.more;
    }
    return status;
}

static int change_jobs(const struct queue_command *q, struct store *store, uv_loop_t *loop)
{
    int64_t n;
    bool drops = q->kind == STORE_JOB_DROP;
    int status = change(q, store, loop, &n);
    if (status == 0 && q->id != NULL && n == 0)
        return cli_fault("there is no %s of the id %s: `luafn queue list --all` lists them",
                         drops ? "job that does not run" : "dead letter", q->id);
    if (status == 0)
        printf("%lld %s\n", (long long)n, drops ? "dropped" : "wait again");
    return status == 0 ? 0 : cli_fault("%s", store_error_text(status));
}

/* ---- the command ---- */

static int carry_out(struct queue_command *q, const struct config *config)
{
    uv_loop_t loop;
    struct err err;
    int rc = 0;
    if (uv_loop_init(&loop) != 0)
        return cli_fault("no descriptors are left: raise `ulimit -n`");
    struct store *store = kept_store_open(q->config_file, config, false, &loop, &err);
    if (store == NULL && err.text[0] != '\0') {
        rc = cli_fault("%s", err.text);
    } else if (store == NULL && q->kind == STORE_JOB_LIST) {
        puts("0 wait, 0 run, 0 dead");
    } else if (store == NULL) {
        rc = cli_fault("there are no jobs");
    } else if (q->kind == STORE_JOB_LIST) {
        int status = list(q, store, &loop);
        rc = status == 0 ? 0 : cli_fault("%s", store_error_text(status));
    } else {
        rc = change_jobs(q, store, &loop);
    }
    kept_store_close(store, &loop);
    uv_loop_close(&loop);
    return rc == 0 ? cli_flush("queue") : rc;
}

static int read_words(struct queue_command *q, const char **words, int count)
{
    const char *what = count > 0 ? words[0] : "list";
    q->id = count > 1 ? words[1] : NULL;
    if (strcmp(what, "list") == 0)
        q->kind = STORE_JOB_LIST;
    else if (strcmp(what, "retry") == 0)
        q->kind = STORE_JOB_RETRY;
    else if (strcmp(what, "drop") == 0)
        q->kind = STORE_JOB_DROP;
    else
        return cli_usage(&command_queue, "'%s' is not one of list, retry, drop", what);
    if (q->kind == STORE_JOB_LIST && q->id != NULL)
        return cli_usage(&command_queue, "list takes no id");
    if (q->kind != STORE_JOB_LIST && (q->id != NULL) == q->all)
        return cli_usage(&command_queue, "%s takes the id of a job, or --all", what);
    if (q->id != NULL && q->id[0] == '\0')
        return cli_usage(&command_queue, "the id is empty");
    return 0;
}

static int run(int argc, char **argv)
{
    struct queue_command q = {.config_file = "functions.lua"};
    const char *words[2];
    int count = 0;
    const struct option options[] = {{"--all", OPTION_FLAG, &q.all},
                                     {"--config", OPTION_TEXT, &q.config_file},
                                     {"--dev", OPTION_FLAG, &q.dev},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_queue, argc, argv, options, words, 2, &count);
    if (rc == 0)
        rc = read_words(&q, words, count);
    if (rc != 0)
        return rc;
    struct err err;
    const struct config_options config_options = {
        .file = q.config_file, .dev = q.dev, .defaults = dev_place_defaults(q.config_file)};
    struct config *config = config_load(&config_options, &err);
    if (config == NULL)
        return cli_fault("%s", err.text);
    rc = carry_out(&q, config);
    config_free(config);
    return rc;
}

const struct command command_queue = {"queue", run};
