/* AWS Lambda's Runtime API, 2018-06-01: takes what is to be done, gives what came of it.
 *
 * One connection, one call at a time: while the next event is waited for, the process stands still,
 * as Lambda freezes it then anyway. Only lambda.c uses it. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct lambda_runtime {
    CURL *curl;     /* owned */
    CURLSH *share;  /* owned: the connection, which outlives a handle */
    char base[320]; /* of all URLs, with a slash at the end */
    char reason[CURL_ERROR_SIZE];
    /* Of the event that lambda_runtime_next brought: */
    struct buf event;    /* owned: JSON */
    char id[64];         /* harmless in a URL */
    int64_t deadline_ms; /* since 1970; 0: none was told */
    struct buf answer;   /* owned: of the newest call; its text, where it was refused */
    bool too_large;
};

/* A body that is made while it is sent: bytes to `out`, their number; 0: its end; or: */
enum { LAMBDA_BODY_BROKEN = -1 }; /* the rest will not come: Lambda is told why in a trailer */
typedef long lambda_body_fn(void *arg, char *out, size_t size);

/* `address`: HOST:PORT of AWS_LAMBDA_RUNTIME_API. 0, -EINVAL or -ENOMEM with the reason. */
int lambda_runtime_open(struct lambda_runtime *runtime, const char *address, struct err *err)
    __attribute__((warn_unused_result));
void lambda_runtime_close(struct lambda_runtime *runtime);

/* Waits for the next event, without an end. 0, or a negative errno with the reason: the process has
 * to end. */
int lambda_runtime_next(struct lambda_runtime *runtime, struct err *err)
    __attribute__((warn_unused_result));

/* These return 0; 1 where Lambda did not want it, or the connection broke (err says why), and the
 * next event may be asked for; or a negative errno: the process has to end. */
int lambda_runtime_answer(struct lambda_runtime *runtime, struct str body, struct err *err)
    __attribute__((warn_unused_result));
int lambda_runtime_stream(struct lambda_runtime *runtime, lambda_body_fn *body, void *arg,
                          struct err *err) __attribute__((warn_unused_result));
/* That no answer could be made. */
int lambda_runtime_fail(struct lambda_runtime *runtime, const char *type, const char *text,
                        struct err *err) __attribute__((warn_unused_result));
/* That nothing can be served at all; whoever says so ends with EXIT_FAULT. */
int lambda_runtime_fail_init(struct lambda_runtime *runtime, const char *type, const char *text,
                             struct err *err) __attribute__((warn_unused_result));
