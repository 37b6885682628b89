/* luafn invoke: runs one function in this process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "cli/cli.h"
#include "cli/local.h"

struct invoke {
    const char *config_file, *name, *payload, *method, *path, *subject, *scope;
    bool is_signed;
    struct option_list headers;
    struct buf file; /* owned: of --payload @FILE */
};

static struct str text_or_nothing(const char *text)
{
    return text != NULL ? str_from(text) : (struct str){NULL, 0};
}

/* TEXT, @FILE or @- for stdin. */
static int get_payload(struct invoke *o, struct str *out)
{
    *out = text_or_nothing(o->payload);
    if (o->payload == NULL || o->payload[0] != '@')
        return 0;
    const char *path = o->payload + 1;
    int rc = strcmp(path, "-") != 0 ? file_read_all(path, 0, LIMIT_FN_BODY, &o->file)
                                    : file_read_rest(STDIN_FILENO, LIMIT_FN_BODY, &o->file);
    *out = o->file.len > 0 ? buf_str(&o->file) : STR("");
    if (rc == -EFBIG)
        return cli_fault("--payload is larger than %zu bytes", LIMIT_FN_BODY);
    return rc == 0 ? 0 : cli_fault("--payload: %s cannot be read: %s", path, strerror(-rc));
}

/* "K: V" */
static int add_header(struct local_call *call, const char *text)
{
    struct err err;
    struct str line = str_from(text);
    size_t colon = str_find(line, ':');
    if (colon == line.len)
        return cli_usage(&command_invoke, "--header is 'NAME: VALUE', not '%s'", text);
    struct str name = {text, colon};
    if (local_add_header(call, name, str_skip(line, colon + 1), &err) != 0)
        return cli_usage(&command_invoke, "%s", err.text);
    return 0;
}

static int sign_in(const struct invoke *o, struct local *local, struct local_call *call,
                   const struct function *function)
{
    struct err err;
    if (o->subject == NULL && o->scope == NULL)
        return 0;
    json_t *claims = json_pack("{s:s, s:s}", "sub", o->subject != NULL ? o->subject : "auth0|dev",
                               "azp", "luafn-demo");
    if (claims == NULL)
        return cli_usage(&command_invoke, "--as is not UTF-8");
    if (o->scope != NULL && json_object_set_new(claims, "scope", json_string(o->scope)) != 0) {
        json_decref(claims);
        return cli_usage(&command_invoke, "--scope is not UTF-8");
    }
    return local_sign_in(local, call, function, claims, &err) == 0
               ? 0
               : cli_fault("no token can be made: %s", err.text);
}

/* Body and status in one place, a terminal or a pipe: the status has a line of its own there. */
static bool is_where_status_goes(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 &&
           out.st_dev == err.st_dev && out.st_ino == err.st_ino;
}

static int print_answer(const struct local_call *call)
{
    int status = call->ex->res.status;
    struct str body = local_body(call);
    if (buf_failed(&call->streamed))
        return cli_fault("out of memory");
    cli_write(body);
    if (body.len > 0 && body.ptr[body.len - 1] != '\n' && is_where_status_goes())
        fputc('\n', stdout);
    if (cli_flush(command_invoke.name) != EXIT_GOOD)
        return EXIT_FAULT;
    fprintf(stderr, "%d %s\n", status, response_reason(status));
    return status < 400 ? EXIT_GOOD : EXIT_FAULT;
}

static int send_request(struct invoke *o, struct local *local, struct local_call *call)
{
    struct err err;
    struct str payload;
    struct function *function = NULL;
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < o->headers.count; i++)
        rc = add_header(call, o->headers.items[i]);
    if (rc == 0)
        rc = get_payload(o, &payload);
    if (rc == 0 && o->payload != NULL && local_set_body(call, payload) != 0)
        rc = cli_fault("out of memory");
    if (rc != 0)
        return rc;
    int aimed = local_aim(local, call, str_from(o->name), text_or_nothing(o->method),
                          text_or_nothing(o->path), &function, &err);
    if (aimed != 0)
        return function == NULL && aimed != -ENOENT ? cli_fault("%s", err.text)
                                                    : cli_usage(&command_invoke, "%s", err.text);
    rc = sign_in(o, local, call, function);
    if (rc == 0 && o->is_signed && local_sign(call, function, &err) != 0)
        rc = cli_fault("%s", err.text);
    if (rc != 0)
        return rc;
    local_send(local, call);
    local_finish(local);
    return print_answer(call);
}

static int invoke(struct invoke *o)
{
    struct local local;
    struct local_call call = {.ex = NULL};
    char folder[4000], kv_file[4096];
    bool keeps = cli_state_folder(o->config_file, NULL, folder, sizeof(folder)) == 0;
    snprintf(kv_file, sizeof(kv_file), "%s/kv.mdb", keeps ? folder : "");
    const struct local_options options = {.config_file = o->config_file,
                                          .trust = o->subject != NULL || o->scope != NULL,
                                          .bindings = bindings,
                                          .kv_file = keeps ? kv_file : NULL};
    log_setup(LOG_FORMAT_TEXT, LOG_WARN);
    int rc = local_open(&local, &options);
    log_setup(LOG_FORMAT_TEXT, LOG_INFO); /* what the script says is for the person who called it */
    if (rc == 0)
        rc = local_call_new(&call) == 0 ? send_request(o, &local, &call)
                                        : cli_fault("out of memory");
    local_call_free(&call);
    local_close(&local);
    return rc;
}

static int run(int argc, char **argv)
{
    struct invoke o = {.config_file = "functions.lua"};
    const struct option options[] = {{"--payload", OPTION_TEXT, &o.payload},
                                     {"--method", OPTION_TEXT, &o.method},
                                     {"--path", OPTION_TEXT, &o.path},
                                     {"--header", OPTION_LIST, &o.headers},
                                     {"--as", OPTION_TEXT, &o.subject},
                                     {"--scope", OPTION_TEXT, &o.scope},
                                     {"--config", OPTION_TEXT, &o.config_file},
                                     {"--signed", OPTION_FLAG, &o.is_signed},
                                     {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_invoke, argc, argv, options, &o.name, 1, &count);
    if (rc != 0)
        return rc;
    if (count == 0)
        return cli_usage(&command_invoke,
                         "a function's name is missing; `luafn routes` lists them");
    rc = invoke(&o);
    buf_free(&o.file);
    return rc;
}

const struct command command_invoke = {"invoke", run};
