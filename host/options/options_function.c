/* Reading one function's options: from functions.lua, or from the table that its script returns. */
#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "http/host_name.h"
#include "options/cron.h"
#include "options/options.h"
#include "options/options_auth.h"
#include "options/options_tool.h"

static const char *const config_keys[] = {
    "script",      "path",  "methods",      "auth",         "timeout",    "cpu",         "memory",
    "concurrency", "queue", "fetch",        "env",          "background", "rollback",    "schedule",
    "rate_limit",  "kv",    "excludedPath", "preferStatic", "body",       "stream_body", "message",
    "input",       "query", "tool",         "sql",          "files",      "retry",       NULL};
static const char *const script_keys[] = {
    "handler",     "path",  "methods",      "auth",         "timeout",    "cpu",         "memory",
    "concurrency", "queue", "fetch",        "env",          "background", "rollback",    "schedule",
    "rate_limit",  "kv",    "excludedPath", "preferStatic", "body",       "stream_body", "message",
    "input",       "query", "tool",         "sql",          "files",      "retry",       NULL};

const double options_retry_default[OPTIONS_RETRY_DEFAULT] = {60, 120};

bool options_is_given(const struct function_spec *spec, struct str key)
{
    for (unsigned i = 0; config_keys[i] != NULL; i++) {
        if (str_eq(key, str_from(config_keys[i])))
            return (spec->given & (1u << i)) != 0;
    }
    return false;
}

static bool is_given(struct options_reader *r, const char *key)
{
    if (!options_get(r, key))
        return false;
    lua_pop(r->L, 1);
    return true;
}

static int read_methods(struct options_reader *r, struct function_spec *spec)
{
    struct str *names = NULL;
    unsigned count = 0;
    int rc = options_str_list(r, "methods", &names, &count);
    if (rc != 0 || names == NULL)
        return rc;
    spec->methods = 0;
    for (unsigned i = 0; i < count; i++) {
        enum http_method method;
        if (request_method_parse(names[i], &method) != 0)
            return options_fault(r, "methods",
                                 "'%.*s' is not one of GET HEAD POST PUT PATCH DELETE OPTIONS",
                                 STR_ARG(names[i]));
        spec->methods |= METHOD_BIT(method);
    }
    return count > 0 ? 0 : options_fault(r, "methods", "must name at least one method");
}

/* "{id}", "<id>" and "[id]" are how others write a parameter: here they stand for themselves, and
 * so for nothing that anybody asks for. */
static int check_segment(struct options_reader *r, const char *key, struct str pattern,
                         struct str segment)
{
    static const char open[] = "{<[", close[] = "}>]";
    const char *at = segment.len > 2 ? strchr(open, segment.ptr[0]) : NULL;
    if (at == NULL || *at == '\0' || segment.ptr[segment.len - 1] != close[at - open])
        return 0;
    struct str name = {segment.ptr + 1, segment.len - 2};
    bool rest = str_find(name, '+') < name.len || str_find(name, '*') < name.len;
    return options_fault(r, key, "'%.*s': '%.*s' stands for itself; %s is written '%s%.*s'",
                         STR_ARG(pattern), STR_ARG(segment), rest ? "any rest" : "a parameter",
                         rest ? "*" : ":", rest ? 0 : (int)name.len, name.ptr);
}

static int check_pattern(struct options_reader *r, const char *key, struct str pattern)
{
    struct str rest = pattern, segment;
    int rc = 0;
    if (pattern.len == 0 || pattern.ptr[0] != '/')
        return options_fault(r, key, "'%.*s' must begin with '/'", STR_ARG(pattern));
    while (rc == 0 && str_split_next(&rest, '/', &segment))
        rc = check_segment(r, key, pattern, segment);
    return rc;
}

static int read_patterns(struct options_reader *r, const char *key, struct str **out,
                         unsigned *count)
{
    int rc = options_str_list(r, key, out, count);
    for (unsigned i = 0; rc == 0 && i < *count; i++)
        rc = check_pattern(r, key, (*out)[i]);
    return rc;
}

static int read_paths(struct options_reader *r, struct function_spec *spec)
{
    read_patterns(r, "path", &spec->paths, &spec->path_count);
    read_patterns(r, "excludedPath", &spec->excluded, &spec->excluded_count);
    return options_bool(r, "preferStatic", &spec->prefer_static);
}

