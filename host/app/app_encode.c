/* Bodies that are compressed before they leave: small ones at once, large ones by a thread, while
 * the loop goes on. What becomes of a file is kept, and who asks for a file that is under way waits
 * for the same work. */
#include <errno.h>
#include <stdlib.h>

#include "app/app.h"
#include "base/limits.h"
#include "http/packed.h"
#include "run/tidy.h"

/* One body under way. */
struct job {
    uv_work_t work;
    struct list node; /* in `running` or `waiting` */
    struct list exchanges;
    struct app *app;
    enum encoding encoding;
    struct file *file; /* reference; NULL: `body` is a body */
    struct file_id id;
    bool settled;
    struct str body; /* the first exchange's */
    struct buf out;  /* the thread's, until it is done */
    int rc;
};

/* An exchange that waits for one; in its arena. */
struct waiter {
    struct list node;
    struct exchange *ex; /* reference */
};

/* Few at a time: the threads are libuv's, and others need some. */
static struct {
    bool ready;
    unsigned running_count, count;
    struct list running, waiting;
} jobs;

/* ---- the end of it ---- */

/* When memory runs out the answer stays as it is. */
static void use_bytes(struct exchange *ex, enum encoding encoding, struct str bytes)
{
    if (encoding_mark(&ex->res, &ex->arena, encoding) != 0)
        return;
    ex->res.body = bytes;
    ex->res.file = NULL;
}

static void use_packed(struct exchange *ex, struct packed *packed, enum encoding encoding)
{
    struct str bytes = packed_bytes(packed);
    if (bytes.len == 0)
        return;
    packed_hold(packed);
    if (arena_defer(&ex->arena, packed_release, packed) != 0)
        packed_release(packed);
    else
        use_bytes(ex, encoding, bytes);
}

/* What was made of a body, into the exchange's memory. */
static void use_buf(struct exchange *ex, enum encoding encoding, const struct buf *out)
{
    struct str bytes = arena_copy(&ex->arena, buf_str(out));
    if (bytes.ptr != NULL)
        use_bytes(ex, encoding, bytes);
}

/* What was made of a file, rc as encoding_squeeze. NULL where that is nothing of use. */
static struct packed *pack(const struct file_id *id, enum encoding encoding, int rc,
                           const struct buf *out, bool settled)
{
    if (rc != 0 && rc != -E2BIG)
        return NULL;
    return packed_new(id, encoding, rc == 0 ? buf_str(out) : STR(""), settled);
}

/* ---- by a thread ---- */

static void start_next(void);

static int squeeze_file(struct job *job)
{
    size_t size = (size_t)job->id.size;
    char *bytes = malloc(size);
    int rc = bytes != NULL ? file_read(job->file, bytes, size, 0) : -ENOMEM;
    if (rc == 0)
        rc = encoding_squeeze(job->encoding, (struct str){bytes, size}, &job->out);
    free(bytes);
    return rc;
}

static void on_work(uv_work_t *work)
{
    struct job *job = container_of(work, struct job, work);
    job->rc = job->file != NULL ? squeeze_file(job)
                                : encoding_squeeze(job->encoding, job->body, &job->out);
}

static void on_worked(uv_work_t *work, int status)
{
    struct job *job = container_of(work, struct job, work);
    struct packed *packed = NULL;
    (void)status;
    if (job->file != NULL)
        packed = pack(&job->id, job->encoding, job->rc, &job->out, job->settled);
    list_each(node, &job->exchanges)
    {
        struct exchange *ex = container_of(node, struct waiter, node)->ex;
        if (packed != NULL)
            use_packed(ex, packed, job->encoding);
        else if (job->file == NULL && job->rc == 0)
            use_buf(ex, job->encoding, &job->out);
        exchange_send(ex);
        exchange_release(ex);
    }
    if (packed != NULL)
        packed_release(packed);
    tidy_after_free((size_t)job->id.size + job->body.len + job->out.cap);
    list_remove(&job->node);
    jobs.running_count--;
    jobs.count--;
    if (job->file != NULL)
        file_release(job->file);
    buf_free(&job->out);
    free(job);
    start_next();
}

static void start_next(void)
{
    while (jobs.running_count < LIMIT_COMPRESS_THREADS && !list_is_empty(&jobs.waiting)) {
        struct job *job = container_of(jobs.waiting.next, struct job, node);
        list_remove(&job->node);
        list_push(&jobs.running, &job->node);
        jobs.running_count++;
        /* It fails only without a function to run. */
        (void)uv_queue_work(job->app->loop, &job->work, on_work, on_worked);
    }
}

