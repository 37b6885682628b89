#include "store/redis_link.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/redis_command.h"
#include "store/redis_dial.h"
#include "store/redis_find.h"
#include "store/redis_socket.h"
#include "store/store.h"

enum { PAUSE_MS = 100, PAUSE_MAX_MS = 1000, LOOKS = 8, LOOK_MS = LIMIT_KV_SERVER_MS / LOOKS };

struct redis_link {
    uv_loop_t *loop;
    struct redis_server *server;
    struct redis_link_user user;
    struct redis_place place;    /* of the server, where Sentinel found it */
    struct redis_find *find;     /* NULL: none under way */
    struct redis_dial *dial;     /* NULL: none under way */
    struct redis_socket *socket; /* NULL: none */
    struct list queued;          /* nodes whose commands are in `out` */
    struct list sent;            /* nodes whose replies are due */
    struct buf out;              /* commands */
    unsigned greetings;          /* replies due before those: to what begins a connection */
    bool up;                     /* the greetings are over */
    bool closing;
    uint64_t pause_ms, retry_ms; /* the second of the loop's clock */
    unsigned looks;              /* in vain, since a reply came or the first command lacks one */
    uv_timer_t timer;            /* runs while replies are due: the next look */
    uv_prepare_t turn;           /* runs while commands wait for the turn's end */
};

void redis_link_tell(struct redis_link *link, const char *what)
{
    redis_server_tell_refused(link->server, uv_now(link->loop), what);
}

/* ---- giving up ---- */

static void drop_socket(struct redis_link *link)
{
    redis_socket_drop(link->socket);
    link->socket = NULL;
    link->up = false;
    link->greetings = 0;
}

static void give_back(struct redis_link *link, struct list *nodes, int status)
{
    while (!list_is_empty(nodes)) {
        struct list *node = nodes->next;
        list_remove(node);
        link->user.on_reply(link->user.arg, node, NULL, status);
    }
}

static void end(struct redis_link *link, int sent_status, int queued_status)
{
    bool was_up = link->up;
    redis_find_cancel(link->find);
    redis_dial_cancel(link->dial);
    link->find = NULL;
    link->dial = NULL;
    buf_clear(&link->out);
    uv_timer_stop(&link->timer);
    uv_prepare_stop(&link->turn);
    drop_socket(link);
    give_back(link, &link->sent, sent_status);
    give_back(link, &link->queued, queued_status);
    if (was_up && link->user.on_push != NULL && !link->closing)
        link->user.on_push(link->user.arg, NULL);
}

static void give_up(struct redis_link *link, const char *why)
{
    redis_server_tell_down(link->server, uv_now(link->loop), why);
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

/* Time counts by turns in which the loop looked at its sockets: where this process gets none, on a
 * machine that is too busy or stands still, the server may have had none, either. */
static void on_timer(uv_timer_t *timer)
{
    struct redis_link *link = container_of(timer, struct redis_link, timer);
    if (list_is_empty(&link->sent) && list_is_empty(&link->queued))
        return;
    if (++link->looks <= LOOKS) {
        uv_timer_start(timer, on_timer, LOOK_MS, 0);
        return;
    }
    bool has_greeted = link->up || !link->server->address->tls;
    give_up(link, has_greeted ? "no answer in time"
                              : "no answer in time: KV_URL: redis:// where it does not speak TLS");
}

/* ---- out ---- */

static void flush(struct redis_link *link)
{
    if (!link->up || !redis_socket_has_room(link->socket) || link->out.len == 0)
        return;
    list_append(&link->sent, &link->queued);
    redis_socket_send(link->socket, &link->out);
}

static void on_room(void *arg)
{
    flush(arg);
}

static void on_turn(uv_prepare_t *turn)
{
    uv_prepare_stop(turn);
    flush(container_of(turn, struct redis_link, turn));
}

/* ---- in ---- */

static bool is_text(const struct redisReply *reply, const char *text)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, text) == 0;
}

/* Sentinel may name one that has stepped down meanwhile. Who may not ask for the role goes on. */
static bool is_replica(const struct redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
           is_text(reply->element[0], "slave");
}

static void take_greeting(struct redis_link *link, const struct redisReply *reply)
{
    bool may_fail = reply->type == REDIS_REPLY_ERROR && link->server->address->primary[0] != '\0' &&
                    link->greetings == 2 && strncmp(reply->str, "NOPERM", 6) == 0;
    if (reply->type == REDIS_REPLY_ERROR && !may_fail) {
        give_up(link, reply->str);
    } else if (is_replica(reply)) {
        give_up(link, "it is a replica: Sentinel has not found another primary yet");
    } else if (--link->greetings == 0) {
        link->up = true;
        link->pause_ms = 0;
        redis_server_tell_up(link->server);
        flush(link);
    }
}

