/* What Lambda is called with, and what it wants as an answer: events of function URLs and HTTP APIs
 * (payload 2.0), of REST APIs and load balancers (payload 1.0), and of SQS. No network. */
#pragma once

#include <jansson.h>

#include "cli/local.h"

enum lambda_form { LAMBDA_UNKNOWN, LAMBDA_HTTP_1, LAMBDA_HTTP_2, LAMBDA_QUEUE };

struct lambda_event {
    json_t *root; /* owned; NULL: it is no JSON */
    enum lambda_form form;
};

void lambda_event_read(struct lambda_event *event, struct str text);
void lambda_event_free(struct lambda_event *event);

/* Makes call->ex->req of an HTTP event. 0; -EINVAL with what cannot be a request (who sent it gets
 * a 400); -ENOMEM. */
int lambda_event_request(const struct lambda_event *event, struct local_call *call, struct err *err)
    __attribute__((warn_unused_result));

/* Appends the answer in the event's form, the body within; with `head_only` an object without it,
 * which goes before a streamed body. Fails as a buf does. */
void lambda_event_answer(const struct lambda_event *event, struct local_call *call, bool head_only,
                         struct buf *out);

/* One message of a queue; all texts are borrowed from the event. */
struct lambda_record {
    struct str id, body;
    struct str queue; /* its name, without ".fifo" */
    unsigned attempt; /* how often it has been received, with this; from 1 on */
    bool ordered;     /* of a FIFO queue: none may be done after one that failed */
};

/* The number of records. */
size_t lambda_event_records(const struct lambda_event *event);
/* 0, or -EINVAL: it is no message of SQS. */
int lambda_event_record(const struct lambda_event *event, size_t index, struct lambda_record *out)
    __attribute__((warn_unused_result));
/* Makes call->ex->req of it: a POST to the function. 0 or -ENOMEM. */
int lambda_event_job(const struct lambda_record *record, struct local_call *call, struct str prefix,
                     struct str function) __attribute__((warn_unused_result));
