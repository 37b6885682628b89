/* The store on a server that many machines share. How durable a write is that was acknowledged, is
 * the server's configuration. */
#include <hiredis/hiredis.h>
#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "store/job_owner.h"
#include "store/redis_command.h"
#include "store/redis_ear.h"
#include "store/redis.h"
#include "store/redis_due.h"
#include "store/redis_jobs.h"
#include "store/redis_keys.h"
#include "store/store.h"

struct redis {
    struct store store;
    struct redis_server server;
    struct redis_link *link;
    struct redis_link *follower; /* for what the server lets wait; NULL: nobody has asked */
    struct redis_ear *ear;       /* NULL: nobody has listened to a channel */
    struct buf scratch;          /* of the command that is being made */
    uv_loop_t *loop;
};

static struct redis *redis_of(struct store *store)
{
    return container_of(store, struct redis, store);
}

/* ---- replies ---- */

static int error_status(struct redis *r, struct redis_link *link, const char *text)
{
    static const struct {
        const char *begins;
        int status;
    } known[] = {
        {"OOM ", STORE_FULL},
        {"ERR value is not an integer", STORE_NO_NUMBER},
        {"ERR increment or decrement would overflow", STORE_OVERFLOW},
        {"WRONGTYPE ", STORE_FOREIGN},
        /* It starts, or is a replica since another has taken over. */
        {"READONLY ", STORE_UNREACHABLE},
        {"LOADING ", STORE_UNREACHABLE},
        {"MASTERDOWN ", STORE_UNREACHABLE},
    };
    /* It sends those away who wait, as it becomes a replica. They may come again. */
    if (str_starts_with(str_from(text), STR("UNBLOCKED ")))
        return STORE_UNREACHABLE;
    /* Its replicas may have another primary already, which Sentinel knows. */
    if (r->server.address->primary[0] != '\0' &&
        str_starts_with(str_from(text), STR("NOREPLICAS "))) {
        redis_link_leave(link, text);
        return STORE_UNREACHABLE;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!str_starts_with(str_from(text), str_from(known[i].begins)))
            continue;
        if (known[i].status == STORE_UNREACHABLE)
            redis_link_leave(link, text);
        return known[i].status;
    }
    redis_link_tell(link, text);
    return STORE_REFUSED;
}

static struct str text_of(const struct redisReply *reply)
{
    return (struct str){reply->str, reply->len};
}

static int read_value(struct store_request *q, const struct redisReply *reply)
{
    struct str text = text_of(reply);
    q->found = STORE_ABSENT;
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    if (reply->type != REDIS_REPLY_STRING || text.len == 0)
        return STORE_FOREIGN;
    bool is_number = redis_is_integer(text);
    if (!is_number && text.ptr[0] != 't' && text.ptr[0] != 'j')
        return STORE_FOREIGN;
    q->found = text.ptr[0] == 't' ? STORE_TEXT : STORE_JSON;
    buf_add_str(&q->out, is_number ? text : str_skip(text, 1));
    return buf_failed(&q->out) ? -ENOMEM : 0;
}

static bool are_strings(const struct redisReply *list)
{
    for (size_t i = 0; i < list->elements; i++) {
        const struct redisReply *key = list->element[i];
        if (key->type != REDIS_REPLY_STRING || key->len > LIMIT_KV_KEY_BYTES)
            return false;
    }
    return true;
}

static int read_list(struct store_request *q, const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 ||
        reply->element[0]->type != REDIS_REPLY_INTEGER ||
        reply->element[1]->type != REDIS_REPLY_STRING ||
        reply->element[2]->type != REDIS_REPLY_ARRAY || !are_strings(reply->element[2]))
        return STORE_FOREIGN;
    const struct redisReply *keys = reply->element[2];
    q->more = reply->element[0]->integer != 0;
    buf_add_str(&q->position, text_of(reply->element[1]));
    for (size_t i = 0; i < keys->elements; i++)
        store_add_key(&q->out, text_of(keys->element[i]));
    return buf_failed(&q->out) || buf_failed(&q->position) ? -ENOMEM : 0;
}

