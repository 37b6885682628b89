/* luafn explain: why is this token let through, or not?
 *
 * The verdict is that of auth/policy.c over an exchange of our own, with the configuration's
 * verifiers and keys from the last good copy on disk, or fetched now. The rows beside it are for
 * reading. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "app/mcp.h"
#include "auth/token_cache.h"
#include "base/file.h"
#include "base/clock.h"
#include "base/limits.h"
#include "cli/dev_key.h"
#include "cli/dev_place.h"
#include "cli/explain_rows.h"
#include "cli/kept_store.h"
#include "cli/load.h"
#include "cli/run_host.h"
#include "config/config_protect.h"
#include "http/target.h"
#include "issuer/introspection.h"
#include "issuer/token_wait.h"
#include "json/dump.h"
#include "json/strict.h"

struct session {
    uv_loop_t loop;
    struct client *client;
    struct issuers *issuers;
    struct deployment *deployment;
    struct arena arena;
    struct str place;      /* what was asked for: "the function shows", or empty */
    enum policy_kind kind; /* of its policy */
    struct policy policy;  /* what is judged: always POLICY_TOKEN */
    struct exchange *ex;
    double now;
    const char *config_file;
    bool dev_keys;     /* the dev issuer's, which is not running */
    char revoked[128]; /* what is known of revocations */
};

/* ---- keys ---- */

struct key_wait {
    struct issuer_wait wait;
    uv_loop_t *loop;
};

static void on_keys(struct issuer_wait *wait)
{
    uv_stop(container_of(wait, struct key_wait, wait)->loop);
}

/* Has what the verdict lacks fetched, if that may help. */
static void want(struct session *s, const struct verdict *verdict)
{
    struct key_wait wait = {.wait.done = on_keys, .loop = &s->loop};
    if (token_want(s->issuers, verdict, &wait.wait) == 1)
        uv_run(&s->loop, UV_RUN_DEFAULT);
}

/* The keys that `luafn token` signs with, where they have been made. */
static struct keyset *read_dev_keys(const char *config_file)
{
    char path[4096];
    struct keyset *set = NULL;
    struct buf text = BUF_INIT;
    if (cli_state_path(config_file, NULL, path, sizeof(path)) != 0 || access(path, R_OK) != 0 ||
        dev_key_write_set(config_file, &text) != 0 || keyset_parse(buf_str(&text), &set, NULL) != 0)
        set = NULL;
    buf_free(&text);
    return set;
}

/* Any set for this verifier; the dev issuer need not be running. */
static void want_keys(struct session *s, const struct verifier *verifier)
{
    const struct verdict lacking = {.kid = STR(""), .verifier = verifier};
    if (verifier->keys->keys == NULL)
        want(s, &lacking);
    bool is_dev = str_eq(verifier->issuer, dev_place_issuer(s->config_file));
    struct keyset *set =
        verifier->keys->keys == NULL && is_dev ? read_dev_keys(s->config_file) : NULL;
    if (set != NULL)
        keyset_source_set(verifier->keys, set);
    s->dev_keys = set != NULL;
    keyset_unref(set);
}

/* "a", "b": the first few. */
static struct str name_keys(struct session *s, const struct keyset *keys)
{
    enum { SHOWN = 3 };
    struct str names = STR("");
    for (unsigned i = 0; i < keyset_size(keys) && i < SHOWN; i++) {
        struct str kid = key_kid(keyset_at(keys, i));
        struct str name = kid.len > 0 ? explain_text(&s->arena, kid) : STR("one without a kid");
        names =
            arena_printf(&s->arena, "%.*s%s%.*s", STR_ARG(names), i > 0 ? ", " : "", STR_ARG(name));
    }
    return keyset_size(keys) > SHOWN ? arena_printf(&s->arena, "%.*s, ...", STR_ARG(names)) : names;
}

