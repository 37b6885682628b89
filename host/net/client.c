/* libcurl's multi interface on the loop.
 *
 * libcurl says which sockets to watch (on_socket) and when to be woken (on_timeout); both wake-ups
 * end in drive(), which takes the finished transfers out and is the only place that calls back.
 * None of it runs inside of libcurl, so a callback may start, cancel or free what it likes.
 *
 * Redirects are followed here and not by libcurl: each hop's URL is parsed once, judged, and handed
 * over in parsed form, so that what was judged is what is fetched. The address is judged when a
 * socket is opened, and again before the request is sent, since a pooled connection may have been
 * opened under the rules of another function. */
#include "net/client.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/list.h"
#include "limits.h"
#include "net/client_rules.h"

enum { SPARE_HANDLES = 64 };

struct client {
    uv_loop_t *loop; /* borrowed */
    CURLM *multi;    /* owned; NULL once closed */
    uv_timer_t timer;
    struct list calls;
    struct list watches;
    CURL *spare[SPARE_HANDLES]; /* owned: reset handles, cheaper than new ones */
    unsigned spare_count;
    unsigned open; /* uv handles not yet closed; the memory goes with the last */
};

/* A socket of libcurl's under watch. */
struct watch {
    struct list node;
    uv_poll_t poll;
    struct client *client;
    curl_socket_t fd; /* borrowed from libcurl */
};

enum fault { FAULT_NONE, FAULT_RULES, FAULT_BODY, FAULT_HEAD, FAULT_MEMORY };

struct client_call {
    struct list node;
    struct client *client;
    CURL *easy;               /* owned */
    CURLU *url;               /* owned: this hop's */
    struct curl_slist *lines; /* owned: this hop's header lines */
    struct arena arena;       /* the copies below */
    struct str method;        /* NUL-terminated */
    struct str body;
    struct header *headers; /* values NUL-terminated */
    unsigned header_count;
    struct client_rules rules; /* lists borrowed */
    unsigned reach;            /* this hop's client_reach bits */
    unsigned redirects, max_redirects;
    uint64_t deadline; /* uv_hrtime */
    size_t max_bytes;
    struct buf received;
    size_t head_bytes, head_lines;
    enum fault fault;
    char tls_error[CURL_ERROR_SIZE];
    client_done_fn done;
    void *arg;
};

/* ---- URLs ---- */