static int read_count(struct store_request *q, const struct redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3)
        return STORE_FOREIGN;
    for (unsigned i = 0; i < 3; i++) {
        if (reply->element[i]->type != REDIS_REPLY_INTEGER || reply->element[i]->integer < 0)
            return STORE_FOREIGN;
    }
    q->changed = reply->element[0]->integer != 0;
    q->number = reply->element[1]->integer;
    q->reset_ms = (uint64_t)reply->element[2]->integer;
    return 0;
}

/* One of XREAD: id, and the field's name and value. False: it is none of ours. */
static bool read_revocation(struct store_request *q, const struct redisReply *entry)
{
    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 ||
        entry->element[0]->type != REDIS_REPLY_STRING)
        return false;
    const struct redisReply *fields = entry->element[1];
    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 2 ||
        fields->element[1]->type != REDIS_REPLY_STRING ||
        fields->element[1]->len != STORE_REVOCATION_BYTES)
        return false;
    buf_add_str(&q->out, text_of(fields->element[1]));
    buf_clear(&q->position);
    buf_add_str(&q->position, text_of(entry->element[0]));
    return true;
}

static int read_revoked(struct store_request *q, const struct redisReply *reply)
{
    q->more = false;
    if (reply->type == REDIS_REPLY_NIL)
        return 0;
    const struct redisReply *stream =
        reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0] : NULL;
    if (stream == NULL || stream->type != REDIS_REPLY_ARRAY || stream->elements != 2 ||
        stream->element[1]->type != REDIS_REPLY_ARRAY)
        return STORE_FOREIGN;
    const struct redisReply *entries = stream->element[1];
    for (size_t i = 0; i < entries->elements; i++) {
        if (!read_revocation(q, entries->element[i]))
            return STORE_FOREIGN;
    }
    q->more = entries->elements >= q->limit;
    return buf_failed(&q->out) || buf_failed(&q->position) ? -ENOMEM : 0;
}

static int read_reply(struct redis *r, struct store_request *q, const struct redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return error_status(r, q->kind == STORE_REVOKED ? r->follower : r->link, reply->str);
    switch (q->kind) {
    case STORE_GET:
        return read_value(q, reply);
    case STORE_LIST:
        return read_list(q, reply);
    case STORE_COUNT:
        return read_count(q, reply);
    case STORE_REVOKED:
        return read_revoked(q, reply);
    case STORE_ONCE:
        q->changed = reply->type == REDIS_REPLY_STATUS;
        return q->changed || reply->type == REDIS_REPLY_NIL ? 0 : STORE_FOREIGN;
    case STORE_SECRET:
        if (reply->type != REDIS_REPLY_STRING || reply->len != q->value.bytes.len)
            return STORE_FOREIGN;
        buf_add_str(&q->out, text_of(reply));
        return buf_failed(&q->out) ? -ENOMEM : 0;
    case STORE_DUE:
    case STORE_DUE_END:
        return redis_due_read(q, reply);
    case STORE_KEYS:
    case STORE_KEYS_PUT:
        return redis_keys_read(q, reply);
    case STORE_JOB_ADD:
    case STORE_JOB_TAKE:
    case STORE_JOB_END:
    case STORE_JOB_LIST:
    case STORE_JOB_RETRY:
    case STORE_JOB_DROP:
        return redis_jobs_read(q, reply);
    case STORE_INCR:
        if (reply->type != REDIS_REPLY_STRING || !redis_is_integer(text_of(reply)))
            return STORE_FOREIGN;
        q->number = strtoll(reply->str, NULL, 10);
        return 0;
    default:
        q->changed = reply->type == REDIS_REPLY_INTEGER && reply->integer != 0;
        return reply->type == REDIS_REPLY_INTEGER ? 0 : STORE_FOREIGN;
    }
}

static void give_back(struct redis *r, struct store_request *q, int status)
{
    q->status = status;
    bool asked = q->kind != STORE_REVOKED && q->kind != STORE_SECRET &&
                 q->kind != STORE_JOB_TAKE; /* somebody waits for it */
    r->store.failures +=
        asked && (status == STORE_UNREACHABLE || status == STORE_LOST || status == STORE_REFUSED);
    q->done(q);
}

