#include "store/redis_link.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "store/redis_command.h"
#include "store/redis_dial.h"
#include "store/store.h"

enum { PAUSE_MS = 100, PAUSE_MAX_MS = 2000, QUIET_MS = 10000, READ_BYTES = 64 * 1024 };

/* Has memory of its own, which goes when libuv is done with it. */
struct socket {
    uv_tcp_t *tcp;           /* owned; its `data` is this */
    struct redis_link *link; /* NULL once it was given up */
    redisReader *reader;
    uv_write_t write;
    struct buf sending;
    bool writing;
};

struct redis_link {
    uv_loop_t *loop;
    const struct redis_address *address;
    struct redis_voice *voice;
    bool waits; /* commands do, at the server */
    redis_on_reply *on_reply;
    void *arg;
    struct redis_dial *dial; /* NULL: none under way */
    struct socket *socket;   /* NULL: none */
    struct list queued;      /* nodes whose commands are in `out` */
    struct list sent;        /* nodes whose replies are due */
    struct buf out;          /* commands */
    unsigned greetings;      /* replies due before those: to AUTH and SELECT */
    bool up;                 /* the greetings are over */
    bool late;               /* one more look before it is given up */
    bool closing;
    uint64_t pause_ms, retry_ms; /* the second of the loop's clock */
    uint64_t heard_ms;           /* when a reply came last, or the first command that lacks one */
    uv_timer_t timer;            /* runs while replies are due */
    uv_prepare_t turn;           /* runs while commands wait for the turn's end */
    uv_idle_t slice;             /* runs while replies that were read wait for the next turn */
    char input[READ_BYTES];
};

/* ---- words for the log ---- */

/* One line in ten seconds: a server may come and go with each command. */
static bool may_tell(struct redis_link *link)
{
    uint64_t now_ms = uv_now(link->loop);
    if (now_ms < link->voice->quiet_ms)
        return false;
    link->voice->quiet_ms = now_ms + QUIET_MS;
    return true;
}

static void tell_down(struct redis_link *link, const char *why)
{
    if (link->voice->down_told || !may_tell(link))
        return;
    log_message(LOG_ERROR, "the store at %s:%s cannot be reached: %s", link->address->host,
                link->address->port, why);
    link->voice->down_told = true;
}

static void tell_up(struct redis_link *link)
{
    if (link->voice->down_told)
        log_message(LOG_INFO, "the store at %s:%s answers again", link->address->host,
                    link->address->port);
    link->voice->down_told = false;
}

void redis_link_tell(struct redis_link *link, const char *what)
{
    if (may_tell(link))
        log_message(LOG_ERROR, "the store at %s:%s refuses: %s", link->address->host,
                    link->address->port, what);
}

/* ---- giving up ---- */

static void free_handle(uv_handle_t *tcp)
{
    free(tcp);
}

static void free_socket(uv_handle_t *tcp)
{
    struct socket *socket = tcp->data;
    redisReaderFree(socket->reader);
    buf_free(&socket->sending);
    free(socket->tcp);
    free(socket);
}

static void drop_socket(struct redis_link *link)
{
    if (link->socket == NULL)
        return;
    link->socket->link = NULL;
    uv_close((uv_handle_t *)link->socket->tcp, free_socket);
    link->socket = NULL;
    link->up = false;
    link->greetings = 0;
    uv_idle_stop(&link->slice);
}

static void give_back(struct redis_link *link, struct list *nodes, int status)
{
    while (!list_is_empty(nodes)) {
        struct list *node = nodes->next;
        list_remove(node);
        link->on_reply(link->arg, node, NULL, status);
    }
}

static void end(struct redis_link *link, int sent_status, int queued_status)
{
    redis_dial_cancel(link->dial);
    link->dial = NULL;
    drop_socket(link);
    buf_clear(&link->out);
    uv_timer_stop(&link->timer);
    uv_prepare_stop(&link->turn);
    give_back(link, &link->sent, sent_status);
    give_back(link, &link->queued, queued_status);
}

static void give_up(struct redis_link *link, const char *why)
{
    tell_down(link, why);
    link->pause_ms = link->pause_ms == 0 ? PAUSE_MS : link->pause_ms * 2;
    if (link->pause_ms > PAUSE_MAX_MS)
        link->pause_ms = PAUSE_MAX_MS;
    link->retry_ms = uv_now(link->loop) + link->pause_ms;
    end(link, STORE_LOST, STORE_UNREACHABLE);
}

