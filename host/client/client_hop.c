/* One hop of a call: what is sent, what libcurl asks meanwhile, and where a redirect leads.
 *
 * Redirects are followed here and not by libcurl, so that each hop's URL is judged. The address is
 * judged when a socket is opened, and again before the request is sent, since a pooled connection
 * may have been opened under the rules of another function. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "client/client_rules.h"

/* ---- what libcurl asks during a transfer ---- */

static long number_of(struct client_call *call, CURLINFO what)
{
    long number = 0;
    curl_easy_getinfo(call->easy, what, &number);
    return number;
}

/* The connection ends with this answer. */
static void leave_connection(struct client_call *call)
{
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
}

/* An answer that ends with its head, whatever its fields say. Servers are known to send a body all
 * the same; when it is late, it is the next answer. HTTP/2 has its frames. */
static bool is_bodiless(struct client_call *call)
{
    long status = number_of(call, CURLINFO_RESPONSE_CODE);
    long version = number_of(call, CURLINFO_HTTP_VERSION);
    return (version == CURL_HTTP_VERSION_1_0 || version == CURL_HTTP_VERSION_1_1) &&
           (str_eq(call->method, STR("HEAD")) || status == 204 || status == 304);
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Has this hop's answer a place to go on to, and is that wanted? NULL if not. */
static const char *location_of(struct client_call *call)
{
    struct curl_header *found;
    if ((call->max_redirects == 0 && !call->no_redirect) ||
        !is_redirect(number_of(call, CURLINFO_RESPONSE_CODE)) ||
        curl_easy_header(call->easy, "Location", 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
        return NULL;
    return found->value;
}

/* What the body of a final answer is unpacked with, if anything: not of a part of it, and not
 * where it is passed on. */
static bool choose_decoder(struct client_call *call)
{
    struct curl_header *coding;
    long status = number_of(call, CURLINFO_RESPONSE_CODE);
    if (call->on_stream != NULL || status == 206 ||
        curl_easy_header(call->easy, "Content-Encoding", 0, CURLH_HEADER, -1, &coding) !=
            CURLHE_OK ||
        coding->amount > 1)
        return true;
    struct str value = {coding->value, strcspn(coding->value, "\r\n")};
    return decoding_new(value, &call->decoder) == 0;
}

enum { LENGTH_DIGITS = 18 }; /* what fits 63 bits; libcurl takes more for no length at all */

static bool is_length(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0 && s.len <= LENGTH_DIGITS;
}

/* RFC 9112 6.3: one number, however often it is said. Of two libcurl takes one, of "30s" 30. */
static bool length_is_clear(struct client_call *call)
{
    struct curl_header *h;
    if (curl_easy_header(call->easy, "Transfer-Encoding", 0, CURLH_HEADER, -1, &h) == CURLHE_OK)
        return true;
    struct str length = {NULL, 0};
    for (size_t i = 0;
         curl_easy_header(call->easy, "Content-Length", i, CURLH_HEADER, -1, &h) == CURLHE_OK;
         i++) {
        struct str rest = {h->value, strcspn(h->value, "\r\n")}, part;
        while (str_split_next(&rest, ',', &part)) {
            part = str_trim(part);
            if (!is_length(part) || (length.ptr != NULL && !str_eq(part, length)))
                return false;
            length = part;
        }
    }
    return true;
}

static bool on_head_end(struct client_call *call)
{
    if (number_of(call, CURLINFO_RESPONSE_CODE) < 200 || call->head_over)
        return true; /* an interim answer, or trailers */
    call->head_over = true;
    if (is_bodiless(call)) {
        leave_connection(call);
    } else if (!length_is_clear(call)) {
        call->fault = FAULT_LENGTH;
        return false;
    }
    if (location_of(call) != NULL ||
        client_again_on_head(call, number_of(call, CURLINFO_RESPONSE_CODE)))
        return true; /* a hop whose body nobody wants */
    if (call->on_stream != NULL)
        client_stream_on_head(call);
    if (choose_decoder(call))
        return true;
    call->fault = FAULT_MEMORY;
    return false;
}

static size_t on_head_line(char *line, size_t size, size_t count, void *arg)
{
    struct client_call *call = arg;
    call->head_bytes += size * count;
    call->head_lines++;
    if (call->head_bytes > LIMIT_FETCH_HEADER_BYTES ||
        call->head_lines > LIMIT_FETCH_HEADER_COUNT) {
        call->fault = FAULT_HEAD;
        return 0;
    }
    if (call->fault == FAULT_BLANK)
        return 0;
    bool empty = size * count > 0 && (line[0] == '\r' || line[0] == '\n');
    return empty && !on_head_end(call) ? 0 : size * count;
}

/* A line that goes on with the one before, where there is none: libcurl (7.88) appends it to the
 * last field of the transfer that its handle has done before, whose memory is gone. It shows each
 * line here before it does so; and the blank is one no more. RFC 9112 2.2: such an answer is to be
 * refused. */
static void look_at_line(struct client_call *call, char *text, size_t len)
{
    if (call->after_status && len > 0 && (text[0] == ' ' || text[0] == '\t')) {
        call->fault = FAULT_BLANK;
        text[0] = '?';
    }
    call->after_status = str_starts_with((struct str){text, len}, STR("HTTP/"));
}

/* What libcurl (7.88) read behind an answer it drops, and says so here alone; the rest of it would
 * be the next answer. */
static int on_trace(CURL *easy, curl_infotype type, char *text, size_t len, void *arg)
{
    (void)easy;
    struct str line = {text, len};
    if (type == CURLINFO_HEADER_IN)
        look_at_line(arg, text, len);
    if (type == CURLINFO_TEXT &&
        (str_starts_with(line, STR("Excess found")) || str_starts_with(line, STR("Leftovers"))))
        leave_connection(arg);
    return 0;
}

static int keep(struct client_call *call, struct str bytes)
{
    if (call->raw_bytes > call->max_bytes)
        return -EMSGSIZE;
    if (call->decoder != NULL)
        return decoding_write(call->decoder, bytes, &call->received, call->max_bytes);
    buf_add_str(&call->received, bytes);
    return buf_failed(&call->received) ? -ENOMEM : 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct client_call *call = arg;
    size_t len = size * count;
    if (call->again_as != AGAIN_NOT) {
        call->raw_bytes += len;
        return call->raw_bytes <= LIMIT_FETCH_RETRY_SKIPPED ? len : 0;
    }
    if (call->on_stream != NULL)
        return client_stream_on_body(call, bytes, len);
    call->raw_bytes += len;
    int code = keep(call, (struct str){bytes, len});
    if (code == 0)
        return len;
    call->fault = code == -EMSGSIZE ? FAULT_BODY : code == -EBADMSG ? FAULT_CODING : FAULT_MEMORY;
    return 0;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct client_call *call = arg;
    if ((call->reach & client_reach_of(&address->addr)) == 0) {
        call->fault = FAULT_RULES;
        return CURL_SOCKET_BAD;
    }
    int fd = client_socket_open(call, address);
    if (fd < 0) {
        call->system_error = -errno;
        call->fault = FAULT_SYSTEM;
    }
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* libcurl comes here again when a pooled connection has ended without an answer. */
static enum client_fault judge_connection(struct client_call *call, const char *peer, int own_port)
{
    if ((call->reach & client_reach_of_text(peer)) == 0)
        return FAULT_RULES;
    if (number_of(call, CURLINFO_REQUEST_SIZE) > 0 &&
        (!client_method_is_idempotent(call->method) || call->sent_more))
        return FAULT_TWICE;
    if (number_of(call, CURLINFO_NUM_CONNECTS) > 0) {
        client_socket_use(call, own_port);
        return FAULT_NONE;
    }
    return client_socket_is_quiet(call, own_port) ? FAULT_NONE : FAULT_STALE;
}

/* Before each request, on new and on pooled connections alike. */
static int on_before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    (void)local;
    (void)peer_port;
    struct client_call *call = arg;
    /* Another address of that name may have been refused; this one may do. */
    call->fault = judge_connection(call, peer, local_port);
    /* on_trace is for what comes from here on: what libcurl says of finding a connection costs a
     * fifth of a fetch to write down. */
    curl_easy_setopt(call->easy, CURLOPT_VERBOSE, 1L);
    return call->fault == FAULT_NONE ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

/* ---- a hop ---- */

static bool add_line(struct client_call *call, const char *line)
{
    struct curl_slist *longer = line != NULL ? curl_slist_append(call->lines, line) : NULL;
    call->lines = longer != NULL ? longer : call->lines;
    return longer != NULL;
}

/* Of a part nothing can be unpacked; a stream is passed on as it comes, since what would be
 * unpacked behind a pause has no bound. */
static bool add_codings(struct client_call *call, bool named)
{
    if (named || call->on_stream != NULL)
        return true;
    for (unsigned i = 0; i < call->header_count; i++)
        if (str_eq_nocase(call->headers[i].name, STR("range")))
            return add_line(call, "Accept-Encoding: identity");
    return add_line(call, "Accept-Encoding: " DECODING_ACCEPTS);
}

static bool build_lines(struct client_call *call)
{
    bool typed = false, coded = false;
    curl_slist_free_all(call->lines);
    call->lines = NULL;
    for (unsigned i = 0; i < call->header_count; i++) {
        struct header h = call->headers[i];
        typed = typed || str_eq_nocase(h.name, STR("content-type"));
        coded = coded || str_eq_nocase(h.name, STR("accept-encoding"));
        /* libcurl drops "Name:" and sends "Name;" as a field without value. */
        struct str line = arena_printf(&call->arena, h.value.len > 0 ? "%.*s: %.*s" : "%.*s;%.*s",
                                       STR_ARG(h.name), STR_ARG(h.value));
        if (!add_line(call, line.ptr))
            return false;
    }
    if (call->authorization.len > 0 &&
        !add_line(
            call,
            arena_printf(&call->arena, "Authorization: %.*s", STR_ARG(call->authorization)).ptr))
        return false;
    /* No type that libcurl makes up, and no wait for a 100 that most servers never send. */
    return (typed || add_line(call, "Content-Type:")) && add_line(call, "Expect:") &&
           add_codings(call, coded);
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
    if (call->read_body != NULL) {
        bool sized = call->body_size != CLIENT_BODY_UNSIZED;
        curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)LIMIT_FETCH_STREAM);
        curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
                         sized ? (curl_off_t)call->body_size : (curl_off_t)-1);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, client_stream_read_body);
        curl_easy_setopt(easy, CURLOPT_READDATA, call);
        curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, client_stream_on_rewind);
        curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
    } else if (with_body) {
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
    /* Where libcurl looks a name up itself after all (it connects once more, after a minute), it
     * must not join the thread of a call that ends. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    /* In HTTP/2 a stream that waits for its reader holds up its neighbours (7.88). */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     (long)(call->on_stream == NULL && call->read_body == NULL
                                ? CURL_HTTP_VERSION_2TLS
                                : CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "luafn/" LUAFN_VERSION);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->tls_error);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, client_socket_on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->client);
    curl_easy_setopt(easy, CURLOPT_DEBUGFUNCTION, on_trace);
    curl_easy_setopt(easy, CURLOPT_DEBUGDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
}