static struct str describe_keys(struct session *s, const struct verifier *verifier)
{
    const struct issuer *issuer = issuers_by_source(s->issuers, verifier->keys);
    struct issuer_stats stats;
    if (issuer == NULL)
        return STR("the configuration's own key");
    if (s->dev_keys)
        return STR("the dev issuer's, from .luafn: it is not running");
    issuer_stats(issuer, &stats);
    struct str error = str_from(stats.last_error);
    if (stats.keys_age < 0)
        return arena_printf(&s->arena, "none: %.*s", STR_ARG(error));
    bool fetched = stats.fetches > stats.failures;
    struct str text =
        arena_printf(&s->arena, "%u key%s, %s", stats.key_count, stats.key_count == 1 ? "" : "s",
                     fetched ? "fetched now" : "kept on disk, ");
    if (!fetched)
        text = arena_printf(&s->arena, "%.*s%.0f s old", STR_ARG(text), floor(stats.keys_age));
    text = arena_printf(&s->arena, "%.*s: %.*s", STR_ARG(text),
                        STR_ARG(name_keys(s, verifier->keys->keys)));
    return error.len > 0 ? arena_printf(&s->arena, "%.*s; a fetch failed: %.*s", STR_ARG(text),
                                        STR_ARG(error))
                         : text;
}

/* ---- the verdict ---- */

/* As the host does it: a key that we lack is fetched once. */
static enum policy_result judge(struct session *s)
{
    struct verdict verdict = {0};
    enum policy_result result = policy_check(&s->policy, s->ex, s->now, s->dev_keys, &verdict);
    if (result == POLICY_NEEDS_KEY) {
        want(s, &verdict);
        bool final = token_is_settled(s->issuers, &verdict);
        result = policy_check(&s->policy, s->ex, s->now, final, &verdict);
    }
    if (result == POLICY_NEEDS_KEY)
        policy_keys_unavailable(s->ex);
    claims_unref(verdict.claims);
    return result;
}

static void print_row(const struct explain_row *row, int width, bool colour)
{
    static const char *const marks[] = {"PASS", "FAIL", "    "};
    static const char *const colours[] = {"\033[32m", "\033[31m", ""};
    printf("%s%s%s  %-9s  %-*.*s  %.*s\n", colour ? colours[row->result] : "", marks[row->result],
           colour ? "\033[0m" : "", row->check, width, STR_ARG(row->expected),
           STR_ARG(row->actual));
}

static void print_rows(const struct explain *e)
{
    enum { WIDTH_MAX = 48 };
    int width = (int)sizeof("expected") - 1;
    bool colour = isatty(STDOUT_FILENO) != 0;
    for (unsigned i = 0; i < e->count; i++) {
        int len = (int)e->rows[i].expected.len;
        if (len > width)
            width = len < WIDTH_MAX ? len : WIDTH_MAX;
    }
    printf("      %-9s  %-*s  %s\n", "check", width, "expected", "actual");
    for (unsigned i = 0; i < e->count; i++)
        print_row(&e->rows[i], width, colour);
}

/* The answer's text repeats what the token says: as ASCII, so that no terminal obeys it. */
static void print_answer(const struct session *s)
{
    json_t *body = strict_json_watched(s->ex->res.body, 0, NULL);
    char *text = body != NULL ? dump_json_text(body, JSON_ENSURE_ASCII | JSON_COMPACT) : NULL;
    printf("refused: %d %s\n", s->ex->res.status, text != NULL ? text : "");
    free(text);
    json_decref(body);
}

static int print_verdict(const struct session *s, const struct explain *e,
                         enum policy_result result)
{
    if (result == POLICY_ALLOW)
        printf("let through%s%s\n",
               e->needs_cert ? ", with the certificate that it is bound to" : "",
               e->needs_proof ? ", with a DPoP proof for the request" : "");
    else
        print_answer(s);
    if (s->kind == POLICY_PUBLIC)
        printf("%.*s is public: everybody is let through\n", STR_ARG(s->place));
    else if (s->kind == POLICY_UNSET)
        printf("%.*s has no `auth`: what its script checks by itself is not known\n",
               STR_ARG(s->place));
    return s->kind == POLICY_PUBLIC || result == POLICY_ALLOW ? EXIT_GOOD : EXIT_FAULT;
}

/* What the provider has said of the token. Borrowed. */
static json_t *find_answer(const struct verifier *verifier, struct str text,
                           enum opaque_state *state)
{
    struct claims *claims = NULL;
    *state = verifier->opaque->find(verifier->opaque, text, &claims);
    return claims != NULL ? claims->json : NULL;
}

