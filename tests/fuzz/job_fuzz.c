/* What is read from the queue's store: a payload, which is written again as it was read; lists of
 * jobs and of what is wanted; a server's replies. The first byte says which. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "app/job_request.h"
#include "fuzz.h"
#include "store/job.h"
#include "store/job_owner.h"
#include "store/redis_jobs.h"

static bool read_payload(struct str payload, struct buf *again)
{
    struct exchange *ex = exchange_new(NULL, NULL);
    struct job_request job;
    require(ex != NULL, "memory");
    ex->state = EXCHANGE_WORKING;
    int rc = job_request_read(payload, ex, &job);
    require(rc == 0 || (rc == -EINVAL && job.claims == NULL), "it is read, or refused");
    bool is_call = rc == 0 && job.path.ptr != NULL;
    if (is_call)
        job_request_write(again, ex, job.path, job.claims, job.token);
    claims_unref(job.claims);
    exchange_release(ex);
    return is_call;
}

static void try_payload(struct str payload)
{
    struct buf once = BUF_INIT, twice = BUF_INIT;
    if (read_payload(payload, &once)) {
        require(read_payload(buf_str(&once), &twice), "what was written can be read");
        require(str_eq(buf_str(&once), buf_str(&twice)), "it is the same");
    }
    buf_free(&once);
    buf_free(&twice);
}

static void try_lists(struct str input)
{
    struct buf again = BUF_INIT;
    struct str rest = input;
    struct job job;
    struct job_want want;
    while (job_next(&rest, &job))
        job_add(&again, &job);
    require(str_starts_with(input, buf_str(&again)), "jobs are as they came");
    buf_free(&again);
    rest = input;
    while (job_next_want(&rest, &want))
        require(want.function.len <= input.len, "a name from the list");
}

/* hiredis makes room for as many elements as are said to come: here few. */
static bool says_many(struct str text)
{
    unsigned digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        digits = text.ptr[i] >= '0' && text.ptr[i] <= '9' ? digits + 1 : 0;
        if (digits > 3)
            return true;
    }
    return false;
}

static void try_reply(enum store_kind kind, struct str text)
{
    redisReader *reader = redisReaderCreate();
    struct job_owner owner = {.fd = -1};
    struct store_request request = {.kind = kind, .owner = &owner};
    void *reply = NULL;
    require(reader != NULL, "memory");
    if (redisReaderFeed(reader, text.ptr, text.len) == REDIS_OK &&
        redisReaderGetReply(reader, &reply) == REDIS_OK && reply != NULL) {
        struct str rest;
        struct job job;
        int status = redis_jobs_read(&request, reply);
        rest = buf_str(&request.out);
        while (status == 0 && job_next(&rest, &job))
            require(job.state <= JOB_DEAD, "a state");
        require(status != 0 || rest.len == 0, "whole jobs");
        freeReplyObject(reply);
    }
    buf_free(&request.out);
    buf_free(&request.position);
    redisReaderFree(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str input = whole_input(data + 1, size - 1);
    unsigned which = data[0] % 8;
    if (which == 0)
        try_payload(input);
    else if (which == 1)
        try_lists(input);
    else if (!says_many(input))
        try_reply((enum store_kind)(STORE_JOB_ADD + which - 2), input);
    return 0;
}