static void reset(struct client_call *call)
{
    buf_clear(&call->received);
    call->head_bytes = call->head_lines = 0;
    call->head_done = call->head_over = call->paused = false;
    call->again_as = AGAIN_NOT;
    call->after_status = false;
    call->raw_bytes = 0;
    decoding_free(call->decoder);
    call->decoder = NULL;
    call->fault = FAULT_NONE;
    call->tls_error[0] = '\0';
    curl_easy_reset(call->easy);
}

/* Tells libcurl where the host is. */
static bool set_addresses(struct client_call *call, const char *addresses)
{
    struct client_url origin;
    char port[8], text[1024];
    curl_slist_free_all(call->found);
    call->found = NULL;
    if (addresses[0] == '\0')
        return true;
    if (client_url_origin(call->url, &origin, port, NULL) != 0)
        return false;
    snprintf(text, sizeof(text), "+%s:%s:%s", origin.host, port, addresses);
    call->found = curl_slist_append(NULL, text);
    return call->found != NULL &&
           curl_easy_setopt(call->easy, CURLOPT_RESOLVE, call->found) == CURLE_OK;
}

static void on_end(struct client_call *call, CURLcode result);

/* What begin has made, now that the addresses are known. 0, -ETIMEDOUT, -ENOMEM. */
static int send_request(struct client_call *call, const char *addresses)
{
    uint64_t now = uv_hrtime();
    if (now >= call->deadline)
        return -ETIMEDOUT;
    long left = (long)((call->deadline - now) / 1000000) + 1;
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, call->read_body == NULL ? left : 0L);
    /* As long as the whole: libcurl deals it out over the addresses of a name. */
    curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, left);
    if (call->read_body != NULL)
        client_call_watch(call);
    else
        list_remove(&call->in_timed); /* libcurl keeps it */
    if (!set_addresses(call, addresses) ||
        curl_easy_setopt(call->easy, CURLOPT_CURLU, call->url) != CURLE_OK)
        return -ENOMEM;
    return client_multi_add(call, on_end);
}