/* ---- when it runs by itself ---- */

static int read_schedule(struct options_reader *r, struct function_spec *spec)
{
    int rc = options_str(r, "schedule", &spec->schedule);
    if (rc != 0 || !is_given(r, "schedule"))
        return rc;
    struct err reason;
    struct cron *cron = arena_alloc(r->arena, sizeof(*cron));
    if (cron == NULL)
        return options_no_memory(r);
    if (cron_parse(spec->schedule, cron, &reason) != 0)
        return options_fault(r, "schedule", "%s", reason.text);
    spec->cron = cron;
    return 0;
}

/* Nobody calls it over HTTP: what says how would mislead. */
static int check_schedule(struct options_reader *r, const struct function_spec *spec)
{
    if (spec->cron == NULL || (spec->path_count == 0 && spec->methods == METHOD_ALL))
        return 0;
    return options_fault(r, "schedule",
                         "a scheduled function is not called over HTTP: leave out its `%s`",
                         spec->path_count > 0 ? "path" : "methods");
}

/* Its caller waits for its answer, and sends its arguments whole. */
static int check_tool(struct options_reader *r, const struct function_spec *spec)
{
    const char *other = spec->background                      ? "background"
                        : spec->cron                          ? "schedule"
                        : spec->stream_body                   ? "stream_body"
                        : spec->policy.kind == POLICY_WEBHOOK ? "webhook"
                                                              : NULL;
    if (spec->tool == NULL || other == NULL)
        return 0;
    return options_fault(r, "tool", "a function with `%s` cannot be a tool", other);
}

/* Where functions.lua gives none. */
static void set_default_timeout(struct function_spec *spec, bool from_script)
{
    for (unsigned i = 0; from_script && config_keys[i] != NULL; i++) {
        if ((spec->given & (1u << i)) != 0 && strcmp(config_keys[i], "timeout") == 0)
            return;
    }
    if (spec->background)
        spec->timeout = LIMIT_FN_BACKGROUND_TIMEOUT;
    else if (spec->cron != NULL)
        spec->timeout = LIMIT_FN_SCHEDULE_TIMEOUT;
}

/* ---- rate_limit = { limit =, window =, by = } ---- */

static int read_rate_by(struct options_reader *r, struct rate_limit *rate)
{
    static const char *const names[] = {
        [RATE_BY_IP] = "ip", [RATE_BY_SUB] = "sub", [RATE_BY_AZP] = "azp"};
    struct str by = STR("ip");
    int rc = options_str(r, "by", &by);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_eq(by, str_from(names[i]))) {
            rate->by = (enum rate_by)i;
            return 0;
        }
    }
    return options_fault(r, "by", "'%.*s' is not one of \"ip\", \"sub\", \"azp\"", STR_ARG(by));
}

static int read_rate_limit(struct options_reader *r, struct function_spec *spec)
{
    static const char *const keys[] = {"limit", "window", "by", NULL};
    struct rate_limit rate = {.limit = 0, .window = 0};
    if (!options_get(r, "rate_limit"))
        return 0;
    if (!lua_istable(r->L, -1))
        return options_fault(r, "rate_limit",
                             "must be a table such as { limit = 100, window = 60, by = \"ip\" }");
    size_t before = options_enter(r, "rate_limit", 0);
    options_check_keys(r, keys);
    options_count(r, "limit", 1, LIMIT_RATE_COUNT, &rate.limit);
    options_seconds(r, "window", 0.1, LIMIT_RATE_WINDOW, &rate.window);
    if (r->rc == 0 && (rate.limit == 0 || rate.window <= 0))
        options_fault(r, NULL, "`%s` is missing: { limit = 100, window = 60, by = \"ip\" }",
                      rate.limit == 0 ? "limit" : "window");
    read_rate_by(r, &rate);
    options_leave(r, before);
    lua_pop(r->L, 1);
    spec->rate_limit = rate;
    return r->rc;
}

/* ---- retry = { seconds, ... } ---- */

