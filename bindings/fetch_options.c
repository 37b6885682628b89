/* What fetch is asked for: its arguments as a request of the client. */
#include "bindings/fetch_options.h"

#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "bindings/json.h"
#include "bindings/keys.h"
#include "bindings/url.h"
#include "lua/lazy.h"
#include "lua/told.h"
#include "options/options.h"
#include "run/invocation.h"

enum { NAMES_MAX = 64 /* identities that are guessed from */ };

static struct str check_text(lua_State *L, int index, const char *what)
{
    struct str s;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "fetch: %s must be a text, not a %s", what, luaL_typename(L, index));
    s.ptr = lua_tolstring(L, index, &s.len);
    return s;
}

/* options.headers: name = "value" (or a number). Values stay on the stack, which keeps them alive.
 */
static unsigned read_headers(lua_State *L, struct header *out)
{
    unsigned count = 0;
    if (lua_getfield(L, 2, "headers") == LUA_TNIL)
        return 0;
    if (!lua_istable(L, -1))
        luaL_error(L, "fetch: headers must be a table");
    int table = lua_gettop(L);
    luaL_checkstack(L, FETCH_HEADERS * 2 + 8, "fetch");
    lazy_make_whole(L, table);
    for (lua_pushnil(L); lua_next(L, table) != 0;) { /* stack: ..., name, value */
        if (count == FETCH_HEADERS - 7)
            luaL_error(L, "fetch: more than %d headers", FETCH_HEADERS - 7);
        struct str name = check_text(L, -2, "a header's name");
        if (lua_type(L, -1) == LUA_TNUMBER)
            luaL_tolstring(L, -1, NULL), lua_replace(L, -2);
        struct str value = check_text(L, -1, "a header's value");
        if (!header_name_is_valid(name) || !header_value_is_valid(value))
            luaL_error(L, "fetch: the header '%s' cannot be sent", name.ptr);
        out[count++] = (struct header){name, value};
        lua_pushvalue(L, -2); /* the name again, for lua_next; the pair stays below */
    }
    return count;
}

static double read_timeout(lua_State *L)
{
    double timeout = LIMIT_FETCH_TIMEOUT;
    if (lua_getfield(L, 2, "timeout") != LUA_TNIL) {
        timeout = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || !(timeout > 0 && timeout <= 3600))
            luaL_error(L, "fetch: timeout must be a number of seconds between 0 and 3600");
    }
    lua_pop(L, 1);
    return timeout;
}

/* "follow" (the default), "manual" or "error", as in the Fetch standard. */
static void read_redirect(lua_State *L, struct client_request *req)
{
    static const char *const modes[] = {"follow", "manual", "error"};
    int type = lua_getfield(L, 2, "redirect");
    const char *mode = type == LUA_TNIL ? "follow" : type == LUA_TSTRING ? lua_tostring(L, -1) : "";
    unsigned i = 0;
    while (i < 3 && strcmp(mode, modes[i]) != 0)
        i++;
    if (i == 3)
        luaL_error(L, "fetch: redirect must be \"follow\", \"manual\" or \"error\", not %s",
                   type == LUA_TSTRING ? lua_pushfstring(L, "\"%s\"", mode)
                                       : luaL_tolstring(L, -1, NULL));
    req->max_redirects = i == 0 ? LIMIT_FETCH_REDIRECTS : 0;
    req->no_redirect = i == 2;
    lua_pop(L, 1);
}

static void read_retry_status(lua_State *L, struct client_retry *retry)
{
    bool good = lua_istable(L, -1);
    if (good)
        lazy_make_plain(L, lua_gettop(L));
    size_t count = good ? lua_rawlen(L, -1) : 0;
    good = good && count <= LIMIT_FETCH_RETRY_STATUS;
    for (size_t i = 0; good && i < count; i++) {
        lua_Integer status =
            lua_geti(L, -1, (lua_Integer)i + 1) == LUA_TNUMBER ? lua_tointeger(L, -1) : 0;
        good = status >= 400 && status <= 599;
        retry->status[i] = (unsigned short)status;
        lua_pop(L, 1);
    }
    if (!good)
        luaL_error(L,
                   "fetch: retry.status must be a list of at most %d statuses between 400 and 599, "
                   "as { 429, 503 }",
                   LIMIT_FETCH_RETRY_STATUS);
    retry->status_count = (unsigned)count;
}

