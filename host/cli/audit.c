/* luafn audit: the known attacks on tokens, fired at a running host.
 *
 * Nothing is fetched but from the given host, and from the URL of --jwks. What the host must refuse
 * is a 401, or a head that is too much for it; a 5xx is a fault. Any other answer to a bad token, a
 * 403 or a 404 of the handler's own among them, means that it was believed, unless that is what the
 * host says to plain junk as well. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/audit_internal.h"
#include "cli/cli.h"
#include "cli/dev_place.h"

/* ---- firing ---- */

static void send_attack(struct audit *a, const struct target *target, const struct attack *attack)
{
    struct header headers[2];
    for (unsigned i = 0; i < attack->header_count; i++)
        headers[i] = (struct header){STR("Authorization"), attack->headers[i]};
    struct str url =
        arena_printf(&a->arena, "%.*s%.*s%s%.*s", STR_ARG(a->origin), STR_ARG(target->path),
                     attack->query.len > 0 ? "?" : "", STR_ARG(attack->query));
    probe_send(&a->probe, target->method, url, headers, attack->header_count, &a->answer);
}

enum result { RESULT_OK, RESULT_THROUGH, RESULT_FAULT };

static enum result judge_answer(const struct audit *a, const struct attack *attack)
{
    long status = a->answer.status;
    bool success = status >= 200 && status < 300;
    if (attack->good) /* a 403 was believed, and may not do this */
        return success || status == 403 ? RESULT_OK : RESULT_FAULT;
    if (status == 0)
        return attack->oversize ? RESULT_OK : RESULT_FAULT;
    if (status >= 500)
        return RESULT_FAULT;
    bool refused =
        status == 401 || status == 400 || status == 413 || status == 414 || status == 431;
    bool as_junk = !success && status == a->junk_status;
    return refused || as_junk ? RESULT_OK : RESULT_THROUGH;
}

/* A member of the answer's error frame, as {"error":...,"error_description":...}; empty: none. */
static void read_member(const struct audit *a, const char *name, char *out, size_t size)
{
    struct str body = buf_str(&a->answer.body);
    json_t *frame = json_loadb(body.ptr, body.len, 0, NULL);
    const char *text = json_string_value(json_object_get(frame, name));
    snprintf(out, size, "%s", text != NULL ? text : "");
    json_decref(frame);
}

static void print_result(const struct audit *a, const struct target *target,
                         const struct attack *attack, enum result result)
{
    static const char *const words[] = {"ok", "LET THROUGH", "FAULT"};
    static const char *const colours[] = {"\033[32m", "\033[31m", "\033[33m"};
    bool colour = isatty(STDOUT_FILENO) != 0;
    char actual[256], why[200];
    read_member(a, "error_description", why, sizeof(why));
    if (a->answer.status != 0)
        snprintf(actual, sizeof(actual), "%ld%s%s", a->answer.status, why[0] != '\0' ? "  " : "",
                 why);
    else
        snprintf(actual, sizeof(actual), "no answer: %s", a->answer.error);
    printf("%s%-11s%s  %-42.*s  %.*s %-30.*s  %-9s  %s\n", colour ? colours[result] : "",
           words[result], colour ? "\033[0m" : "", STR_ARG(attack->name), STR_ARG(target->method),
           STR_ARG(target->path), attack->good ? "200, 403" : "401", actual);
}

static void fire(struct audit *a, const struct target *target, const struct attack *attack)
{
    send_attack(a, target, attack);
    enum result result = judge_answer(a, attack);
    a->fired++;
    a->passed += result == RESULT_OK;
    a->through += result == RESULT_THROUGH;
    a->faults += result == RESULT_FAULT;
    print_result(a, target, attack, result);
}

/* Is the route there, and does it ask for a token? A function without `auth` may be open on
 * purpose. */
