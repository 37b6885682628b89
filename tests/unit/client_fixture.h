/* The outbound client and a small server on one loop. */
#pragma once

#include "unit.h"

#include <signal.h>

#include "client/client.h"
#include "fake_http.h"

struct fixture {
    uv_loop_t loop;
    struct client *client; /* a test may free it, and leaves NULL */
    struct fake fake;
    struct str listed[1]; /* hosts that calls may go to */
    unsigned done;        /* calls, where a test counts them */
};

static inline struct fixture *client_fixture_new(struct str listed)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&fx->loop);
    fx->client = client_new(&fx->loop);
    assert_non_null(fx->client);
    fake_start(&fx->fake, &fx->loop, 0);
    fx->listed[0] = listed;
    return fx;
}

/* Nothing may be left on the loop. */
static inline void client_fixture_free(struct fixture *fx)
{
    client_free(fx->client);
    fake_stop(&fx->fake);
    uv_run(&fx->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fx->loop), 0);
    free(fx);
}