static int read_retry(struct options_reader *r, struct function_spec *spec)
{
    static const char example[] = "such as { 60, 120 }, or {} for a single try";
    if (!options_get(r, "retry"))
        return 0;
    if (!lua_istable(r->L, -1) || !options_is_list(r->L) ||
        lua_rawlen(r->L, -1) > LIMIT_QUEUE_RETRIES)
        return options_fault(r, "retry", "must be a list of at most %d pauses in seconds, %s",
                             LIMIT_QUEUE_RETRIES, example);
    unsigned count = (unsigned)lua_rawlen(r->L, -1);
    double *pauses = arena_alloc(r->arena, (count + 1) * sizeof(*pauses));
    if (pauses == NULL)
        return options_no_memory(r);
    for (unsigned i = 0; i < count; i++) {
        bool is_number = lua_rawgeti(r->L, -1, (lua_Integer)i + 1) == LUA_TNUMBER;
        pauses[i] = lua_tonumber(r->L, -1);
        lua_pop(r->L, 1);
        if (!is_number || !(pauses[i] >= 0 && pauses[i] <= LIMIT_QUEUE_PAUSE))
            return options_fault(r, "retry", "each pause is a number of seconds from 0 to %g, %s",
                                 LIMIT_QUEUE_PAUSE, example);
    }
    lua_pop(r->L, 1);
    spec->retry = pauses;
    spec->retry_count = count;
    return 0;
}

/* ---- kv = "namespace" ---- */

static int read_kv(struct options_reader *r, struct function_spec *spec)
{
    int rc = options_str(r, "kv", &spec->kv);
    if (rc == 0 && is_given(r, "kv") &&
        (spec->kv.len == 0 || spec->kv.len > LIMIT_KV_SPACE_NAME || spec->kv.ptr[0] == '\0'))
        rc = options_fault(r, "kv", "is the name of a namespace: 1 to %d bytes",
                           LIMIT_KV_SPACE_NAME);
    return rc;
}

/* ---- limits: those that a script gives count only where functions.lua gave none ---- */

static int read_limits(struct options_reader *r, struct function_spec *spec)
{
    double longest = LIMIT_FN_BACKGROUND_TIMEOUT;
    options_seconds(r, "timeout", 0.01, longest, &spec->timeout);
    options_seconds(r, "cpu", 0.005, 60, &spec->cpu);
    options_size(r, "memory", 256 * 1024, (size_t)4 << 30, &spec->memory);
    options_count(r, "concurrency", 1, 100000, &spec->concurrency);
    options_count(r, "queue", 0, 100000, &spec->queue);
    options_count(r, "rollback", 0, 1000, &spec->rollback);
    return r->rc;
}

/* What is held in memory whole has a limit; a background function's body is, before its 202. */
static int read_body(struct options_reader *r, struct function_spec *spec)
{
    options_bool(r, "stream_body", &spec->stream_body);
    options_size(r, "body", 0, SIZE_MAX, &spec->body);
    options_size(r, "message", 1, LIMIT_RESPONSE_BYTES, &spec->message);
    if (r->rc != 0)
        return r->rc;
    if (spec->stream_body && (spec->background || spec->cron != NULL))
        return options_fault(r, "stream_body", "is not for a function that no client waits for");
    if (spec->policy.kind == POLICY_WEBHOOK && spec->stream_body)
        return options_fault(r, "stream_body",
                             "does not go with auth.webhook: the whole body is what is signed");
    if (spec->policy.kind == POLICY_WEBHOOK && spec->body > LIMIT_WEBHOOK_BODY)
        return options_fault(
            r, "body",
            "must be at most %zu bytes (32 MiB) with auth.webhook, where all of it "
            "is judged at once",
            LIMIT_WEBHOOK_BODY);
    if (spec->body > LIMIT_FN_BODY && !spec->stream_body)
        return options_fault(r, "body",
                             "must be at most %zu bytes (1 GiB); larger ones need stream_body = "
                             "true, and event:chunks() in the handler",
                             LIMIT_FN_BODY);
    return 0;
}