static CURLU *parse(struct str text, struct err *err)
{
    char copy[LIMIT_TARGET_BYTES];
    if (text.len >= sizeof(copy) || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)) {
        err_set(err, -EINVAL, "URL is too long or has a zero byte");
        return NULL;
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    CURLU *url = curl_url();
    CURLUcode code =
        url == NULL ? CURLUE_OUT_OF_MEMORY
                    : curl_url_set(url, CURLUPART_URL, copy, CURLU_ALLOW_SPACE | CURLU_URLENCODE);
    if (code != CURLUE_OK) {
        err_set(err, -EINVAL, "URL is not valid: %s", curl_url_strerror(code));
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

static bool has_part(CURLU *url, CURLUPart what)
{
    char *part = NULL;
    bool has = curl_url_get(url, what, &part, 0) == CURLUE_OK;
    curl_free(part);
    return has;
}

/* Copies a part; an empty text when it is absent or does not fit. */
static void get_part(CURLU *url, CURLUPart what, char *out, size_t size)
{
    char *part = NULL;
    out[0] = '\0';
    if (curl_url_get(url, what, &part, CURLU_DEFAULT_PORT) == CURLUE_OK && strlen(part) < size) {
        memcpy(out, part, strlen(part) + 1);
    }
    curl_free(part);
}

static int get_origin(CURLU *url, struct client_url *out, char port[8], struct err *err)
{
    char scheme[16];
    char host[sizeof(out->host) + 2];
    get_part(url, CURLUPART_SCHEME, scheme, sizeof(scheme));
    get_part(url, CURLUPART_HOST, host, sizeof(host));
    get_part(url, CURLUPART_PORT, port, 8);
    out->https = strcmp(scheme, "https") == 0;
    if (!out->https && strcmp(scheme, "http") != 0) {
        return err_set(err, -EINVAL, "URL must begin with http:// or https://");
    }
    struct str name = str_from(host);
    if (name.len > 2 && name.ptr[0] == '[') {
        name = (struct str){host + 1, name.len - 2};
    } else if (str_ends_with(name, STR("."))) {
        name.len--;
    }
    if (name.len == 0 || name.len >= sizeof(out->host) || has_part(url, CURLUPART_ZONEID)) {
        return err_set(err, -EINVAL, "URL has no usable host");
    }
    for (size_t i = 0; i < name.len; i++) {
        out->host[i] = (char)tolower((unsigned char)name.ptr[i]);
    }
    out->host[name.len] = '\0';
    out->loopback = client_host_is_loopback(out->host);
    return 0;
}

/* Parses and judges: the URL to use, or NULL and *code. */
static CURLU *admit(const struct client_rules *rules, CURLU *url, unsigned *reach, int *code,
                    struct err *err)
{
    struct client_url origin;
    char port[8];
    *code = url == NULL ? -EINVAL : get_origin(url, &origin, port, err);
    if (*code == 0) {
        *code = client_rules_judge(rules, origin.https, origin.host, port, reach, err);
    }
    if (*code != 0) {
        curl_url_cleanup(url);
        return NULL;
    }
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    return url;
}

int client_parse_url(struct str text, struct client_url *out, struct err *err)
{
    char port[8];
    CURLU *url = parse(text, err);
    int code = url == NULL ? -EINVAL : get_origin(url, out, port, err);
    curl_url_cleanup(url);
    return code;
}

int client_check_url(const struct client_rules *rules, struct str text, struct err *err)
{
    unsigned reach;
    int code;
    CURLU *url = admit(rules, parse(text, err), &reach, &code, err);
    curl_url_cleanup(url);
    return code;
}

static bool same_origin(CURLU *a, CURLU *b)
{
    struct client_url x, y;
    char x_port[8], y_port[8];
    return get_origin(a, &x, x_port, NULL) == 0 && get_origin(b, &y, y_port, NULL) == 0 &&
           x.https == y.https && strcmp(x.host, y.host) == 0 && strcmp(x_port, y_port) == 0;
}

/* ---- what libcurl asks during a transfer ---- */

static size_t on_head_line(char *line, size_t size, size_t count, void *arg)
{
    (void)line;
    struct client_call *call = arg;
    call->head_bytes += size * count;
    call->head_lines++;
    if (call->head_bytes > LIMIT_FETCH_HEADER_BYTES ||
        call->head_lines > LIMIT_FETCH_HEADER_COUNT) {
        call->fault = FAULT_HEAD;
        return 0;
    }
    return size * count;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct client_call *call = arg;
    size_t len = size * count;
    if (len > call->max_bytes - call->received.len) {
        call->fault = FAULT_BODY;
        return 0;
    }
    buf_add(&call->received, bytes, len);
    if (buf_failed(&call->received)) {
        call->fault = FAULT_MEMORY;
        return 0;
    }
    return len;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct client_call *call = arg;
    if ((call->reach & client_reach_of(&address->addr)) == 0) {
        call->fault = FAULT_RULES;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before each request, on new and on pooled connections alike. */
static int on_before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    (void)local;
    (void)peer_port;
    (void)local_port;
    struct client_call *call = arg;
    if ((call->reach & client_reach_of_text(peer)) == 0) {
        call->fault = FAULT_RULES;
        return CURL_PREREQFUNC_ABORT;
    }
    call->fault = FAULT_NONE; /* another address of that name was refused; this one will do */
    return CURL_PREREQFUNC_OK;
}

/* ---- a hop ---- */

static bool add_line(struct client_call *call, const char *line)
{
    struct curl_slist *longer = line != NULL ? curl_slist_append(call->lines, line) : NULL;
    call->lines = longer != NULL ? longer : call->lines;
    return longer != NULL;
}

static bool build_lines(struct client_call *call)
{
    bool typed = false;
    curl_slist_free_all(call->lines);
    call->lines = NULL;
    for (unsigned i = 0; i < call->header_count; i++) {
        struct header h = call->headers[i];
        typed = typed || str_eq_nocase(h.name, STR("content-type"));
        /* libcurl drops "Name:" and sends "Name;" as a field without value. */
        struct str line = arena_printf(&call->arena, h.value.len > 0 ? "%.*s: %.*s" : "%.*s;%.*s",
                                       STR_ARG(h.name), STR_ARG(h.value));
        if (!add_line(call, line.ptr)) {
            return false;
        }
    }
    /* No type that libcurl makes up, and no wait for a 100 that most servers never send. */
    return (typed || add_line(call, "Content-Type:")) && add_line(call, "Expect:");
}

static void set_method(struct client_call *call)
{
    CURL *easy = call->easy;
    struct str method = call->method;
    bool with_body = call->body.ptr != NULL || str_eq(method, STR("POST")) ||
                     str_eq(method, STR("PUT")) || str_eq(method, STR("PATCH"));
    if (str_eq(method, STR("HEAD"))) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    }
    if (with_body) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.len > 0 ? call->body.ptr : "");
    } else {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method.ptr);
}