/* retry = { times =, status =, backoff = } */
static void read_retry(lua_State *L, struct client_request *req, struct client_retry *retry)
{
    static const char *const known[] = {"times", "status", "backoff", NULL};
    if (lua_getfield(L, 2, "retry") == LUA_TNIL)
        return;
    int table = lua_gettop(L), is_whole;
    if (!lua_istable(L, table))
        luaL_error(L, "fetch: retry must be a table as { times = 2 }, not a %s",
                   luaL_typename(L, table));
    lx_keys_check(L, table, known, "fetch: retry");
    *retry = (struct client_retry){
        .times = 2, .status = {429, 502, 503, 504}, .status_count = 4, .backoff = 0.25};
    if (lua_getfield(L, table, "times") != LUA_TNIL) {
        lua_Integer times = lua_tointegerx(L, -1, &is_whole);
        if (!is_whole || lua_type(L, -1) != LUA_TNUMBER || times < 0 || times > LIMIT_FETCH_RETRY)
            luaL_error(L, "fetch: retry.times must be a whole number between 0 and %d",
                       LIMIT_FETCH_RETRY);
        retry->times = (unsigned)times;
    }
    if (lua_getfield(L, table, "backoff") != LUA_TNIL) {
        retry->backoff = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER ||
            !(retry->backoff >= 0 && retry->backoff <= LIMIT_FETCH_RETRY_BACKOFF))
            luaL_error(L, "fetch: retry.backoff must be a number of seconds between 0 and %d",
                       (int)LIMIT_FETCH_RETRY_BACKOFF);
    }
    if (lua_getfield(L, table, "status") != LUA_TNIL)
        read_retry_status(L, retry);
    lua_settop(L, table);
    const struct invocation *inv = invocation_of(L);
    retry->until =
        inv != NULL && inv->budget.deadline_ns > 0 ? inv->budget.deadline_ns : UINT64_MAX;
    req->retry = retry;
}

/* Of a body in pieces. */
static void read_length(lua_State *L, struct fetch_request *f)
{
    int is_whole;
    f->req.body_size = CLIENT_BODY_UNSIZED;
    if (lua_getfield(L, 2, "length") != LUA_TNIL) {
        lua_Integer length = lua_tointegerx(L, -1, &is_whole);
        if (!f->pieces)
            luaL_error(L, "fetch: length belongs to a body that a function gives in pieces");
        if (!is_whole || length < 0)
            luaL_error(L, "fetch: length must be the number of the body's bytes");
        f->req.body_size = (uint64_t)length;
    }
    lua_pop(L, 1);
    if (f->pieces)
        f->req.max_redirects = 0; /* it cannot be sent twice */
}

/* Letters, digits and "-": what a signature has between slashes. */
static struct str read_place(lua_State *L, const char *name, const char *example)
{
    lua_getfield(L, 2, name);
    struct str s = check_text(L, -1, name);
    bool good = s.len > 0;
    for (size_t i = 0; i < s.len; i++)
        good = good && (str_is_alnum(s.ptr[i]) || s.ptr[i] == '-');
    if (!good)
        luaL_error(L, "fetch: %s must be as \"%s\", not '%s'", name, example, s.ptr);
    return s;
}

static struct str read_key(lua_State *L, const char *name)
{
    lua_getfield(L, 2, name);
    struct str s = check_text(L, -1, name);
    if (s.len == 0 || !header_value_is_valid(s))
        luaL_error(L, "fetch: %s must be a key, and is empty or cannot be one", name);
    return s;
}

/* sign = "aws4", access_key =, secret_key =, region =, service =, session_token = */
static void read_sign(lua_State *L, struct fetch_request *f)
{
    static const char *const own[] = {"access_key", "secret_key", "region", "service",
                                      "session_token"};
    if (lua_getfield(L, 2, "sign") == LUA_TNIL) {
        for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
            if (lua_getfield(L, 2, own[i]) != LUA_TNIL)
                luaL_error(L, "fetch: %s belongs to sign = \"aws4\"", own[i]);
        lua_pop(L, 6);
        return;
    }
    if (!str_eq(check_text(L, -1, "sign"), STR("aws4")))
        luaL_error(L, "fetch: sign must be \"aws4\", not '%s'", lua_tostring(L, -1));
    f->sign.access_key = read_key(L, "access_key");
    f->sign.secret_key = read_key(L, "secret_key");
    f->sign.region = read_place(L, "region", "eu-central-1");
    f->sign.service = read_place(L, "service", "s3");
    if (lua_getfield(L, 2, "session_token") != LUA_TNIL)
        f->session_token = read_key(L, "session_token");
    f->req.max_redirects = 0; /* a signature is good for one place */
}

static void push_form(lua_State *L, int index)
{
    if (!lua_istable(L, index))
        luaL_error(L, "fetch: form must be a table of names and values, not a %s",
                   luaL_typename(L, index));
    lua_pushcfunction(L, l_url_form);
    lua_pushvalue(L, index);
    lua_call(L, 1, 1);
}

