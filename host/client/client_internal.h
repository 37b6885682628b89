/* What the files of the client share: a call and its hops. Nobody else includes this. */
#pragma once

#include <curl/curl.h>

#include "base/arena.h"
#include "base/list.h"
#include "client/client.h"
#include "http/decoding.h"

enum { CLIENT_SPARE_HANDLES = 64 };

struct client {
    uv_loop_t *loop;                /* borrowed */
    CURLM *multi;                   /* owned; NULL once closed */
    const struct client_fake *fake; /* borrowed; NULL: calls go out */
    uv_timer_t timer;
    struct list calls;
    struct list timed;  /* calls whose deadline is kept here: see client_call.c */
    uv_timer_t tick;    /* turns while there are such */
    struct list lively; /* streams with something new */
    struct list watches;
    struct list sockets; /* of connections, idle ones too: see client_socket.c */
    struct list lookups; /* of names: see client_lookup.c */
    struct list resting; /* calls that are sent again later: see client_again.c */
    uv_timer_t rest;     /* runs while there are such */
    unsigned lookup_count, lookups_running;
    struct client_mailbox *mailbox;
    uv_async_t mail;
    bool unwatched;                    /* is one of the calls? */
    bool spoilt;                       /* multi ran out of memory: without calls, to be replaced */
    CURL *spare[CLIENT_SPARE_HANDLES]; /* owned: reset handles, cheaper than new ones */
    unsigned spare_count;
    unsigned open; /* uv handles not yet closed; the memory goes with the last */
};

enum client_fault {
    FAULT_NONE,
    FAULT_RULES,
    FAULT_BODY,
    FAULT_HEAD,
    FAULT_BLANK,  /* the first line of a head goes on with none */
    FAULT_LENGTH, /* it cannot be said where the answer ends */
    FAULT_MEMORY,
    FAULT_CODING, /* the body cannot be unpacked */
    FAULT_SYSTEM, /* no socket: call->system_error */
    FAULT_STALE,  /* a pooled connection that may not be used again; nothing was sent */
    FAULT_TWICE   /* the request was sent once, and may not be sent again */
};

/* Why this hop is sent again. */
enum client_again { AGAIN_NOT, AGAIN_IDENTIFIED, AGAIN_RESTED };

struct client_call {
    struct list node;
    struct client *client;
    CURL *easy;               /* owned */
    CURLU *url;               /* owned: this hop's */
    struct curl_slist *lines; /* owned: this hop's header lines */
    struct curl_slist *found; /* owned: the addresses of this hop's host */
    struct list in_timed;
    struct list in_lookup;                                   /* while it waits for a name */
    struct list in_parked;                                   /* ... for what a credential gives */
    struct list in_resting;                                  /* ... to be sent again */
    uint64_t rest_until;                                     /* uv_hrtime */
    int (*go_on)(struct client_call *call, struct err *err); /* ... of those: sends this hop */
    enum client_again again_as;          /* this hop, now that its answer's head is known */
    struct client_credential credential; /* `borrow` NULL: nobody's */
    void *loan;                          /* owned, of that; NULL: none */
    struct str authorization;            /* what it gave, in the arena; empty: none */
    bool identified;  /* nothing more is wanted of it, for this hop or for good */
    bool renewed;     /* it gave another one after a 401 */
    struct str as;    /* in the arena: the credential's name */
    struct str asked; /* in the arena: the URL, of a fake's call */
    struct client_retry retry;
    unsigned repeats; /* of it, so far */
    int (*on_found)(struct client_call *call, const char *addresses);
    void (*on_end)(struct client_call *call, CURLcode result); /* of its transfer */
    struct arena arena;                                        /* the copies below */
    struct str method;                                         /* NUL-terminated */
    struct str body;
    struct header *headers; /* values NUL-terminated */
    unsigned header_count;
    struct client_rules rules; /* lists borrowed */
    unsigned reach;            /* this hop's client_reach bits */
    unsigned redirects, max_redirects;
    bool fresh;
    bool no_redirect;
    bool again;        /* this hop begins anew, on a new connection */
    uint64_t deadline; /* uv_hrtime */
    size_t max_bytes;
    struct buf received;
    struct decoder *decoder; /* owned: of this hop's body; NULL: it stands as it comes */
    size_t raw_bytes;        /* of the body, before that */
    bool head_over;          /* this hop's final head is complete */
    int system_error;
    size_t head_bytes, head_lines;
    bool after_status; /* the line before was the status line */
    enum client_fault fault;
    char tls_error[CURL_ERROR_SIZE];
    client_done_fn done;
    void (*on_stream)(void *arg); /* NULL: the answer is gathered */
    struct list in_lively;
    bool head_done; /* of a stream: the final head is complete */
    long (*read_body)(void *body_arg, char *out, size_t size); /* NULL: `body` is all */
    void *body_arg;
    uint64_t body_size;
    struct buf sent; /* of it, the beginning: to be sent once more; at most LIMIT_FETCH_STREAM */
    size_t resent;   /* of that */
    bool sent_more;
    bool body_waits;  /* for read_body to have more */
    bool paused;      /* libcurl holds bytes back until there is room */
    bool unwatched;   /* no memory to watch its socket with: it ends */
    uint64_t silence; /* of a stream: how long it may last, nanoseconds */
    void *arg;
};

/* ---- client_url.c ---- */

