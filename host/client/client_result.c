/* What a call came to: errors as errnos and for people, header fields by name. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"

enum { TOKEN_HIDDEN = 15 /* "Bearer " and a token too long to be a word by accident */ };

static int errno_of(struct client_call *call, CURLcode code)
{
    long os_error = 0, sent = 0;
    /* The connection that it went over is gone, and there is no other. */
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    if (sent > 0 && (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST))
        return -ECONNRESET;
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
    case CURLE_UNSUPPORTED_PROTOCOL:  /* the URL's was looked at before */
    case CURLE_BAD_FUNCTION_ARGUMENT: /* a field of the answer that its own list cannot take */
    case CURLE_WEIRD_SERVER_REPLY:
        return -EBADMSG;
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

int client_describe_errno(struct err *err, int code)
{
    char name[32], text[128];
    uv_err_name_r(code, name, sizeof(name));
    uv_strerror_r(code, text, sizeof(text));
    return err_set(err, code, "%s (%s)", text, name);
}

static int explain_head(struct err *err)
{
    return err_set(err, -EMSGSIZE, "head of the answer has more than %d lines or %d KiB (EMSGSIZE)",
                   LIMIT_FETCH_HEADER_COUNT, LIMIT_FETCH_HEADER_BYTES / 1024);
}

/* libcurl (7.88) says "out of memory" of one line that is longer than 100 KB. */
static bool is_endless_line(struct client_call *call, CURLcode code)
{
    long sent = 0;
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    void *room = code == CURLE_OUT_OF_MEMORY && sent > 0 && !call->head_over
                     ? malloc(4 * LIMIT_FETCH_HEADER_BYTES)
                     : NULL;
    bool is = room != NULL;
    free(room);
    return is;
}

int client_check_body(struct client_call *call, struct err *err)
{
    if (call->decoder == NULL || decoding_is_done(call->decoder))
        return 0;
    return err_set(err, -EBADMSG, "the %s body of the answer is cut off (EBADMSG)",
                   decoding_name(call->decoder));
}

int client_explain(struct client_call *call, CURLcode code, struct err *err)
{
    switch (call->fault) {
    case FAULT_RULES:
        return err_set(err, -EACCES, "host resolves to an address that is not allowed (EACCES)");
    case FAULT_BODY:
        return err_set(err, -EMSGSIZE, "answer is larger than %zu bytes (EMSGSIZE)",
                       call->max_bytes);
    case FAULT_HEAD:
        return explain_head(err);
    case FAULT_BLANK:
        return err_set(err, -EBADMSG,
                       "the first header line of the answer begins with a blank (EBADMSG)");
    case FAULT_LENGTH:
        return err_set(
            err, -EBADMSG,
            "the answer's Content-Length is not one number of at most 18 digits (EBADMSG)");
    case FAULT_MEMORY:
        return client_describe_errno(err, -ENOMEM);
    case FAULT_CODING:
        return err_set(err, -EBADMSG, "the %s body of the answer is damaged (EBADMSG)",
                       decoding_name(call->decoder));
    case FAULT_SYSTEM:
        return client_describe_errno(err, call->system_error);
    case FAULT_TWICE:
        return err_set(err, -ECONNRESET,
                       "connection was closed before the answer; a %s is not sent twice "
                       "(ECONNRESET)",
                       call->method.ptr);
    case FAULT_STALE: /* not reached: such a hop begins anew */
    case FAULT_NONE:
        break;
    }
    if (is_endless_line(call, code))
        return explain_head(err);
    int error = errno_of(call, code);
    if (error == -ENOENT)
        return err_set(err, error, "host not found (ENOTFOUND)");
    if (error == -EBADMSG)
        return err_set(err, error, "the answer is not HTTP (EBADMSG)");
    if (error == -EPROTO) {
        return err_set(err, error, "TLS: %s",
                       call->tls_error[0] != '\0' ? call->tls_error : curl_easy_strerror(code));
    }
    return error == -EIO ? err_set(err, error, "%s", curl_easy_strerror(code))
                         : client_describe_errno(err, error);
}

/* An API that sends back what it was sent shows no script the token of its call. */
static void hide_token(struct client_call *call, char *bytes, size_t len)
{
    struct str token = call->authorization;
    if (token.len < TOKEN_HIDDEN)
        return;
    token = str_skip(token, str_find(token, ' ') + 1);
    for (char *at = bytes;
         (at = memmem(at, len - (size_t)(at - bytes), token.ptr, token.len)) != NULL;
         at += token.len)
        memset(at, '*', token.len);
}

void client_hide_token(struct client_call *call)
{
    if (call->received.len > 0)
        hide_token(call, call->received.data, call->received.len);
}

/* Of this hop, in the arena. libcurl has written it down for itself, which is not done twice. */
static struct str url_of(struct client_call *call)
{
    char *text = NULL;
    struct str url = {NULL, 0};
    if (call->authorization.len == 0 &&
        curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &text) == CURLE_OK && text != NULL)
        return arena_copy(&call->arena, str_from(text));
    if (curl_url_get(call->url, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        hide_token(call, text, strlen(text));
        url = arena_copy(&call->arena, str_from(text));
    }
    curl_free(text);
    return url;
}

int client_read_head(struct client_call *call, struct client_response *res)
{
    *res = (struct client_response){.error = 0};
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &res->status);
    res->url = url_of(call);
    res->headers = arena_alloc(&call->arena, (call->head_lines + 1) * sizeof(struct header));
    if (res->url.ptr == NULL || res->headers == NULL)
        return -ENOMEM;
    struct curl_header *h = NULL;
    while (res->header_count < call->head_lines &&
           (h = curl_easy_nextheader(call->easy, CURLH_HEADER, -1, h)) != NULL) {
        struct str name = arena_lower(&call->arena, str_from(h->name));
        if (name.ptr == NULL)
            return -ENOMEM;
        /* Values stay libcurl's until the handle is reset, after the callback. The one of an empty
         * field begins with a rest of its line end (7.88). */
        struct str value = {h->value, strcspn(h->value, "\r\n")};
        hide_token(call, h->value, value.len);
        res->headers[res->header_count++] = (struct header){name, value};
    }
    return 0;
}