/* One of `body`, `json` and `form`; the text stays on the stack. Returns the type that goes with
 * it, or an empty one. */
static struct str read_body(lua_State *L, struct fetch_request *f)
{
    struct client_request *req = &f->req;
    bool json = lua_getfield(L, 2, "json") != LUA_TNIL;
    bool form = lua_getfield(L, 2, "form") != LUA_TNIL;
    bool body = lua_getfield(L, 2, "body") != LUA_TNIL;
    if (json + form + body > 1)
        luaL_error(L, "fetch: of `body`, `json` and `form` only one can be sent");
    f->pieces = body && lua_isfunction(L, -1);
    if (f->pieces)
        req->method = STR("POST");
    else if (body)
        req->body = check_text(L, -1, "body");
    if (json) {
        struct buf *text = json_scratch();
        if (json_encode_value(L, -3, text) != 0)
            luaL_error(L, "fetch: %s", lua_tostring(L, -1));
        lua_pushlstring(L, text->data, text->len);
    }
    if (form)
        push_form(L, lua_gettop(L) - 1);
    if (json || form) {
        req->body = check_text(L, -1, "body");
        req->method = STR("POST");
    }
    return json   ? STR("application/json")
           : form ? STR("application/x-www-form-urlencoded")
                  : STR("");
}

/* Returns the type that the body has of itself. */
static struct str read_options(lua_State *L, struct fetch_request *f)
{
    struct client_request *req = &f->req;
    static const char *const known[] = {
        "method",        "headers", "body",     "json",       "form",       "length", "timeout",
        "retry",         "as",      "sign",     "access_key", "secret_key", "region", "service",
        "session_token", "stream",  "redirect", NULL};
    lx_keys_check(L, 2, known, "fetch");
    struct str type = read_body(L, f);
    if (lua_getfield(L, 2, "method") != LUA_TNIL)
        req->method = check_text(L, -1, "method");
    if (lua_getfield(L, 2, "as") != LUA_TNIL)
        req->as = check_text(L, -1, "as");
    req->timeout = read_timeout(L);
    read_redirect(L, req);
    read_retry(L, req, &f->retry);
    read_sign(L, f);
    read_length(L, f);
    int kind = lua_getfield(L, 2, "stream");
    if (kind != LUA_TNIL && kind != LUA_TBOOLEAN)
        luaL_error(L, "fetch: stream must be true or false, not a %s", lua_typename(L, kind));
    f->stream = lua_toboolean(L, -1);
    if (f->stream && f->pieces)
        luaL_error(L, "fetch: a body in pieces has an answer that is gathered: leave `stream` out");
    lua_pop(L, 1);
    return type;
}

static bool has_header(const struct header *headers, unsigned count, struct str name)
{
    for (unsigned i = 0; i < count; i++)
        if (str_eq_nocase(headers[i].name, name))
            return true;
    return false;
}

/* ---- signatures ---- */

static void add_header(struct fetch_request *f, struct str name, struct str value)
{
    f->headers[f->req.header_count++] = (struct header){name, value};
}

/* The header as it is sent: with a port that is not the usual one. */
static struct str lx_host_of(lua_State *L, const struct client_url_parts *parts)
{
    bool usual = parts->port < 0 || parts->port == (str_eq(parts->scheme, STR("https")) ? 443 : 80);
    bool is_v6 = str_find(parts->host, ':') < parts->host.len;
    struct str s;
    lua_pushlstring(L, parts->host.ptr, parts->host.len);
    lua_pushfstring(L, is_v6 ? "[%s]" : "%s", lua_tostring(L, -1));
    if (!usual)
        lua_pushfstring(L, "%s:%d", lua_tostring(L, -1), parts->port);
    s.ptr = lua_tolstring(L, -1, &s.len);
    return s;
}

/* What is signed beside the host: what says how to read the body, and all that is AWS's own. */
static unsigned choose_signed(lua_State *L, const struct fetch_request *f, struct header *out)
{
    unsigned count = 0;
    for (unsigned i = 0; i < f->req.header_count; i++) {
        luaL_Buffer buffer;
        struct str name = f->headers[i].name;
        char *small = luaL_buffinitsize(L, &buffer, name.len);
        memcpy(small, name.ptr, name.len);
        str_lower(small, name.len);
        luaL_pushresultsize(&buffer, name.len);
        name.ptr = lua_tostring(L, -1);
        if (str_starts_with(name, STR("x-amz-")) || str_eq(name, STR("content-type")))
            out[count++] = (struct header){name, f->headers[i].value};
    }
    return count;
}