void redis_link_leave(struct redis_link *link, const char *why)
{
    give_up(link, why);
}

/* After a turn in which the loop looked at its sockets: this process may have been stopped. */
static void on_timer(uv_timer_t *timer)
{
    struct redis_link *link = container_of(timer, struct redis_link, timer);
    uint64_t waited = uv_now(link->loop) - link->heard_ms;
    if (list_is_empty(&link->sent) && list_is_empty(&link->queued))
        return;
    if (waited >= LIMIT_KV_SERVER_MS && link->late) {
        give_up(link, "no answer in time");
        return;
    }
    link->late = waited >= LIMIT_KV_SERVER_MS;
    uv_timer_start(timer, on_timer, link->late ? 1 : LIMIT_KV_SERVER_MS - waited, 0);
}

/* ---- out ---- */

static void flush(struct redis_link *link);

static void on_written(uv_write_t *write, int status)
{
    struct socket *socket = container_of(write, struct socket, write);
    socket->writing = false;
    redis_command_clear(&socket->sending);
    if (socket->link == NULL)
        return;
    if (status < 0)
        give_up(socket->link, uv_strerror(status));
    else
        flush(socket->link);
}

static void write_out(struct socket *socket)
{
    const uv_buf_t bytes = uv_buf_init(socket->sending.data, (unsigned)socket->sending.len);
    socket->writing = true;
    int rc = uv_write(&socket->write, (uv_stream_t *)socket->tcp, &bytes, 1, on_written);
    if (rc < 0)
        give_up(socket->link, uv_strerror(rc));
}

static void flush(struct redis_link *link)
{
    struct socket *socket = link->socket;
    if (!link->up || socket->writing || link->out.len == 0)
        return;
    struct buf empty = socket->sending;
    socket->sending = link->out;
    link->out = empty;
    list_append(&link->sent, &link->queued);
    write_out(socket);
}

static void on_turn(uv_prepare_t *turn)
{
    uv_prepare_stop(turn);
    flush(container_of(turn, struct redis_link, turn));
}

/* ---- in ---- */

static void take(struct redis_link *link, const struct redisReply *reply)
{
    link->heard_ms = uv_now(link->loop);
    if (link->greetings > 0) {
        if (reply->type == REDIS_REPLY_ERROR)
            give_up(link, reply->str);
        else
            link->up = --link->greetings == 0;
    } else if (list_is_empty(&link->sent)) {
        give_up(link, "a reply to nothing");
    } else {
        struct list *node = link->sent.next;
        list_remove(node);
        link->on_reply(link->arg, node, reply, 0);
    }
}

static void on_slice(uv_idle_t *slice);
static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf);

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct socket *socket = handle->data;
    (void)size;
    *buf = uv_buf_init(socket->link->input, READ_BYTES);
}

/* Who is answered goes on at once: what takes longer than a slice goes on in the next turn. */
static void give_replies(struct socket *socket)
{
    uint64_t end_ns = uv_hrtime() + LIMIT_KV_SLICE_NS;
    void *reply;
    while (socket->link != NULL) {
        struct redis_link *link = socket->link;
        if (redisReaderGetReply(socket->reader, &reply) != REDIS_OK) {
            give_up(link, socket->reader->errstr);
            return;
        }
        if (reply == NULL) {
            uv_idle_stop(&link->slice);
            uv_read_start((uv_stream_t *)socket->tcp, on_alloc, on_read);
            return;
        }
        bool was_up = link->up;
        take(link, reply);
        freeReplyObject(reply);
        if (socket->link != NULL && link->up && !was_up) {
            link->pause_ms = 0;
            tell_up(link);
            flush(link);
        }
        if (socket->link != NULL && uv_hrtime() >= end_ns) {
            uv_read_stop((uv_stream_t *)socket->tcp);
            uv_idle_start(&link->slice, on_slice);
            return;
        }
    }
}