static void set_constants(struct client_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* A call that ends while its name is being resolved leaves the resolver's thread to end by
     * itself; joining it would hold the loop for as long as DNS likes. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "luafn/" LUAFN_VERSION);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->tls_error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

/* Sends this hop's request. Nothing moves before the loop's next turn. */
static int begin_hop(struct client_call *call)
{
    uint64_t now = uv_hrtime();
    if (now >= call->deadline) {
        return -ETIMEDOUT;
    }
    if (!build_lines(call)) {
        return -ENOMEM;
    }
    long left = (long)((call->deadline - now) / 1000000) + 1;
    buf_clear(&call->received);
    call->head_bytes = call->head_lines = 0;
    call->fault = FAULT_NONE;
    call->tls_error[0] = '\0';
    curl_easy_reset(call->easy);
    set_constants(call);
    set_method(call);
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->lines);
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, left);
    /* As long as the whole: libcurl deals it out over the addresses of a name. */
    curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, left);
    if (curl_easy_setopt(call->easy, CURLOPT_CURLU, call->url) != CURLE_OK ||
        curl_multi_add_handle(call->client->multi, call->easy) != CURLM_OK) {
        return -ENOMEM;
    }
    return 0;
}

static void keep_or_free_handle(struct client *client, CURL *easy)
{
    if (easy != NULL && client->multi != NULL && client->spare_count < SPARE_HANDLES) {
        curl_easy_reset(easy);
        client->spare[client->spare_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

static void call_free(struct client_call *call)
{
    list_remove(&call->node);
    keep_or_free_handle(call->client, call->easy);
    curl_slist_free_all(call->lines);
    curl_url_cleanup(call->url);
    buf_free(&call->received);
    arena_free(&call->arena);
    free(call);
}

/* ---- redirects ---- */

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Drops the headers that `goes` names. */
static void drop_headers(struct client_call *call, bool (*goes)(struct str name))
{
    unsigned kept = 0;
    for (unsigned i = 0; i < call->header_count; i++) {
        if (!goes(call->headers[i].name)) {
            call->headers[kept++] = call->headers[i];
        }
    }
    call->header_count = kept;
}

/* RFC 9110 15.4: what becomes of the method. */
static void adapt_method(struct client_call *call, long status)
{
    bool post = str_eq(call->method, STR("POST"));
    bool head = str_eq(call->method, STR("HEAD"));
    if ((status == 303 && !head) || ((status == 301 || status == 302) && post)) {
        call->method = STR("GET");
        call->body = (struct str){0};
        drop_headers(call, client_header_is_of_body);
    }
}

static const char *location_of(struct client_call *call)
{
    struct curl_header *found;
    return curl_easy_header(call->easy, "Location", 0, CURLH_HEADER, -1, &found) == CURLHE_OK
               ? found->value
               : NULL;
}

/* Goes on at `location`. 0 or a negative errno. */
static int follow(struct client_call *call, long status, const char *location, struct err *err)
{
    if (call->redirects == call->max_redirects) {
        return err_set(err, -ELOOP, "too many redirects (ELOOP)");
    }
    call->redirects++;
    CURLU *next = curl_url_dup(call->url);
    if (next != NULL && curl_url_set(next, CURLUPART_URL, location,
                                     CURLU_ALLOW_SPACE | CURLU_URLENCODE) != CURLUE_OK) {
        curl_url_cleanup(next);
        return err_set(err, -EIO, "redirect to a URL that is not valid");
    }
    int code;
    next = admit(&call->rules, next, &call->reach, &code, err);
    if (next == NULL) {
        return code;
    }
    if (!same_origin(call->url, next)) {
        drop_headers(call, client_header_is_secret);
    }
    adapt_method(call, status);
    curl_url_cleanup(call->url);
    call->url = next;
    return begin_hop(call);
}

/* ---- the end of a call ---- */

static int errno_of(struct client_call *call, CURLcode code)
{
    long os_error = 0;
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_error);
        return os_error > 0 ? (int)-os_error : -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENOENT;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return -ECONNRESET;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
        return -EPROTO;
    default:
        return -EIO;
    }
}

static int describe_errno(struct err *err, int code)
{
    char name[32], text[128];
    uv_err_name_r(code, name, sizeof(name));
    uv_strerror_r(code, text, sizeof(text));
    return err_set(err, code, "%s (%s)", text, name);
}

/* What went wrong, as an errno and for people. */
static int explain(struct client_call *call, CURLcode code, struct err *err)
{
    switch (call->fault) {
    case FAULT_RULES:
        return err_set(err, -EACCES, "host resolves to an address that is not allowed (EACCES)");
    case FAULT_BODY:
        return err_set(err, -EMSGSIZE, "answer is larger than %zu bytes (EMSGSIZE)",
                       call->max_bytes);
    case FAULT_HEAD:
        return err_set(err, -EMSGSIZE, "head of the answer is too large (EMSGSIZE)");
    case FAULT_MEMORY:
        return describe_errno(err, -ENOMEM);
    case FAULT_NONE:
        break;
    }
    int error = errno_of(call, code);
    if (error == -ENOENT) {
        return err_set(err, error, "host not found (ENOTFOUND)");
    }
    if (error == -EPROTO) {
        return err_set(err, error, "TLS: %s",
                       call->tls_error[0] != '\0' ? call->tls_error : curl_easy_strerror(code));
    }
    return error == -EIO ? err_set(err, error, "%s", curl_easy_strerror(code))
                         : describe_errno(err, error);
}

/* The final response's fields into the arena. 0 or -ENOMEM. */
static int collect_headers(struct client_call *call, struct client_response *res)
{
    res->headers = arena_alloc(&call->arena, (call->head_lines + 1) * sizeof(struct header));
    if (res->headers == NULL) {
        return -ENOMEM;
    }
    struct curl_header *h = NULL;
    while (res->header_count < call->head_lines &&
           (h = curl_easy_nextheader(call->easy, CURLH_HEADER, -1, h)) != NULL) {
        struct str name = str_from(h->name);
        char *lower = arena_alloc(&call->arena, name.len + 1);
        if (lower == NULL) {
            return -ENOMEM;
        }
        for (size_t i = 0; i < name.len; i++) {
            lower[i] = (char)tolower((unsigned char)name.ptr[i]);
        }
        /* Values stay libcurl's until the handle is reset, after the callback. The one of an empty
         * field begins with a rest of its line end (7.88). */
        struct str value = {h->value, strcspn(h->value, "\r\n")};
        res->headers[res->header_count++] = (struct header){{lower, name.len}, value};
    }
    return 0;
}

/* Calls back and ends the call. */
static void report(struct client_call *call, int error, const char *text)
{
    struct client_response res = {.error = error, .error_text = text};
    char *url = NULL;
    if (error == 0) {
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &res.status);
        curl_url_get(call->url, CURLUPART_URL, &url, 0);
        res.url = str_from(url);
        res.body = buf_str(&call->received);
        if (collect_headers(call, &res) != 0) {
            res =
                (struct client_response){.error = -ENOMEM, .error_text = "out of memory (ENOMEM)"};
        }
    }
    list_remove(&call->node); /* first, as the callback may free the client */
    call->done(call->arg, &res);
    curl_free(url);
    call_free(call);
}