/* The one that makes of the same file what this exchange wants. */
static struct job *find_job(struct list *list, const struct file_id *id, enum encoding encoding)
{
    list_each(node, list)
    {
        struct job *job = container_of(node, struct job, node);
        if (job->file != NULL && job->encoding == encoding && file_id_eq(&job->id, id))
            return job;
    }
    return NULL;
}

static struct job *new_job(struct exchange *ex, enum encoding encoding)
{
    const struct file_body *file = ex->res.file;
    struct job *job = jobs.count < LIMIT_COMPRESS_JOBS ? calloc(1, sizeof(*job)) : NULL;
    if (job == NULL)
        return NULL;
    list_init(&job->exchanges);
    job->app = ex->app;
    job->encoding = encoding;
    job->body = ex->res.body;
    if (file != NULL) {
        job->file = file->file;
        job->id = file->id;
        job->settled = file->settled;
        file_hold(job->file);
    }
    list_push(&jobs.waiting, &job->node);
    jobs.count++;
    return job;
}

/* Too many, or no memory: the answer leaves as it is. */
static bool squeeze_later(struct exchange *ex, enum encoding encoding)
{
    const struct file_body *file = ex->res.file;
    struct waiter *waiter = arena_alloc(&ex->arena, sizeof(*waiter));
    struct job *job = NULL;
    if (!jobs.ready) {
        jobs.ready = true;
        list_init(&jobs.running);
        list_init(&jobs.waiting);
    }
    if (waiter == NULL)
        return true;
    if (file != NULL)
        job = find_job(&jobs.running, &file->id, encoding);
    if (file != NULL && job == NULL)
        job = find_job(&jobs.waiting, &file->id, encoding);
    if (job == NULL)
        job = new_job(ex, encoding);
    if (job == NULL)
        return true;
    exchange_hold(ex);
    waiter->ex = ex;
    list_push(&job->exchanges, &waiter->node);
    start_next();
    return false;
}

/* ---- at once ---- */

/* All of a file into the exchange's memory. */
static int load(struct exchange *ex)
{
    struct file_body *file = ex->res.file;
    size_t len = (size_t)file->left;
    if (len == 0)
        return 0;
    char *bytes = arena_alloc(&ex->arena, len);
    int rc = bytes != NULL ? file_read(file->file, bytes, len, file->offset) : -ENOMEM;
    if (rc != 0)
        return rc;
    ex->res.body = (struct str){bytes, len};
    file->left = 0;
    return 0;
}

static void squeeze_now(struct exchange *ex, enum encoding encoding)
{
    const struct file_body *file = ex->res.file;
    struct buf out = BUF_INIT;
    struct packed *packed = NULL;
    if (file != NULL && load(ex) != 0)
        return;
    int rc = encoding_squeeze(encoding, ex->res.body, &out);
    if (file != NULL && file->settled)
        packed = pack(&file->id, encoding, rc, &out, true);
    if (packed != NULL)
        use_packed(ex, packed, encoding);
    else if (rc == 0)
        use_buf(ex, encoding, &out);
    if (packed != NULL)
        packed_release(packed);
    buf_free(&out);
}

static void start_stream(struct exchange *ex, enum encoding encoding)
{
    struct encoder *encoder = encoding_new(encoding);
    if (encoder != NULL && encoding_mark(&ex->res, &ex->arena, encoding) == 0) {
        ex->res.sized = false;
        ex->encoder = encoder;
        return;
    }
    encoding_free(encoder);
}

/* Is no work needed for what becomes of that file? Who asks for the head alone is not worth it:
 * what is not known is left out. */
static bool is_known(struct exchange *ex, enum encoding encoding)
{
    struct packed *packed = packed_find(&ex->res.file->id, encoding);
    if (packed != NULL) {
        use_packed(ex, packed, encoding);
        packed_release(packed);
        return true;
    }
    if (ex->req.method != METHOD_HEAD)
        return false;
    ex->res.unsized = encoding_mark(&ex->res, &ex->arena, encoding) == 0;
    return true;
}

bool app_encode(struct exchange *ex, bool may_wait)
{
    enum encoding encoding = encoding_choose(&ex->res, &ex->req, &ex->arena);
    if (encoding == ENCODING_IDENTITY)
        return true;
    if (ex->res.streamed)
        start_stream(ex, encoding);
    else if (ex->res.file != NULL && is_known(ex, encoding))
        return true;
    else if (may_wait && response_length(&ex->res) > LIMIT_COMPRESS_AT_ONCE)
        return squeeze_later(ex, encoding);
    else
        squeeze_now(ex, encoding);
    return true;
}