/* An absolute URL in parsed form, to be cleaned up; NULL with the reason. */
CURLU *client_url_parse(struct str text, struct err *err);
/* After another URL was set in it; client_url_parse has done so. False: no such host can be. */
bool client_url_settle(CURLU *url);
/* Holds `url` (may be NULL) against the rules and takes it over: the URL to fetch and the kinds of
 * address that its host may have; or NULL, and *code -EINVAL or -EACCES. */
CURLU *client_url_admit(const struct client_rules *rules, CURLU *url, unsigned *reach, int *code,
                        struct err *err);
/* Scheme, host and port of a URL in parsed form. 0 or -EINVAL. */
int client_url_origin(CURLU *url, struct client_url *out, char port[8], struct err *err);
bool client_url_same_origin(CURLU *a, CURLU *b);

/* ---- client_hop.c ---- */

/* Sends this hop's request, and those of the hops that follow. Nothing moves before the loop's next
 * turn. 0 or a negative errno with the reason. */
int client_hop_start(struct client_call *call, struct err *err) __attribute__((warn_unused_result));

/* ---- client_call.c ---- */

/* Takes the call out of libcurl's hands, calls back and frees it. */
void client_call_end(struct client_call *call, int error, const char *text);
/* Without a word to anybody. */
void client_call_free(struct client_call *call);
/* From here on it ends at call->deadline, which libcurl does not know: it waits for a name, or its
 * silence is limited and not the whole. */
void client_call_watch(struct client_call *call);
void client_unref(struct client *client);
void client_on_handle_closed(uv_handle_t *handle); /* its data is the client */

/* ---- client_lookup.c ---- */

/* 0 or a negative errno. */
int client_lookup_open(struct client *client) __attribute__((warn_unused_result));
void client_lookup_close(struct client *client);
/* Finds the addresses of a host (as in struct client_url): calls on_found with them, "" where
 * libcurl knows them itself, and returns what that returns; or lets the call wait and returns 0:
 * then on_found is called later, and the call ends if it fails, or if there is no such host. 0 or a
 * negative errno. */
int client_lookup(struct client_call *call, const char *host,
                  int (*on_found)(struct client_call *call, const char *addresses))
    __attribute__((warn_unused_result));

/* ---- client_again.c ---- */

/* Calls `go_on` when what the call's credential gives is there, if it has one: before this returns,
 * or later, where the call ends if that fails. 0 or a negative errno with the reason. */
int client_again_identify(struct client_call *call,
                          int (*go_on)(struct client_call *call, struct err *err), struct err *err)
    __attribute__((warn_unused_result));
/* The final head of this hop is there, with that status: is it sent again? Sets call->again_as. */
bool client_again_on_head(struct client_call *call, long status);
/* The hop has failed so. Is it sent again, after a rest? */
bool client_again_on_fault(struct client_call *call, int error);
/* Sends it again, by `go_on`, when the rest is over that one of these two has found. */
void client_again_rest(struct client_call *call,
                       int (*go_on)(struct client_call *call, struct err *err));
/* An answer of a test's own: is the call to be made again? At once, since nothing is waited for. */
bool client_again_on_fake(struct client_call *call, const struct client_response *res);

/* ---- client_socket.c ---- */

/* A socket for a connection of this call; -1 with errno. */
int client_socket_open(struct client_call *call, const struct curl_sockaddr *address);
/* libcurl's CURLOPT_CLOSESOCKETFUNCTION; `arg` is the client. */
int client_socket_on_close(void *arg, curl_socket_t fd);
/* The connection that this call has opened, by the port of its own end, is about to be used. */
void client_socket_use(struct client_call *call, int own_port);
/* The call ends: what it opened and did not use is closed, or will be. */
void client_socket_give_up(struct client_call *call);
/* May the pooled connection that libcurl has chosen for this call carry its request? Not if
 * anything waits in it, unless it is HTTP/2. */
bool client_socket_is_quiet(struct client_call *call, int own_port);

/* ---- client_multi.c ---- */

/* False: out of memory. */
bool client_multi_open(struct client *client) __attribute__((warn_unused_result));
/* Once no call is left. */
void client_multi_close(struct client *client);
/* Gives the call's transfer to libcurl, which calls on_end with its result. 0 or -ENOMEM. */
int client_multi_add(struct client_call *call, void (*on_end)(struct client_call *, CURLcode))
    __attribute__((warn_unused_result));

/* ---- client_stream.c ---- */

/* From within libcurl: a head is complete; bytes of a body. Returns as a write callback does. */
void client_stream_on_head(struct client_call *call);
size_t client_stream_on_body(struct client_call *call, const char *bytes, size_t len);
/* libcurl's read callback, for read_body. */
size_t client_stream_read_body(char *out, size_t size, size_t count, void *arg);
/* libcurl's seek callback: it begins anew, on another connection. */
int client_stream_on_rewind(void *arg, curl_off_t offset, int origin);
/* Tells those that wait for what has come; they may cancel calls or free the client. */
void client_stream_tell(struct client *client);

/* ---- client_result.c ---- */

/* The system's text and name for an errno; returns it. */
int client_describe_errno(struct err *err, int code);
/* Did the body come to its end? 0, or a negative errno with the reason. */
int client_check_body(struct client_call *call, struct err *err)
    __attribute__((warn_unused_result));
/* Why a hop failed, as a negative errno and for people. */
int client_explain(struct client_call *call, CURLcode result, struct err *err);
/* Blanks the call's own token out of a body that was gathered; client_read_head does so with the
 * rest. */
void client_hide_token(struct client_call *call);
/* The final response's status, URL and fields, in the call's arena. 0 or -ENOMEM. */
int client_read_head(struct client_call *call, struct client_response *res)
    __attribute__((warn_unused_result));