/* A transfer has ended: go on with its redirect, or report. */
static void on_hop_done(struct client_call *call, CURLcode result)
{
    long status = 0;
    struct err err = {.text = ""};
    curl_multi_remove_handle(call->client->multi, call->easy);
    if (result != CURLE_OK) {
        int code = explain(call, result, &err);
        report(call, code, err.text);
        return;
    }
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    const char *location = NULL;
    if (call->max_redirects > 0 && is_redirect(status)) {
        location = location_of(call);
    }
    int code = location != NULL ? follow(call, status, location, &err) : 0;
    if (code != 0 && err.text[0] == '\0') {
        describe_errno(&err, code);
    }
    if (location == NULL || code != 0) {
        report(call, code, err.text);
    }
}

/* ---- the loop ---- */

/* Takes out what has ended. The client's memory outlives this, even if a callback frees it. */
static void drain(struct client *client)
{
    CURLMsg *message;
    int left;
    while (client->multi != NULL &&
           (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        CURLcode result = message->data.result; /* the message goes with its handle */
        char *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        on_hop_done((struct client_call *)(void *)call, result);
    }
}

static void drive(struct client *client, curl_socket_t fd, int events)
{
    int running;
    curl_multi_socket_action(client->multi, fd, events, &running);
    drain(client);
}

static void on_timer(uv_timer_t *timer)
{
    drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = container_of(poll, struct watch, poll);
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    drive(watch->client, watch->fd, flags);
}

static void client_unref(struct client *client)
{
    if (--client->open == 0) {
        free(client);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = container_of((uv_poll_t *)(void *)handle, struct watch, poll);
    client_unref(watch->client);
    free(watch);
}

static void watch_close(struct watch *watch)
{
    list_remove(&watch->node);
    /* Off the descriptor at once: libcurl closes it as soon as we return. */
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
}

static struct watch *watch_new(struct client *client, curl_socket_t fd)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL || uv_poll_init_socket(client->loop, &watch->poll, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->client = client;
    watch->fd = fd;
    list_push(&client->watches, &watch->node);
    client->open++;
    return watch;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct client *client = arg;
    struct watch *watch = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            curl_multi_assign(client->multi, fd, NULL);
            watch_close(watch);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = watch_new(client, fd);
        if (watch == NULL) {
            return -1; /* libcurl ends all transfers of this multi handle */
        }
        curl_multi_assign(client->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN) != 0 ? UV_READABLE : 0;
    events |= (what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0;
    return uv_poll_start(&watch->poll, events, on_poll) == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct client *client = arg;
    if (timeout_ms < 0) {
        return uv_timer_stop(&client->timer);
    }
    return uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
}

/* ---- the interface ---- */

struct client *client_new(uv_loop_t *loop)
{
    static bool initialised;
    if (!initialised && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return NULL;
    }
    initialised = true;
    struct client *client = calloc(1, sizeof(*client));
    CURLM *multi = client != NULL ? curl_multi_init() : NULL;
    if (multi == NULL) {
        free(client);
        return NULL;
    }
    client->loop = loop;
    client->multi = multi;
    client->open = 1;
    list_init(&client->calls);
    list_init(&client->watches);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)LIMIT_FETCH_CONNECTIONS);
    return client;
}

static void on_timer_closed(uv_handle_t *handle)
{
    client_unref(handle->data);
}

void client_free(struct client *client)
{
    if (client == NULL) {
        return;
    }
    list_each(node, &client->calls)
    {
        client_cancel(container_of(node, struct client_call, node));
    }
    while (client->spare_count > 0) {
        curl_easy_cleanup(client->spare[--client->spare_count]);
    }
    curl_multi_cleanup(client->multi); /* still reports the sockets that it closes */
    client->multi = NULL;
    list_each(node, &client->watches)
    {
        watch_close(container_of(node, struct watch, node));
    }
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

/* Copies what the caller lent. 0, -EINVAL for a header that cannot be sent, -ENOMEM. */
static int copy_request(struct client_call *call, const struct client_request *req, struct err *err)
{
    call->method = arena_copy(&call->arena, req->method.len > 0 ? req->method : STR("GET"));
    call->body = req->body.ptr != NULL ? arena_copy(&call->arena, req->body) : req->body;
    call->headers = arena_alloc(&call->arena, (req->header_count + 1) * sizeof(struct header));
    if (call->method.ptr == NULL || call->headers == NULL ||
        (req->body.ptr != NULL && call->body.ptr == NULL)) {
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (!header_name_is_valid(call->method)) {
        return err_set(err, -EINVAL, "method is not valid");
    }
    for (unsigned i = 0; i < req->header_count; i++) {
        struct header from = req->headers[i];
        struct header to = {arena_copy(&call->arena, from.name),
                            arena_copy(&call->arena, str_trim(from.value))};
        if (!header_name_is_valid(from.name) || !header_value_is_valid(from.value)) {
            return err_set(err, -EINVAL, "header %u is not valid", i + 1);
        }
        if (to.name.ptr == NULL || to.value.ptr == NULL) {
            return err_set(err, -ENOMEM, "out of memory");
        }
        if (!client_header_is_left_out(from.name)) {
            call->headers[call->header_count++] = to;
        }
    }
    return 0;
}

int client_start(struct client *client, const struct client_request *req, client_done_fn done,
                 void *arg, struct client_call **out, struct err *err)
{
    unsigned reach;
    int code;
    CURLU *url = admit(&req->rules, parse(req->url, err), &reach, &code, err);
    if (url == NULL) {
        return code;
    }
    struct client_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        curl_url_cleanup(url);
        return err_set(err, -ENOMEM, "out of memory");
    }
    *call = (struct client_call){.client = client,
                                 .url = url,
                                 .rules = req->rules,
                                 .reach = reach,
                                 .max_redirects = req->max_redirects,
                                 .deadline = uv_hrtime() + (uint64_t)(req->timeout * 1e9),
                                 .max_bytes = req->max_bytes,
                                 .done = done,
                                 .arg = arg};
    arena_init(&call->arena);
    list_push(&client->calls, &call->node);
    code = copy_request(call, req, err);
    call->easy = client->spare_count > 0 ? client->spare[--client->spare_count] : curl_easy_init();
    if (code == 0 && (call->easy == NULL || (code = begin_hop(call)) != 0)) {
        code = describe_errno(err, code != 0 ? code : -ENOMEM);
    }
    if (code != 0) {
        call_free(call);
        return code;
    }
    *out = call;
    return 0;
}

void client_cancel(struct client_call *call)
{
    curl_multi_remove_handle(call->client->multi, call->easy);
    call_free(call);
}