/* 0, -ETIMEDOUT, -ENOMEM. */
static int begin(struct client_call *call)
{
    struct client_url origin;
    char port[8];
    if (!build_lines(call))
        return -ENOMEM;
    reset(call);
    set_constants(call);
    set_method(call);
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->lines);
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, call->fresh || call->again ? 1L : 0L);
    /* Nor is it kept: the next such call would not take it. */
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, call->fresh ? 1L : 0L);
    int code = client_url_origin(call->url, &origin, port, NULL);
    return code != 0 ? code : client_lookup(call, origin.host, send_request);
}

static int begin_identified(struct client_call *call, struct err *err)
{
    int code = begin(call);
    return code == 0 ? 0 : client_describe_errno(err, code);
}

int client_hop_start(struct client_call *call, struct err *err)
{
    return client_again_identify(call, begin_identified, err);
}

/* The same on a new connection, after FAULT_STALE. */
static int begin_again(struct client_call *call)
{
    call->again = true;
    int code = begin(call);
    call->again = false;
    return code;
}

/* ---- redirects ---- */

/* Drops the headers that `goes` names. */
static void drop_headers(struct client_call *call, bool (*goes)(struct str name))
{
    unsigned kept = 0;
    for (unsigned i = 0; i < call->header_count; i++)
        if (!goes(call->headers[i].name))
            call->headers[kept++] = call->headers[i];
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

/* Goes on there. 0 or a negative errno; `err` may stay empty. */
static int follow(struct client_call *call, const char *location, struct err *err)
{
    if (call->no_redirect)
        return err_set(err, -ELOOP, "the answer is a redirect (ELOOP)");
    if (call->redirects == call->max_redirects)
        return err_set(err, -ELOOP, "too many redirects (ELOOP)");
    call->redirects++;
    CURLU *next = curl_url_dup(call->url);
    if (next != NULL && (curl_url_set(next, CURLUPART_URL, location,
                                      CURLU_ALLOW_SPACE | CURLU_URLENCODE) != CURLUE_OK ||
                         !client_url_settle(next))) {
        curl_url_cleanup(next);
        return err_set(err, -EIO, "redirect to a URL that is not valid");
    }
    int code;
    next = client_url_admit(&call->rules, next, &call->reach, &code, err);
    if (next == NULL)
        return code;
    if (!client_url_same_origin(call->url, next)) {
        drop_headers(call, client_header_is_secret);
        call->authorization = (struct str){NULL, 0};
        call->identified = true; /* as nobody */
    }
    adapt_method(call, number_of(call, CURLINFO_RESPONSE_CODE));
    curl_url_cleanup(call->url);
    call->url = next;
    return begin(call);
}

/* What follows this hop: 0 and *goes_on, or what the call came to. */
static int go_on(struct client_call *call, CURLcode result, bool *goes_on, struct err *err)
{
    *goes_on = true;
    if (call->again_as == AGAIN_IDENTIFIED)
        return client_hop_start(call, err);
    if (call->again_as == AGAIN_RESTED) {
        client_again_rest(call, client_hop_start);
        return 0;
    }
    if (result != CURLE_OK && call->fault == FAULT_STALE)
        return begin_again(call);
    const char *location = result == CURLE_OK ? location_of(call) : NULL;
    *goes_on = location != NULL;
    if (result != CURLE_OK)
        return client_explain(call, result, err);
    if (!call->head_over && number_of(call, CURLINFO_RESPONSE_CODE) >= 200)
        return err_set(err, -ECONNRESET, "the head of the answer is cut off (ECONNRESET)");
    return location != NULL ? follow(call, location, err) : client_check_body(call, err);
}

/* Goes on with a redirect or once more, or reports. */
static void on_end(struct client_call *call, CURLcode result)
{
    struct err err = {.text = ""};
    bool goes_on;
    curl_multi_remove_handle(call->client->multi, call->easy);
    int code = go_on(call, result, &goes_on, &err);
    if (code != 0 && err.text[0] == '\0')
        client_describe_errno(&err, code);
    if (code != 0 && !goes_on && client_again_on_fault(call, code))
        client_again_rest(call, client_hop_start);
    else if (code != 0 || !goes_on)
        client_call_end(call, code, err.text);
}