/* Rows for a token that can be judged here. */
static void explain_here(struct session *s, struct explain *e, const struct token *token)
{
    if (e->verifier != NULL)
        e->key_set = describe_keys(s, e->verifier);
    explain_token(e, token);
}

static int explain(struct session *s, struct str text)
{
    struct explain e = {
        .arena = &s->arena, .policy = &s->policy, .revoked = str_from(s->revoked), .now = s->now};
    struct token token = {.header = NULL};
    e.verifier = verify_opaque(s->policy.verifiers, s->policy.verifier_count, text);
    bool asked = e.verifier != NULL, formed = !asked && explain_form(&e, text, &token);
    if (formed)
        e.verifier = explain_find_verifier(&s->policy, token.claims);
    if (formed && e.verifier != NULL)
        want_keys(s, e.verifier);
    enum policy_result result = judge(s);
    enum opaque_state state = OPAQUE_UNKNOWN;
    json_t *claims = asked ? find_answer(e.verifier, text, &state) : token.claims;
    /* The rest is judged as if both were there. */
    bool needs_cert = explain_needs_cert(&e, claims), needs_proof = explain_needs_proof(&e, claims);
    if (needs_cert)
        s->policy.mtls = MTLS_OFF;
    if (needs_proof)
        s->policy.dpop.mode = DPOP_OFF;
    if (needs_cert || needs_proof)
        result = judge(s);
    if (asked)
        explain_opaque(&e, state, claims, introspection_trouble(e.verifier->opaque));
    else if (formed)
        explain_here(s, &e, &token);
    print_rows(&e);
    if (formed)
        token_clear(&token);
    return print_verdict(s, &e, result);
}

/* ---- setting up ---- */

/* Where the host keeps key sets; NULL when it has not been started here, so that nothing is made.
 */
static const char *keys_folder(const char *config_file, char *path, size_t size)
{
    struct stat st;
    bool there = cli_state_path(config_file, "keys", path, size) == 0 && stat(path, &st) == 0;
    return there ? path : NULL;
}

static int open_session(struct session *s, const char *config_file, bool dev)
{
    char path[4096];
    unsigned faults;
    uv_loop_init(&s->loop);
    arena_init(&s->arena);
    s->now = floor(clock_now());
    s->client = client_new(&s->loop);
    s->issuers = s->client != NULL ? issuers_new(&s->loop, s->client,
                                                 keys_folder(config_file, path, sizeof(path)))
                                   : NULL;
    if (s->issuers == NULL)
        return cli_fault("out of memory");
    const struct load_options options = {.config_file = config_file,
                                         .dev = dev,
                                         .defaults = dev_place_defaults(config_file),
                                         .issuers = s->issuers};
    s->deployment = load_deployment(&options, &faults);
    if (s->deployment == NULL)
        return EXIT_FAULT;
    kept_store_read_revoked(config_file, s->deployment->config, s->revoked, sizeof(s->revoked));
    return 0;
}

static void close_session(struct session *s)
{
    if (s->ex != NULL)
        exchange_release(s->ex);
    exchange_pool_free();
    token_cache_clear();
    if (s->deployment != NULL)
        load_undo(s->deployment);
    issuers_free(s->issuers);
    client_free(s->client);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    arena_free(&s->arena);
}

static int choose_function(struct session *s, const struct function_spec *spec)
{
    if (spec->policy.kind == POLICY_WEBHOOK)
        return cli_fault("the function %.*s takes no token: its callers sign, as `webhook` %s says",
                         STR_ARG(spec->name), spec->policy.webhook->name);
    s->policy = spec->policy;
    s->place = arena_printf(&s->arena, "the function %.*s", STR_ARG(spec->name));
    return 0;
}