static struct client_url_parts *lx_split(lua_State *L, struct str url)
{
    size_t size = client_url_parts_size(url.len);
    struct client_url_parts *parts = lua_newuserdatauv(L, sizeof(*parts) + size, 0);
    struct err err;
    parts->size = size;
    if (client_split_url(url, parts, &err) != 0)
        luaL_error(L, "fetch: %s", err.text);
    return parts;
}

static void lx_sign(lua_State *L, struct fetch_request *f)
{
    static struct buf value; /* one a process: what is pushed may raise */
    struct header chosen[CRYPTO_AWS_HEADERS];
    const struct client_url_parts *parts = lx_split(L, f->req.url);
    time_t now = (time_t)lx_told_now(L);
    struct tm utc;
    luaL_checkstack(L, FETCH_HEADERS + 8, "fetch");
    if (has_header(f->headers, f->req.header_count, STR("authorization")))
        luaL_error(L, "fetch: a signed request brings its own Authorization; leave it out");
    if (gmtime_r(&now, &utc) == NULL || crypto_aws_hash(f->req.body, f->sign_payload) != 0)
        luaL_error(L, "out of memory");
    if (f->pieces && !str_eq(f->sign.service, STR("s3")))
        luaL_error(L, "fetch: a body in pieces can be signed for S3 alone");
    if (f->pieces)
        memcpy(f->sign_payload, "UNSIGNED-PAYLOAD", sizeof("UNSIGNED-PAYLOAD"));
    strftime(f->sign_date, sizeof(f->sign_date), "%Y%m%dT%H%M%SZ", &utc);
    add_header(f, STR("X-Amz-Date"), str_from(f->sign_date));
    add_header(f, STR("X-Amz-Content-Sha256"), str_from(f->sign_payload));
    if (f->session_token.len > 0)
        add_header(f, STR("X-Amz-Security-Token"), f->session_token);
    f->sign.count = choose_signed(L, f, chosen);
    chosen[f->sign.count++] = (struct header){STR("host"), lx_host_of(L, parts)};
    f->sign.headers = chosen;
    f->sign.method = f->req.method.len > 0 ? client_method_normal(f->req.method) : STR("GET");
    f->sign.path = parts->path;
    f->sign.query = parts->query;
    f->sign.date = str_from(f->sign_date);
    f->sign.payload = str_from(f->sign_payload);
    buf_clear(&value);
    if (crypto_aws_authorize(&f->sign, &value) != 0)
        luaL_error(L, "out of memory");
    lua_pushlstring(L, value.data, value.len);
    add_header(f, STR("Authorization"), check_text(L, -1, "authorization"));
}

/* ---- in whose name ---- */

static const struct outbound_spec *find_identity(lua_State *L, const struct services *services,
                                                 struct str name)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    for (unsigned i = 0; i < services->outbound_count; i++) {
        if (str_eq(services->outbound[i].name, name))
            return &services->outbound[i];
        if (i < NAMES_MAX)
            names[i] = services->outbound[i].name.ptr;
    }
    const char *meant = options_nearest(names, name);
    luaL_error(L, "fetch: outbound of functions.lua has no '%s'%s%s%s", name.ptr,
               meant != NULL ? "; did you mean '" : "", meant != NULL ? meant : "",
               meant != NULL ? "'?" : "");
}

/* The URL's host, and its port if it names one. */
static const char *lx_place_of(lua_State *L, struct str url)
{
    const struct client_url_parts *parts = lx_split(L, url);
    lua_pushlstring(L, parts->host.ptr, parts->host.len);
    return parts->port >= 0 ? lua_pushfstring(L, "%s:%d", lua_tostring(L, -1), parts->port)
                            : lua_tostring(L, -1);
}

