/* Jobs of the queue, as requests to the store give and take them (STORE_JOB_* in store.h). */
#pragma once

#include "base/buf.h"
#include "base/str.h"

enum { JOB_ID_BYTES = 26 };

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DEAD };

/* How a run ended. */
enum job_end {
    JOB_END_DONE,  /* it is removed */
    JOB_END_AGAIN, /* it waits for another try, for the request's ttl_ms */
    JOB_END_BACK,  /* the same, and this was none */
    JOB_END_DEAD   /* a dead letter, for the reason in the request's value */
};

struct job {
    struct str id, function;
    struct str key;    /* empty: none */
    struct str reason; /* of a dead letter */
    struct str payload;
    enum job_state state;
    unsigned attempt; /* tries that were counted */
    uint64_t due_ms;  /* since 1970: WAITING: when it may run; else since when it is as it is */
};

/* The reason of a dead letter that nobody here can read. */
#define JOB_FOREIGN "another version of luafn has written this job"

/* What a payload begins with: whose it is, the version, and which of these it is. */
enum job_kind {
    JOB_VALUE = 'v', /* JSON follows */
    JOB_CALL = 'c'   /* app/job_request.h */
};
enum { JOB_VERSION = 1, JOB_HEAD_BYTES = 4 };
void job_begin_payload(struct buf *out, enum job_kind kind);
/* False: another version wrote it, or nobody. */
bool job_read_head(struct str payload, enum job_kind *kind);

/* What a worker could run. */
struct job_want {
    struct str function;
    unsigned room; /* jobs that it can begin now */
    unsigned most; /* that may run at once, in all workers of all machines */
};

/* Lists of these in a buffer; false at the end, and where the bytes are no such list. */
void job_add(struct buf *out, const struct job *job);
bool job_next(struct str *rest, struct job *job);
void job_add_want(struct buf *out, const struct job_want *want);
bool job_next_want(struct str *rest, struct job_want *want);