/* What a GET of that path is judged by: a function there, or the site's rule. */
static int choose_path(struct session *s, struct str path)
{
    const struct config_protect *rule;
    struct route_match match;
    struct str sent = path;
    bool good = target_normalize_path(&s->arena, path, &path) == 0;
    if (!good || (s->deployment->config->protect_count > 0 && target_hides_separator(path)))
        return cli_usage(&command_explain, "--route '%.*s': such a path is a 400", STR_ARG(sent));
    if (mcp_is_at(s->deployment, path))
        return cli_usage(&command_explain, "--route '%.*s': tools are called there, name one",
                         STR_ARG(sent));
    if (router_match(s->deployment->router, METHOD_GET, path, &match) == ROUTE_FOUND)
        return choose_function(s, ((const struct function *)match.target)->spec);
    if (config_protect_find(s->deployment->config, path, &s->arena, &rule) != 0)
        return cli_fault("out of memory");
    if (rule != NULL)
        s->policy = rule->policy;
    else
        s->policy.kind = POLICY_PUBLIC;
    s->place = rule != NULL ? arena_printf(&s->arena, "protect %.*s", STR_ARG(rule->path))
                            : STR("what no rule of `protect` covers");
    return 0;
}

/* What is to be judged: the route's policy, or with none (and for an open one) just the token. */
static int choose_policy(struct session *s, const char *route)
{
    const struct services *services = &s->deployment->services;
    int rc = 0;
    s->policy = (struct policy){.kind = POLICY_TOKEN,
                                .verifiers = services->verifiers,
                                .verifier_count = services->verifier_count};
    if (route != NULL && route[0] == '/') {
        rc = choose_path(s, str_from(route));
    } else if (route != NULL) {
        const struct function *function = deployment_find(s->deployment, str_from(route));
        rc = function != NULL
                 ? choose_function(s, function->spec)
                 : cli_usage(&command_explain,
                             "there is no function '%s'; `luafn routes` lists them", route);
    }
    if (rc != 0)
        return rc;
    s->kind = s->policy.kind;
    s->policy.kind = POLICY_TOKEN;
    return s->policy.verifier_count > 0
               ? 0
               : cli_fault("the configuration names no issuer: nobody's tokens are accepted");
}

static int make_exchange(struct session *s, struct str token)
{
    s->ex = exchange_new(NULL, NULL);
    struct str value = s->ex != NULL ? arena_printf(&s->ex->arena, "Bearer %.*s", STR_ARG(token))
                                     : (struct str){NULL, 0};
    return value.ptr != NULL &&
                   headers_add(&s->ex->req.headers, &s->ex->arena, STR("authorization"), value) == 0
               ? 0
               : cli_fault("out of memory");
}

/* ---- the command ---- */

/* What is longer than a header may be is refused for its size: the rest need not be read. */
static int read_stdin(struct buf *out)
{
    return file_read_rest(STDIN_FILENO, LIMIT_HEADER_BYTES, out) != -ENOMEM
               ? 0
               : cli_fault("out of memory");
}

/* Without what comes along when it is copied: white space around, the scheme, a line's end. */
static struct str trim_token(struct str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL)
        text.len--;
    text = str_trim(text);
    if (text.len > 7 && str_eq_nocase((struct str){text.ptr, 7}, STR("Bearer ")))
        text = str_trim(str_skip(text, 7));
    return text;
}

static int run(int argc, char **argv)
{
    const char *config_file = "functions.lua", *route = NULL, *word = NULL;
    bool dev = false;
    const struct option options[] = {{"--route", OPTION_TEXT, &route},
                                     {"--config", OPTION_TEXT, &config_file},
                                     {"--dev", OPTION_FLAG, &dev},
                                     {NULL, OPTION_FLAG, NULL}};
    int count = 0;
    int rc = cli_parse(&command_explain, argc, argv, options, &word, 1, &count);
    if (rc == 0 && count == 0)
        rc = cli_usage(&command_explain, "a token is missing; '-' reads it from stdin");
    struct buf input = BUF_INIT;
    if (rc == 0 && strcmp(word, "-") == 0)
        rc = read_stdin(&input);
    else if (rc == 0)
        buf_add_str(&input, str_from(word));
    if (rc == 0) {
        struct str token = trim_token(buf_str(&input));
        struct session s = {.config_file = config_file};
        rc = open_session(&s, config_file, dev);
        if (rc == 0)
            rc = choose_policy(&s, route);
        if (rc == 0)
            rc = make_exchange(&s, token);
        if (rc == 0)
            rc = explain(&s, token);
        close_session(&s);
    }
    buf_free(&input);
    return rc;
}

const struct command command_explain = {"explain", run};
