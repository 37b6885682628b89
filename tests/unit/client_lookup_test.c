/* Names and their look-ups, with a name server that answers when the test likes. */
#include "client_fixture.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>

#include "base/limits.h"

enum { MANY = 60, NAMES = 300 };

/* ---- instead of the system's resolver ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;                     /* it answers */
    unsigned asked, running, most; /* in all; now; at once */
} dns = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct addrinfo *loopback(void)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in address;
    } *made = calloc(1, sizeof(*made));
    made->address.sin_family = AF_INET;
    made->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    made->info = (struct addrinfo){.ai_family = AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_addr = (struct sockaddr *)(void *)&made->address,
                                   .ai_addrlen = sizeof(made->address)};
    return &made->info;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list)
{
    (void)service;
    (void)hints;
    pthread_mutex_lock(&dns.lock);
    dns.asked++;
    dns.running++;
    dns.most = dns.running > dns.most ? dns.running : dns.most;
    pthread_cond_broadcast(&dns.changed);
    while (!dns.open)
        pthread_cond_wait(&dns.changed, &dns.lock);
    dns.running--;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
    if (strncmp(name, "gone", 4) == 0)
        return EAI_NONAME;
    if (strncmp(name, "dead", 4) == 0)
        return EAI_AGAIN;
    *list = loopback();
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

static void set_open(bool open)
{
    pthread_mutex_lock(&dns.lock);
    dns.open = open;
    pthread_cond_broadcast(&dns.changed);
    pthread_mutex_unlock(&dns.lock);
}

static void wait_for_running(unsigned count)
{
    pthread_mutex_lock(&dns.lock);
    while (dns.running != count)
        pthread_cond_wait(&dns.changed, &dns.lock);
    pthread_mutex_unlock(&dns.lock);
}

/* ---- calls ---- */

struct outcome {
    struct fixture *fx;
    struct client_call *call;
    bool done;
    int error;
    long status;
    char text[128];
    bool free_client; /* in the callback */
};

static void on_done(void *arg, const struct client_response *res)
{
    struct outcome *out = arg;
    assert_false(out->done);
    out->done = true;
    out->error = res->error;
    out->status = res->status;
    snprintf(out->text, sizeof(out->text), "%s", res->error_text != NULL ? res->error_text : "");
    out->fx->done++;
    if (out->free_client) {
        client_free(out->fx->client);
        out->fx->client = NULL;
    }
    uv_stop(&out->fx->loop);
}

static int setup(void **state)
{
    struct fixture *fx = client_fixture_new(STR("*.test"));
    fake_route(&fx->fake, "/a")->body = "ok";
    dns.asked = dns.most = 0;
    set_open(false);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    set_open(true);
    client_fixture_free(*state);
    wait_for_running(0);
    return 0;
}

static void start(struct fixture *fx, const char *name, double timeout, struct outcome *out)
{
    char url[128];
    struct err err = {.text = ""};
    snprintf(url, sizeof(url), "http://%s.test:%d/a", name, fx->fake.port);
    struct client_request req = {.url = str_from(url),
                                 .timeout = timeout,
                                 .max_bytes = 1000,
                                 .rules = {.hosts = fx->listed, .host_count = 1}};
    *out = (struct outcome){.fx = fx};
    assert_int_equal(client_start(fx->client, &req, on_done, out, &out->call, &err), 0);
    assert_false(out->done);
}

static void wait_for(struct fixture *fx, unsigned count)
{
    while (fx->done < count)
        uv_run(&fx->loop, UV_RUN_DEFAULT);
}

static struct outcome ask(struct fixture *fx, const char *name)
{
    struct outcome out;
    unsigned before = fx->done;
    start(fx, name, 20, &out);
    wait_for(fx, before + 1);
    return out;
}

/* ---- the tests ---- */

static void many_calls_ask_once(void **state)
{
    struct fixture *fx = *state;
    static struct outcome outs[MANY];
    for (int i = 0; i < MANY; i++)
        start(fx, i % 2 == 0 ? "api" : "API", 20, &outs[i]);
    wait_for_running(1);
    set_open(true);
    wait_for(fx, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(outs[i].status, 200);
    assert_int_equal(dns.asked, 1);
    assert_int_equal(ask(fx, "api").status, 200);
    assert_int_equal(dns.asked, 1); /* it is known now */
    assert_int_equal(ask(fx, "other").status, 200);
    assert_int_equal(dns.asked, 2);
}

static void a_dead_name_server_holds_few_threads(void **state)
{
    struct fixture *fx = *state;
    static struct outcome outs[NAMES];
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "name%d", i);
        start(fx, name, 0.3, &outs[i]);
    }
    wait_for_running(LIMIT_LOOKUPS);
    wait_for(fx, NAMES);
    for (int i = 0; i < NAMES; i++) {
        assert_int_equal(outs[i].error, -ETIMEDOUT);
        assert_string_equal(outs[i].text, "host not found in time (ETIMEDOUT)");
    }
    assert_int_equal(dns.asked, LIMIT_LOOKUPS);
    set_open(true);
    assert_int_equal(ask(fx, "name299").status, 200); /* it was not asked for yet */
    assert_int_equal(ask(fx, "name0").status, 200);
    assert_int_equal(dns.most, LIMIT_LOOKUPS);
}

