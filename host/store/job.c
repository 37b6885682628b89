#include "store/job.h"

static void add_text(struct buf *out, struct str text)
{
    uint32_t len = (uint32_t)text.len;
    buf_add(out, &len, sizeof(len));
    buf_add_str(out, text);
}

static bool take_bytes(struct str *rest, void *out, size_t size)
{
    if (rest->len < size)
        return false;
    memcpy(out, rest->ptr, size);
    *rest = str_skip(*rest, size);
    return true;
}

static bool take_text(struct str *rest, struct str *out)
{
    uint32_t len;
    if (!take_bytes(rest, &len, sizeof(len)) || rest->len < len)
        return false;
    *out = (struct str){rest->ptr, len};
    *rest = str_skip(*rest, len);
    return true;
}

void job_add(struct buf *out, const struct job *job)
{
    uint32_t numbers[2] = {(uint32_t)job->state, job->attempt};
    buf_add(out, numbers, sizeof(numbers));
    buf_add(out, &job->due_ms, sizeof(job->due_ms));
    add_text(out, job->id);
    add_text(out, job->function);
    add_text(out, job->key);
    add_text(out, job->reason);
    add_text(out, job->payload);
}

bool job_next(struct str *rest, struct job *job)
{
    uint32_t numbers[2];
    if (!take_bytes(rest, numbers, sizeof(numbers)) ||
        !take_bytes(rest, &job->due_ms, sizeof(job->due_ms)))
        return false;
    job->state = (enum job_state)numbers[0];
    job->attempt = numbers[1];
    return take_text(rest, &job->id) && take_text(rest, &job->function) &&
           take_text(rest, &job->key) && take_text(rest, &job->reason) &&
           take_text(rest, &job->payload);
}

void job_add_want(struct buf *out, const struct job_want *want)
{
    uint32_t numbers[2] = {want->room, want->most};
    buf_add(out, numbers, sizeof(numbers));
    add_text(out, want->function);
}

bool job_next_want(struct str *rest, struct job_want *want)
{
    uint32_t numbers[2];
    if (!take_bytes(rest, numbers, sizeof(numbers)))
        return false;
    want->room = numbers[0];
    want->most = numbers[1];
    return take_text(rest, &want->function);
}

void job_begin_payload(struct buf *out, enum job_kind kind)
{
    const char head[JOB_HEAD_BYTES] = {'l', 'f', JOB_VERSION, (char)kind};
    buf_add(out, head, sizeof(head));
}

bool job_read_head(struct str payload, enum job_kind *kind)
{
    const char *head = payload.ptr;
    if (payload.len < JOB_HEAD_BYTES || head[0] != 'l' || head[1] != 'f' ||
        head[2] != JOB_VERSION || (head[3] != JOB_VALUE && head[3] != JOB_CALL))
        return false;
    *kind = (enum job_kind)head[3];
    return true;
}