static bool is_protected(struct audit *a, const struct target *target)
{
    const struct attack none = {.name = STR("no token")};
    const struct attack junk = {.headers = {STR("Bearer junk")}, .header_count = 1};
    send_attack(a, target, &none);
    long status = a->answer.status;
    char code[32];
    read_member(a, "error", code, sizeof(code));
    bool missing =
        status == 0 || status == 405 || (status == 404 && strcmp(code, "not_found") == 0);
    bool open = !target->asks && !missing && status >= 200 && status < 500 && status != 401;
    if (open || missing) {
        printf("%-11s  %-42s  %.*s %.*s\n", missing ? "FAULT" : "open",
               status == 0 ? a->answer.error
               : missing   ? "there is nothing to attack"
                           : "let in without a token, and has no `auth`",
               STR_ARG(target->method), STR_ARG(target->path));
        a->faults += missing;
        return false;
    }
    send_attack(a, target, &junk);
    a->junk_status = a->answer.status;
    return true;
}

static void print_head(const struct audit *a)
{
    printf("forged tokens say iss %.*s, aud %.*s\n", STR_ARG(a->plan.issuer),
           STR_ARG(a->plan.audience));
    if (a->keys == NULL)
        printf("skipped: public keys as secrets; give --jwks URL\n");
    if (a->plan.token.len == 0)
        printf("skipped: changes to a good token; give --token TOKEN\n");
    printf("\n%-11s  %-42s  %-34s  %-9s  %s\n", "", "attack", "route", "expected", "actual");
}

static int fire_all(struct audit *a)
{
    unsigned routes = 0;
    print_head(a);
    for (unsigned t = 0; t < a->target_count; t++) {
        if (!is_protected(a, &a->targets[t]))
            continue;
        routes++;
        for (unsigned i = 0; i < a->plan.count; i++)
            fire(a, &a->targets[t], &a->plan.attacks[i]);
        fflush(stdout);
    }
    printf("\n%u requests at %u protected route%s: %u as expected, %u let through, %u faults\n",
           a->fired, routes, routes == 1 ? "" : "s", a->passed, a->through, a->faults);
    if (routes == 0)
        return cli_fault("no protected route was found");
    return a->through + a->faults == 0 ? EXIT_GOOD : EXIT_FAULT;
}

/* ---- setting up ---- */

static int make_plan(struct audit *a)
{
    struct audit_plan *plan = &a->plan;
    struct err err;
    plan->arena = &a->arena;
    plan->keys = a->keys;
    if (plan->issuer.ptr == NULL)
        plan->issuer = arena_printf(&a->arena, "%.*s/", STR_ARG(a->origin));
    if (plan->audience.ptr == NULL)
        plan->audience = STR(DEV_AUDIENCE);
    int rc = audit_plan_make(plan, &err);
    if (rc == -EINVAL)
        return cli_usage(&command_audit, "--token is no signed token, three parts with dots "
                                         "between, such as `luafn token` prints");
    return rc == 0 ? 0 : cli_fault("%s", err.text);
}

static int audit_run(struct audit *a, const char *url)
{
    int rc = audit_find_targets(a, url);
    if (rc == 0)
        rc = audit_find_keys(a);
    if (rc == 0)
        rc = make_plan(a);
    if (rc == 0)
        rc = fire_all(a);
    keyset_unref(a->keys);
    buf_free(&a->answer.body);
    return rc;
}

static int run(int argc, char **argv)
{
    static struct audit a;
    const char *url = NULL, *token = NULL, *issuer = NULL, *audience = NULL;
    int count = 0;
    const struct option options[] = {
        {"--config", OPTION_TEXT, &a.config_file}, {"--token", OPTION_TEXT, &token},
        {"--jwks", OPTION_TEXT, &a.key_set_url},   {"--issuer", OPTION_TEXT, &issuer},
        {"--aud", OPTION_TEXT, &audience},         {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_audit, argc, argv, options, &url, 1, &count);
    if (rc == 0 && count == 0)
        rc = cli_usage(&command_audit, "a URL is missing, as http://127.0.0.1:8888");
    if (rc != 0)
        return rc;
    a.command = &command_audit;
    arena_init(&a.arena);
    a.plan.token = str_from(token);
    a.plan.issuer = str_from(issuer);
    a.plan.audience = str_from(audience);
    if (probe_open(&a.probe) != 0)
        return cli_fault("out of memory");
    rc = audit_run(&a, url);
    probe_close(&a.probe);
    arena_free(&a.arena);
    return rc;
}

const struct command command_audit = {"audit", run};
