/* What the store on a server costs over hiredis alone: the same commands, as many at a time, over
 * one connection, by store_submit and by redisAppendFormattedCommand and redisGetReply in a loop.
 * Prints microseconds of processor time for each.
 *
 * usage: store URL */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "store/redis_command.h"
#include "store/redis_url.h"
#include "store/store.h"

enum { WARM = 10000, ROUNDS = 50000, ROUNDS_OF = 3, AT_ONCE_MOST = 64 };

static char value[100];

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "store: %s\n", what);
    exit(1);
}

static struct store_request request_of(enum store_kind kind)
{
    return (struct store_request){
        .kind = kind,
        .space = STR("bench"),
        .key = STR("key"),
        .value = {kind == STORE_SET ? STORE_TEXT : STORE_ABSENT, {value, sizeof(value)}},
        .by = 1,
        .ttl_ms = kind == STORE_COUNT ? 60000 : 0,
        .limit = 1000000000,
    };
}

/* ---- ours ---- */

static struct store *store;
static int left, under_way;

static void on_done(struct store_request *request)
{
    if (request->status != 0)
        fail(store_error_text(request->status));
    buf_clear(&request->out);
    under_way--;
    if (left <= 0)
        return;
    left--;
    under_way++;
    store_submit(store, request);
}

static void run_ours(uv_loop_t *loop, enum store_kind kind, int count, int at_once)
{
    static struct store_request requests[AT_ONCE_MOST];
    left = count;
    for (int i = 0; i < at_once; i++) {
        struct buf out = requests[i].out;
        requests[i] = request_of(kind);
        requests[i].out = out;
        requests[i].done = on_done;
        left--;
        under_way++;
        store_submit(store, &requests[i]);
    }
    while (under_way > 0)
        uv_run(loop, UV_RUN_ONCE);
}

/* ---- hiredis alone ---- */

static void run_bare(redisContext *context, enum store_kind kind, int count, int at_once)
{
    const struct store_request request = request_of(kind);
    struct buf text = BUF_INIT;
    struct redis_command command;
    const char *parts[REDIS_PARTS];
    size_t lengths[REDIS_PARTS];
    if (redis_command_make(&text, "bench", &request, &command) != 0)
        fail("out of memory");
    for (unsigned i = 0; i < command.count; i++) {
        parts[i] = command.parts[i].ptr;
        lengths[i] = command.parts[i].len;
    }
    for (int done = 0; done < count; done += at_once) {
        for (int i = 0; i < at_once; i++)
            redisAppendCommandArgv(context, (int)command.count, parts, lengths);
        for (int i = 0; i < at_once; i++) {
            redisReply *reply;
            if (redisGetReply(context, (void **)&reply) != REDIS_OK ||
                reply->type == REDIS_REPLY_ERROR)
                fail("hiredis has no reply");
            freeReplyObject(reply);
        }
    }
    buf_free(&text);
}

/* The least of several rounds, in turns: whatever else the machine does hits both. */
static void compare(uv_loop_t *loop, redisContext *context, const char *name, enum store_kind kind,
                    int at_once)
{
    double ours = 1e9, bare = 1e9;
    run_ours(loop, kind, WARM, at_once);
    run_bare(context, kind, WARM, at_once);
    for (int i = 0; i < ROUNDS_OF; i++) {
        double began = cpu_us();
        run_ours(loop, kind, ROUNDS, at_once);
        double between = cpu_us();
        run_bare(context, kind, ROUNDS, at_once);
        double end = cpu_us();
        ours = between - began < ours ? between - began : ours;
        bare = end - between < bare ? end - between : bare;
    }
    printf("%-6s %2d at a time: %6.2f us, hiredis alone %6.2f us, ratio %.2f\n", name, at_once,
           ours / ROUNDS, bare / ROUNDS, ours / bare);
}

int main(int argc, char **argv)
{
    static struct redis_address address;
    struct err err;
    uv_loop_t loop;
    if (argc != 2 || redis_url_parse(str_from(argv[1]), STR("/"), &address, &err) != 0)
        fail(argc == 2 ? err.text : "usage: store URL");
    memset(value, 'x', sizeof(value));
    redisContext *context =
        redisConnect(address.places[0].host, (int)strtol(address.places[0].port, NULL, 10));
    if (context == NULL || context->err != 0 || uv_loop_init(&loop) != 0 ||
        (store = store_connect(&loop, &address)) == NULL)
        fail("no connection");
    for (int at_once = 1; at_once <= AT_ONCE_MOST; at_once *= 8) {
        compare(&loop, context, "get", STORE_GET, at_once);
        compare(&loop, context, "set", STORE_SET, at_once);
        compare(&loop, context, "count", STORE_COUNT, at_once);
    }
    store_close(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    store_free(store);
    redisFree(context);
    return 0;
}
