/* What a debugger sends is a stranger's until it has brought the token, and may be nonsense after
 * that, too: whatever it is, it is answered, or the client is done with. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "debug/dap.h"
#include "debug/dap_frame.h"

static char folder[64];

struct client {
    struct dap_place place;
    struct dap *dap;
    struct buf last; /* message */
    unsigned count;
};

static void each_function(void *arg, void (*visit)(void *visit_arg, struct function *function),
                          void *visit_arg)
{
    (void)arg, (void)visit, (void)visit_arg;
}

static struct str root(void *arg)
{
    (void)arg;
    return str_from(folder);
}

static void on_send(void *arg, struct str message)
{
    struct client *client = arg;
    json_t *json = json_loadb(message.ptr, message.len, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "seq")), ++client->count);
    json_decref(json);
    buf_clear(&client->last);
    buf_add_str(&client->last, message);
    buf_add_char(&client->last, '\0');
}

static void put(const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/a.lua", folder);
    (void)unlink(path);
    assert_int_equal(file_create(path, str_from(text), 0600), 0);
}

static int set_up(void **state)
{
    static struct client client;
    strcpy(folder, "/tmp/luafn-dap-XXXXXX");
    assert_non_null(mkdtemp(folder));
    put("local a = 1\n\nlocal b = 2\nreturn a + b\n");
    memset(&client, 0, sizeof(client));
    client.place.options = (struct dap_options){
        .token = STR("the-token"), .each_function = each_function, .root = root};
    client.dap = dap_new(&client.place, on_send, &client);
    *state = &client;
    return client.dap != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    struct client *client = *state;
    char path[128];
    dap_free(client->dap);
    buf_free(&client->last);
    snprintf(path, sizeof(path), "%s/a.lua", folder);
    (void)unlink(path);
    return rmdir(folder);
}

static bool take(struct client *client, const char *message)
{
    return dap_take(client->dap, str_from(message));
}

/* The last message has this text in it. */
static void assert_said(const struct client *client, const char *text)
{
    if (client->last.len == 0 || strstr(client->last.data, text) == NULL)
        fail_msg("%s is not in %s", text, client->last.len > 0 ? client->last.data : "nothing");
}

static void attach(struct client *client)
{
    assert_true(take(client, "{\"seq\":1,\"type\":\"request\",\"command\":\"attach\","
                             "\"arguments\":{\"token\":\"the-token\"}}"));
    assert_said(client, "\"initialized\"");
}

static const char *const commands[] = {"attach",
                                       "configurationDone",
                                       "continue",
                                       "disconnect",
                                       "evaluate",
                                       "exceptionInfo",
                                       "initialize",
                                       "launch",
                                       "next",
                                       "pause",
                                       "reverseContinue",
                                       "scopes",
                                       "setBreakpoints",
                                       "stackTrace",
                                       "stepBack",
                                       "setExceptionBreakpoints",
                                       "setVariable",
                                       "stepIn",
                                       "stepOut",
                                       "threads",
                                       "variables",
                                       "nonsense",
                                       ""};

static const char *const values[] = {"null",
                                     "true",
                                     "0",
                                     "-1",
                                     "1",
                                     "2147483648",
                                     "-9223372036854775808",
                                     "9223372036854775807",
                                     "1e300",
                                     "\"\"",
                                     "\"a.lua\"",
                                     "\"\\ud83d\\ude00\"",
                                     "\"/\"",
                                     "\"../../etc/passwd\"",
                                     "[]",
                                     "{}",
                                     "[[1,{}],null,\"x\"]",
                                     "[{\"line\":1},{\"line\":-1},{\"line\":9e99},{},7]",
                                     "{\"path\":\"a.lua\"}",
                                     "{\"path\":null}",
                                     "[{\"line\":1,\"condition\":{},\"hitCondition\":1}]"};

static const char *const names[] = {"token",
                                    "source",
                                    "breakpoints",
                                    "filters",
                                    "threadId",
                                    "frameId",
                                    "variablesReference",
                                    "name",
                                    "value",
                                    "expression",
                                    "start",
                                    "count",
                                    "levels",
                                    "startFrame",
                                    "filter",
                                    "context",
                                    "localRoot",
                                    "remoteRoot",
                                    "stopOnEntry",
                                    "pathFormat",
                                    "linesStartAt1"};

/* Each member of each command with each value: an answer comes, or the end. */
static void send_all(struct client *client)
{
    for (size_t c = 0; c < sizeof(commands) / sizeof(commands[0]); c++) {
        for (size_t i = 0; i < sizeof(names) * 3 / sizeof(names[0]); i++) {
            char message[512];
            unsigned before = client->count;
            snprintf(message, sizeof(message),
                     "{\"seq\":%u,\"type\":\"request\",\"command\":\"%s\",\"arguments\":{\"%s\":%s,"
                     "\"%s\":%s}}",
                     next_random() % 100, commands[c],
                     names[i % (sizeof(names) / sizeof(names[0]))],
                     values[next_random() % (sizeof(values) / sizeof(values[0]))],
                     names[next_random() % (sizeof(names) / sizeof(names[0]))],
                     values[next_random() % (sizeof(values) / sizeof(values[0]))]);
            bool goes_on = take(client, message);
            assert_true(goes_on == (strcmp(commands[c], "disconnect") != 0));
            assert_true(client->count > before);
            if (!goes_on) {
                dap_free(client->dap);
                client->count = 0;
                client->dap = dap_new(&client->place, on_send, client);
                assert_non_null(client->dap);
            }
        }
    }
}