static void on_slice(uv_idle_t *slice)
{
    give_replies(container_of(slice, struct redis_link, slice)->socket);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct socket *socket = stream->data;
    struct redis_link *link = socket->link;
    bool idle = link->up && list_is_empty(&link->sent) && list_is_empty(&link->queued);
    if (count < 0 && idle)
        drop_socket(link); /* servers do that to who is silent */
    else if (count < 0 && link->waits && link->up)
        end(link, STORE_UNREACHABLE, STORE_UNREACHABLE); /* the same */
    else if (count < 0)
        give_up(socket->link,
                count == UV_EOF ? "it closed the connection" : uv_strerror((int)count));
    else if (count > 0 && redisReaderFeed(socket->reader, buf->base, (size_t)count) != REDIS_OK)
        give_up(socket->link, socket->reader->errstr);
    else if (count > 0)
        give_replies(socket);
}

/* ---- connecting ---- */

static void greet(struct redis_link *link)
{
    struct socket *socket = link->socket;
    link->greetings = redis_command_greet(&socket->sending, link->address);
    uv_tcp_nodelay(socket->tcp, 1);
    uv_tcp_keepalive(socket->tcp, 1, 60);
    int rc = buf_failed(&socket->sending)
                 ? UV_ENOMEM
                 : uv_read_start((uv_stream_t *)socket->tcp, on_alloc, on_read);
    if (rc < 0)
        give_up(link, uv_strerror(rc));
    else
        write_out(socket);
}

static void on_dialled(void *arg, uv_tcp_t *tcp, int status)
{
    struct redis_link *link = arg;
    link->dial = NULL;
    if (tcp == NULL) {
        give_up(link, uv_strerror(status));
        return;
    }
    struct socket *socket = calloc(1, sizeof(*socket));
    redisReader *reader = socket != NULL ? redisReaderCreate() : NULL;
    if (reader == NULL) {
        free(socket);
        uv_close((uv_handle_t *)tcp, free_handle);
        give_up(link, uv_strerror(UV_ENOMEM));
        return;
    }
    *socket = (struct socket){.tcp = tcp, .link = link, .reader = reader};
    tcp->data = socket;
    link->socket = socket;
    greet(link);
}

/* ---- the interface ---- */

int redis_link_send(struct redis_link *link, struct list *node, const struct str *parts,
                    unsigned count)
{
    bool is_first = list_is_empty(&link->sent) && list_is_empty(&link->queued);
    size_t before = link->out.len;
    if (link->closing)
        return -ECANCELED;
    if (link->socket == NULL && link->dial == NULL) {
        if (uv_now(link->loop) < link->retry_ms)
            return STORE_UNREACHABLE;
        link->dial =
            redis_dial_new(link->loop, link->address->host, link->address->port, on_dialled, link);
        if (link->dial == NULL)
            return -ENOMEM;
    }
    if (link->out.len > LIMIT_KV_SERVER_BYTES)
        return STORE_FULL;
    redis_command_write(&link->out, parts, count);
    if (buf_failed(&link->out)) {
        link->out.failed = false;
        link->out.len = before;
        return -ENOMEM;
    }
    list_push(&link->queued, node);
    if (is_first) {
        link->heard_ms = uv_now(link->loop);
        link->late = false;
        uv_timer_start(&link->timer, on_timer, LIMIT_KV_SERVER_MS, 0);
    }
    uv_prepare_start(&link->turn, on_turn);
    return 0;
}

struct redis_link *redis_link_new(uv_loop_t *loop, const struct redis_address *address,
                                  struct redis_voice *voice, bool waits, redis_on_reply *on_reply,
                                  void *arg)
{
    struct redis_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->loop = loop;
    link->address = address;
    link->voice = voice;
    link->waits = waits;
    link->on_reply = on_reply;
    link->arg = arg;
    list_init(&link->queued);
    list_init(&link->sent);
    uv_timer_init(loop, &link->timer);
    uv_prepare_init(loop, &link->turn);
    uv_idle_init(loop, &link->slice);
    return link;
}

void redis_link_close(struct redis_link *link)
{
    link->closing = true;
    end(link, -ECANCELED, -ECANCELED);
    uv_close((uv_handle_t *)&link->timer, NULL);
    uv_close((uv_handle_t *)&link->turn, NULL);
    uv_close((uv_handle_t *)&link->slice, NULL);
}

void redis_link_free(struct redis_link *link)
{
    if (link == NULL)
        return;
    buf_free(&link->out);
    free(link);
}
