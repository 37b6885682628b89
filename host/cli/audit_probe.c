/* One request after the other. */
#include "cli/audit_probe.h"

#include <errno.h>
#include <stdio.h>

enum { TIMEOUT_SECONDS = 10, BODY_BYTES = 16 * 1024 * 1024 };

struct wait {
    uv_loop_t *loop;
    struct probe_answer *answer;
};

int probe_open(struct probe *probe)
{
    if (uv_loop_init(&probe->loop) != 0)
        return -ENOMEM;
    probe->client = client_new(&probe->loop);
    if (probe->client != NULL)
        return 0;
    uv_loop_close(&probe->loop);
    return -ENOMEM;
}

void probe_close(struct probe *probe)
{
    client_free(probe->client);
    uv_run(&probe->loop, UV_RUN_DEFAULT);
    uv_loop_close(&probe->loop);
}

static void on_done(void *arg, const struct client_response *res)
{
    struct wait *wait = arg;
    wait->answer->status = res->error == 0 ? res->status : 0;
    if (res->error != 0)
        snprintf(wait->answer->error, sizeof(wait->answer->error), "%.120s", res->error_text);
    else
        buf_add_str(&wait->answer->body, res->body);
    uv_stop(wait->loop);
}

void probe_send(struct probe *probe, struct str method, struct str url,
                const struct header *headers, unsigned header_count, struct probe_answer *answer)
{
    struct wait wait = {&probe->loop, answer};
    struct client_call *call;
    struct err err;
    const struct client_request req = {
        .method = method,
        .url = url,
        .headers = headers,
        .header_count = header_count,
        .body = probe->body,
        .timeout = TIMEOUT_SECONDS,
        .max_bytes = BODY_BYTES,
        .rules = probe->rules,
    };
    answer->status = 0;
    answer->error[0] = '\0';
    buf_clear(&answer->body);
    if (client_start(probe->client, &req, on_done, &wait, &call, &err) == 0)
        uv_run(&probe->loop, UV_RUN_DEFAULT);
    else
        snprintf(answer->error, sizeof(answer->error), "%.120s", err.text);
}