/* What would be judged has to be there, whole, and somebody who is told. */
static int read_schemas(struct options_reader *r, struct function_spec *spec)
{
    options_schema(r, "input", &spec->input);
    options_schema(r, "query", &spec->query);
    if (r->rc == 0 && spec->input != NULL && spec->stream_body)
        return options_fault(r, "input",
                             "is judged on the whole body, which stream_body does not "
                             "wait for; leave out one of them");
    if (r->rc == 0 && spec->cron != NULL && (spec->input != NULL || spec->query != NULL))
        return options_fault(r, spec->input != NULL ? "input" : "query",
                             "is not for a scheduled function, which nobody calls");
    return r->rc;
}

/* Hosts, in the form in which the client compares them. */
static int mend_hosts(struct options_reader *r, struct function_spec *spec)
{
    for (unsigned i = 0; i < spec->fetch_host_count; i++) {
        struct str host = spec->fetch_hosts[i];
        char name[HOST_NAME_SIZE];
        bool good = host.len > 0 && host_name_canonical(host, name) == 0;
        for (const char *at = name; good && *at != '\0'; at++)
            good = *at > ' ' && *at != '/' && *at != '@';
        if (!good)
            return options_fault(r, "fetch",
                                 "'%.*s' is no host: write \"api.example\", \"*.example\" or "
                                 "\"127.0.0.1:8080\"",
                                 STR_ARG(host));
        spec->fetch_hosts[i] = arena_copy(r->arena, str_from(name));
        if (spec->fetch_hosts[i].ptr == NULL)
            return options_no_memory(r);
    }
    return 0;
}

/* Files lie below the folder of functions.lua. */
static int check_files(struct options_reader *r, const struct function_spec *spec)
{
    for (unsigned i = 0; i < spec->file_count; i++) {
        struct str glob = spec->files[i];
        if (glob.len == 0 || glob.ptr[0] == '/' || glob.ptr[0] == '.' ||
            str_find_text(glob, STR("/.")) < glob.len)
            return options_fault(r, "files",
                                 "'%.*s' leads out of the folder of functions.lua, or to what is "
                                 "hidden: write \"templates/*\"",
                                 STR_ARG(glob));
    }
    return r->rc;
}

static int read_reach(struct options_reader *r, struct function_spec *spec)
{
    spec->fetch_declared = spec->fetch_declared || is_given(r, "fetch");
    options_str_list(r, "fetch", &spec->fetch_hosts, &spec->fetch_host_count);
    mend_hosts(r, spec);
    spec->env_declared = spec->env_declared || is_given(r, "env");
    options_str_list(r, "env", &spec->env, &spec->env_count);
    options_str_list(r, "sql", &spec->sql, &spec->sql_count);
    options_str_list(r, "files", &spec->files, &spec->file_count);
    check_files(r, spec);
    return r->rc;
}

/* ---- the table ---- */

/* Hides the keys that functions.lua gave from the script's table: functions.lua wins. */
static void hide_given(struct options_reader *r, const struct function_spec *spec)
{
    for (unsigned i = 0; config_keys[i] != NULL; i++) {
        if ((spec->given & (1u << i)) == 0)
            continue;
        lua_pushstring(r->L, config_keys[i]);
        lua_pushnil(r->L);
        lua_rawset(r->L, -3);
    }
}

static void note_given(struct options_reader *r, struct function_spec *spec)
{
    for (unsigned i = 0; config_keys[i] != NULL; i++) {
        if (is_given(r, config_keys[i]))
            spec->given |= 1u << i;
    }
}

int options_read_function(struct options_reader *r, struct function_spec *spec,
                          enum options_origin origin)
{
    options_check_keys(r, origin == OPTIONS_CONFIG ? config_keys : script_keys);
    if (r->rc != 0)
        return r->rc;
    if (origin == OPTIONS_CONFIG)
        note_given(r, spec);
    else
        hide_given(r, spec);
    read_paths(r, spec);
    read_methods(r, spec);
    options_read_policy(r, &spec->policy);
    options_bool(r, "background", &spec->background);
    read_schedule(r, spec);
    check_schedule(r, spec);
    set_default_timeout(spec, origin == OPTIONS_SCRIPT);
    read_limits(r, spec);
    read_body(r, spec);
    read_schemas(r, spec);
    read_rate_limit(r, spec);
    read_kv(r, spec);
    read_retry(r, spec);
    options_read_tool(r, spec);
    check_tool(r, spec);
    return read_reach(r, spec);
}