/* Whose token the call brings, and that it goes nowhere else. */
static void lx_identify(lua_State *L, const struct services *services, struct client_request *req,
                        struct outbound_loan *loan)
{
    const struct outbound_spec *spec = find_identity(L, services, req->as);
    const struct invocation *inv = invocation_of(L);
    const struct client_rules its = {.hosts = spec->hosts, .host_count = spec->host_count};
    struct str subject = {"", 0};
    struct err err;
    double expires = NAN;
    int rc = client_check_url(&its, req->url, &err);
    if (rc == -EACCES)
        luaL_error(L, "outbound '%s' does not go to %s", req->as.ptr, lx_place_of(L, req->url));
    if (rc != 0)
        luaL_error(L, "fetch: %s", err.text);
    if (has_header(req->headers, req->header_count, STR("authorization")))
        luaL_error(L, "fetch: outbound '%s' brings its own Authorization; leave it out",
                   req->as.ptr);
    if (spec->grant == OUTBOUND_TOKEN_EXCHANGE) {
        if (inv == NULL || inv->call->claims == NULL)
            luaL_error(L,
                       "fetch: outbound '%s' speaks for the caller, and no token of a caller was "
                       "verified; give the function `auth = true`",
                       req->as.ptr);
        subject = inv->call->token;
        expires = inv->call->claims->expires;
    }
    if (!req->rules.any_public)
        req->rules.https_only = true;
    else
        req->rules = (struct client_rules){.hosts = spec->hosts,
                                           .host_count = spec->host_count,
                                           .any_public = true,
                                           .allow_loopback = req->rules.allow_loopback,
                                           .https_only = true};
    if (spec->source == NULL)
        return; /* `luafn test`: nobody is asked */
    outbound_loan_init(loan, spec->source, subject, expires);
    req->credential = &loan->credential;
}

static struct client_rules rules_of(const struct vm *vm)
{
    struct client_rules rules = {.any_public = true, .allow_loopback = vm->services->dev};
    if (vm->spec != NULL) {
        rules.hosts = vm->spec->fetch_hosts;
        rules.host_count = vm->spec->fetch_host_count;
        rules.any_public = !vm->spec->fetch_declared;
    }
    return rules;
}

/* W3C Trace Context 3.3: several lines are one list; a list that is too long is dropped whole. */
static struct str lx_trace_state(lua_State *L, struct exchange *ex)
{
    struct str all = {"", 0};
    for (uint32_t i = 0; i < ex->req.headers.len; i++) {
        const struct header *h = &ex->req.headers.items[i];
        if (!str_eq(h->name, STR("tracestate")) || h->value.len == 0)
            continue;
        all = all.len == 0 ? h->value
                           : lx_vm_check(L, arena_printf(&ex->arena, "%.*s,%.*s", STR_ARG(all),
                                                         STR_ARG(h->value)));
    }
    return str_count(all, ',') < LIMIT_TRACE_MEMBERS ? all : STR("");
}

/* The trace goes on in the request that this one makes. */
static void lx_add_trace(lua_State *L, struct fetch_request *f)
{
    struct client_request *req = &f->req;
    struct invocation *inv = invocation_of(L);
    struct hook *hook = told_hook(L);
    f->traced = 0;
    if (inv == NULL)
        return;
    struct str parent = inv->ex->traceparent;
    bool goes_on = parent.len > 0;
    if (hook != NULL && hook->type->traceparent != NULL)
        parent = lx_vm_check(L, hook->type->traceparent(hook, &goes_on));
    if (parent.len == 0)
        return;
    unsigned before = req->header_count;
    f->headers[req->header_count++] = (struct header){STR("traceparent"), parent};
    struct str state = goes_on ? lx_trace_state(L, inv->ex) : STR("");
    if (state.len > 0)
        f->headers[req->header_count++] = (struct header){STR("tracestate"), state};
    f->traced = req->header_count - before;
}

void lx_fetch_read(lua_State *L, struct fetch_request *f)
{
    struct client_request *req = &f->req;
    const struct vm *vm = vm_of(L);
    *req = (struct client_request){.max_bytes = LIMIT_FETCH_RESPONSE_BYTES,
                                   .timeout = LIMIT_FETCH_TIMEOUT,
                                   .max_redirects = LIMIT_FETCH_REDIRECTS,
                                   .headers = f->headers};
    f->stream = f->pieces = false;
    f->sign.access_key = f->session_token = (struct str){NULL, 0};
    req->url.ptr = luaL_checklstring(L, 1, &req->url.len);
    lua_settop(L, 2);
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        struct str type = read_options(L, f);
        req->header_count = read_headers(L, f->headers);
        if (type.len > 0 && !has_header(f->headers, req->header_count, STR("content-type")))
            f->headers[req->header_count++] = (struct header){STR("Content-Type"), type};
    }
    if (f->sign.access_key.len > 0 && req->as.ptr != NULL)
        luaL_error(L, "fetch: a request is signed, or made as '%s', but not both", req->as.ptr);
    if (f->sign.access_key.len > 0)
        lx_sign(L, f);
    lx_add_trace(L, f);
    bool replays = vm->hook != NULL && hook_replays(vm->hook);
    if (vm->services == NULL || (vm->services->client == NULL && !replays))
        luaL_error(L, "fetch cannot wait here");
    req->rules = rules_of(vm);
    if (req->as.ptr != NULL)
        lx_identify(L, vm->services, req, &f->loan);
}