static bool is_push(const struct redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= 3 &&
           (is_text(reply->element[0], "message") || is_text(reply->element[0], "pmessage"));
}

static void on_reply(void *arg, const struct redisReply *reply)
{
    struct redis_link *link = arg;
    if (link->user.on_push != NULL && link->up && is_push(reply)) {
        link->user.on_push(link->user.arg, reply);
        return;
    }
    link->looks = 0;
    if (link->greetings > 0) {
        take_greeting(link, reply);
    } else if (list_is_empty(&link->sent)) {
        give_up(link, "a reply to nothing");
    } else {
        struct list *node = link->sent.next;
        list_remove(node);
        link->user.on_reply(link->user.arg, node, reply, 0);
    }
}

static void on_lost(void *arg, const char *why, bool closed)
{
    struct redis_link *link = arg;
    bool idle = link->up && list_is_empty(&link->sent) && list_is_empty(&link->queued);
    if (closed && idle)
        end(link, STORE_UNREACHABLE, STORE_UNREACHABLE); /* servers do that to who is silent */
    else if (closed && link->user.waits && link->up)
        end(link, STORE_UNREACHABLE, STORE_UNREACHABLE); /* the same */
    else if (closed && !link->up && !link->server->address->tls)
        give_up(link, "it closed the connection at once: KV_URL: rediss:// where it speaks TLS");
    else
        give_up(link, why);
}

/* ---- connecting ---- */

static void greet(struct redis_link *link)
{
    struct buf commands = BUF_INIT;
    link->greetings = redis_command_greet(&commands, link->server->address);
    if (buf_failed(&commands))
        give_up(link, uv_strerror(UV_ENOMEM));
    else
        redis_socket_send(link->socket, &commands);
    buf_free(&commands);
}

static void on_dialled(void *arg, uv_tcp_t *tcp, int status)
{
    static const struct redis_socket_user user = {on_reply, on_room, on_lost};
    struct redis_link *link = arg;
    struct err err;
    link->dial = NULL;
    if (tcp == NULL) {
        give_up(link, uv_strerror(status));
        return;
    }
    link->socket = redis_socket_new(tcp, link->server, link->place.host, &user, link, &err);
    if (link->socket == NULL)
        give_up(link, err.text);
    else
        greet(link);
}

static bool dial(struct redis_link *link)
{
    link->dial = redis_dial_new(link->loop, link->place.host, link->place.port, on_dialled, link);
    return link->dial != NULL;
}

static void on_found(void *arg, const struct redis_place *place, const char *why)
{
    struct redis_link *link = arg;
    link->find = NULL;
    if (place == NULL) {
        give_up(link, why);
        return;
    }
    link->place = *place;
    if (!dial(link))
        give_up(link, uv_strerror(UV_ENOMEM));
}

static bool connect_to_it(struct redis_link *link)
{
    const struct redis_address *address = link->server->address;
    if (address->primary[0] != '\0') {
        link->find = redis_find_new(link->loop, link->server, on_found, link);
        return link->find != NULL;
    }
    link->place = address->places[0];
    return dial(link);
}

/* ---- the interface ---- */

int redis_link_send(struct redis_link *link, struct list *node, const struct str *parts,
                    unsigned count)
{
    bool is_first = list_is_empty(&link->sent) && list_is_empty(&link->queued);
    size_t before = link->out.len;
    if (link->closing)
        return -ECANCELED;
    if (link->socket == NULL && link->dial == NULL && link->find == NULL) {
        if (uv_now(link->loop) < link->retry_ms)
            return STORE_UNREACHABLE;
        if (!connect_to_it(link))
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
        link->looks = 0;
        uv_timer_start(&link->timer, on_timer, LOOK_MS, 0);
    }
    uv_prepare_start(&link->turn, on_turn);
    return 0;
}

struct redis_link *redis_link_new(uv_loop_t *loop, struct redis_server *server,
                                  const struct redis_link_user *user)
{
    struct redis_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->loop = loop;
    link->server = server;
    link->user = *user;
    list_init(&link->queued);
    list_init(&link->sent);
    uv_timer_init(loop, &link->timer);
    uv_prepare_init(loop, &link->turn);
    return link;
}

void redis_link_close(struct redis_link *link)
{
    link->closing = true;
    end(link, -ECANCELED, -ECANCELED);
    uv_close((uv_handle_t *)&link->timer, NULL);
    uv_close((uv_handle_t *)&link->turn, NULL);
}

void redis_link_free(struct redis_link *link)
{
    if (link == NULL)
        return;
    buf_free(&link->out);
    free(link);
}