/* Behind a new connection there may be another server, or one that has lost its last moments: what
 * it takes for jobs of this owner need not be. */
static void note_connection(const struct redis *r, struct job_owner *owner)
{
    if (owner->ups == r->server.ups)
        return;
    owner->ups = r->server.ups;
    owner->unsure = JOB_OWNER_UNSURE;
}

static void on_reply(void *arg, struct list *node, const struct redisReply *reply, int status)
{
    struct store_request *q = container_of(node, struct store_request, node);
    if (reply != NULL && q->kind == STORE_JOB_TAKE)
        note_connection(arg, q->owner);
    give_back(arg, q, reply != NULL ? read_reply(arg, q, reply) : status);
}

/* ---- the store ---- */

static struct redis_link *new_link(struct redis *r, bool waits)
{
    const struct redis_link_user user = {.waits = waits, .on_reply = on_reply, .arg = r};
    return redis_link_new(r->loop, &r->server, &user);
}

/* What waits at the server has a connection of its own: nothing else is to wait behind it. */
static struct redis_link *link_for(struct redis *r, const struct store_request *request)
{
    if (request->kind != STORE_REVOKED)
        return r->link;
    if (r->follower == NULL)
        r->follower = new_link(r, true);
    return r->follower;
}

static int send_request(struct redis *r, struct store_request *request)
{
    struct redis_command command;
    bool is_job = request->kind >= STORE_JOB_ADD;
    if (request->value.bytes.len > (is_job ? LIMIT_QUEUE_JOB_BYTES : LIMIT_KV_VALUE_BYTES))
        return is_job ? STORE_JOB_TOO_LARGE : STORE_TOO_LARGE;
    struct redis_link *link = link_for(r, request);
    int rc = link != NULL
                 ? redis_command_make(&r->scratch, r->server.address->prefix, request, &command)
                 : -ENOMEM;
    return rc != 0 ? rc : redis_link_send(link, &request->node, command.parts, command.count);
}

static void submit(struct store *store, struct store_request *request)
{
    list_init(&request->node);
    int status = send_request(redis_of(store), request);
    if (status != 0)
        give_back(redis_of(store), request, status);
}

static int hear(struct store *store, struct str name, bool yes)
{
    struct redis *r = redis_of(store);
    if (r->ear == NULL)
        r->ear = redis_ear_new(r->loop, &r->server, &store->listener);
    return r->ear != NULL ? redis_ear_hear(r->ear, name, yes) : -ENOMEM;
}

/* The server does it. */
static void sweep(struct store *store)
{
    (void)store;
}

static void close_store(struct store *store)
{
    struct redis *r = redis_of(store);
    redis_link_close(r->link);
    if (r->follower != NULL)
        redis_link_close(r->follower);
    if (r->ear != NULL)
        redis_ear_close(r->ear);
}

static void free_store(struct store *store)
{
    struct redis *r = redis_of(store);
    redis_link_free(r->link);
    redis_link_free(r->follower);
    redis_ear_free(r->ear);
    redis_server_free(&r->server);
    buf_free(&r->scratch);
    free(r);
}

static const struct store_backend redis_backend = {
    .is_remote = true,
    .submit = submit,
    .sweep = sweep,
    .hear = hear,
    .close = close_store,
    .free = free_store,
};

struct store *store_connect(uv_loop_t *loop, const struct redis_address *address)
{
    struct redis *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->store.backend = &redis_backend;
    r->loop = loop;
    redis_server_init(&r->server, address);
    r->link = new_link(r, false);
    if (r->link == NULL) {
        free(r);
        return NULL;
    }
    return &r->store;
}

struct redis_server *redis_server_of(struct store *store)
{
    return store->backend == &redis_backend ? &redis_of(store)->server : NULL;
}

#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number

const char *store_client_version(void)
{
    return TEXT(HIREDIS_MAJOR) "." TEXT(HIREDIS_MINOR) "." TEXT(HIREDIS_PATCH);
}