static void test_before_the_token(void **state)
{
    struct client *client = *state;
    send_all(client);
    assert_null(client->place.attached);
    assert_null(client->place.debugger.breakpoints.sources);
    assert_true(take(client, "{\"type\":\"request\",\"command\":\"threads\"}"));
    assert_said(client, "attach with the host's token first");
}

static void test_with_the_token(void **state)
{
    struct client *client = *state;
    for (int i = 0; i < 5; i++) {
        attach(client);
        send_all(client);
    }
}

/* What is no request ends it. */
static void test_no_requests(void **state)
{
    static const char *const messages[] = {"",
                                           "{",
                                           "[]",
                                           "null",
                                           "1",
                                           "\"x\"",
                                           "{}",
                                           "\xff",
                                           "{\"type\":\"request\"}",
                                           "{\"type\":\"request\",\"command\":null}",
                                           "{\"type\":\"request\",\"command\":{}}",
                                           "{\"type\":\"event\",\"command\":\"threads\"}",
                                           "{\"type\":7,\"command\":\"threads\"}",
                                           "{\"command\":\"threads\"}",
                                           "{\"type\":\"request\",\"command\":\"threads\"} x"};
    struct client *client = *state;
    attach(client);
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
        assert_false(take(client, messages[i]));
    struct buf deep = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        buf_add_char(&deep, '[');
    assert_false(dap_take(client->dap, buf_str(&deep)));
    buf_free(&deep);
    assert_false(dap_take(client->dap, (struct str){"{\"type\":\"request\0\"}", 19}));
}

static unsigned moved(struct client *client)
{
    unsigned before = client->count;
    dap_reloaded(client->dap);
    return client->count - before;
}

static void test_breakpoints_after_a_reload(void **state)
{
    struct client *client = *state;
    attach(client);
    assert_true(take(
        client, "{\"seq\":2,\"type\":\"request\",\"command\":\"setBreakpoints\",\"arguments\":{"
                "\"source\":{\"path\":\"a.lua\"},\"breakpoints\":[{\"line\":2},{\"line\":4},"
                "{\"line\":4,\"hitCondition\":\"x\"}]}}"));
    /* The path is not absolute: it is looked for where the program runs. */
    assert_said(client, "cannot be read");
    char message[512];
    snprintf(message, sizeof(message),
             "{\"seq\":2,\"type\":\"request\",\"command\":\"setBreakpoints\",\"arguments\":{"
             "\"source\":{\"path\":\"%s/a.lua\"},\"breakpoints\":[{\"line\":2},{\"line\":4},"
             "{\"line\":3,\"hitCondition\":\"x\"}]}}",
             folder);
    assert_true(take(client, message));
    assert_said(client, "\"line\":3");
    struct breakpoints *all = &client->place.debugger.breakpoints;
    const struct breakpoint *b = breakpoints_find(all, "a.lua", 3);
    assert_true(b != NULL && b->verified && b->asked == 2 && breakpoints_may(all, 3));

    assert_int_equal(moved(client), 0);
    put("local a = 1\n\n\n\nlocal b = 2\nreturn a + b\n");
    assert_int_equal(moved(client), 2);
    assert_int_equal(b->line, 5);
    assert_true(breakpoints_may(all, 5) && !breakpoints_may(all, 3));
    put("local a = = 1\n");
    assert_int_equal(moved(client), 0);
    put("\xff\x00");
    assert_int_equal(moved(client), 0);
    put("return 1\n");
    assert_int_equal(moved(client), 2);
    assert_said(client, "no code here or below");
    assert_false(b->verified);
    put("local a = 1\n\nlocal b = 2\nreturn a + b\n");
    assert_int_equal(moved(client), 2);
    assert_true(b->verified && b->line == 3);
}

static void test_frames(void **state)
{
    (void)state;
    struct dap_frames frames = {.taken = 0};
    struct str message;
    static const char good[] = "Content-Length: 2\r\nX: y\r\n\r\n{}CONTENT-length:3\r\n\r\n[1]Con";
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        assert_true(dap_frame_add(&frames, (struct str){good + i, 1}));
        enum dap_frame got = dap_frame_next(&frames, &message);
        bool ends = strchr("}]", good[i]) != NULL;
        assert_int_equal(got, ends ? DAP_FRAME_MESSAGE : DAP_FRAME_MORE);
    }
    dap_frame_free(&frames);
    static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n",
                                      "Content-Length: -1\r\n\r\n",
                                      "Content-Length: 99999999999999999999\r\n\r\n",
                                      "Content-Length: 2x\r\n\r\n",
                                      "Content-Length:\r\n\r\n",
                                      "\r\n\r\n",
                                      "X"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dap_frames one = {.taken = 0};
        assert_true(dap_frame_add(&one, str_from(bad[i])));
        assert_int_equal(dap_frame_next(&one, &message), DAP_FRAME_BAD);
        assert_non_null(one.why);
        dap_frame_free(&one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_the_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_with_the_token, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_requests, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_breakpoints_after_a_reload, set_up, tear_down),
        cmocka_unit_test(test_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