static void names_that_wait_have_their_turn(void **state)
{
    struct fixture *fx = *state;
    static struct outcome outs[NAMES];
    char name[32];
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof(name), "name%d", i);
        start(fx, name, 60, &outs[i]);
    }
    wait_for_running(LIMIT_LOOKUPS);
    set_open(true);
    wait_for(fx, NAMES);
    for (int i = 0; i < NAMES; i++)
        assert_int_equal(outs[i].status, 200);
    assert_int_equal(dns.asked, NAMES);
    assert_true(dns.most <= LIMIT_LOOKUPS);
}

static void failures_are_told_and_asked_again(void **state)
{
    struct fixture *fx = *state;
    set_open(true);
    for (int i = 0; i < 2; i++) {
        struct outcome out = ask(fx, "gone");
        assert_int_equal(out.error, -ENOENT);
        assert_string_equal(out.text, "host not found (ENOTFOUND)");
    }
    assert_int_equal(dns.asked, 2);
    struct outcome out = ask(fx, "dead");
    assert_int_equal(out.error, -ENOENT);
    assert_string_equal(out.text, "no name server answers for the host (EAI_AGAIN)");
}

static void what_a_name_turns_out_to_be_is_judged(void **state)
{
    struct fixture *fx = *state;
    set_open(true);
    fx->listed[0] = STR("*"); /* anybody out there, and not this machine */
    struct outcome out = ask(fx, "inside");
    assert_int_equal(out.error, -EACCES);
    assert_int_equal(fx->fake.accepted, 0);
}

static void calls_may_leave_while_they_wait(void **state)
{
    struct fixture *fx = *state;
    struct outcome a, b, c;
    start(fx, "api", 20, &a);
    start(fx, "api", 20, &b);
    start(fx, "gone", 20, &c);
    wait_for_running(2);
    client_cancel(a.call);
    client_cancel(c.call);
    set_open(true);
    wait_for(fx, 1);
    assert_false(a.done);
    assert_false(c.done);
    assert_int_equal(b.status, 200);
}

static void the_client_may_go_while_threads_are_out(void **state)
{
    struct fixture *fx = *state;
    struct outcome out;
    start(fx, "api", 20, &out);
    wait_for_running(1);
    client_free(fx->client);
    fx->client = NULL;
    for (int i = 0; i < 10; i++)
        uv_run(&fx->loop, UV_RUN_NOWAIT); /* its handles close; nobody waits for the thread */
    set_open(true);
    wait_for_running(0);
    assert_false(out.done);
}

static void a_callback_may_free_the_client(void **state)
{
    struct fixture *fx = *state;
    struct outcome a, b;
    start(fx, "gone", 20, &a);
    start(fx, "gone", 20, &b);
    a.free_client = b.free_client = true;
    set_open(true);
    wait_for(fx, 1);
    assert_int_equal((int)a.done + (int)b.done, 1);
    assert_null(fx->client);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_callback_may_free_the_client),
        CASE(a_dead_name_server_holds_few_threads),
        CASE(calls_may_leave_while_they_wait),
        CASE(failures_are_told_and_asked_again),
        CASE(many_calls_ask_once),
        CASE(names_that_wait_have_their_turn),
        CASE(the_client_may_go_while_threads_are_out),
        CASE(what_a_name_turns_out_to_be_is_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
