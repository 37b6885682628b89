#include "store/redis_find.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"
#include "store/redis_command.h"
#include "store/redis_dial.h"
#include "store/redis_socket.h"

struct redis_find {
    uv_loop_t *loop;
    struct redis_server *server;
    redis_on_found *done;
    void *arg;
    unsigned first, asked;       /* of the places: the one to begin with, and how many were asked */
    struct redis_dial *dial;     /* NULL: none under way */
    struct redis_socket *socket; /* NULL: none */
    uv_timer_t timer;
    unsigned skip; /* replies before the one that counts */
    bool logged_in;
    char why[256]; /* what was wrong with the one before */
};

static const struct redis_socket_user user;

static void on_timer_closed(uv_handle_t *timer)
{
    free(container_of((uv_timer_t *)timer, struct redis_find, timer));
}

static void leave_one(struct redis_find *find)
{
    redis_dial_cancel(find->dial);
    redis_socket_drop(find->socket);
    find->dial = NULL;
    find->socket = NULL;
}

static void finish(struct redis_find *find, const struct redis_place *place)
{
    redis_on_found *done = find->done;
    void *arg = find->arg;
    leave_one(find);
    done(arg, place, find->why);
    uv_close((uv_handle_t *)&find->timer, on_timer_closed);
}

void redis_find_cancel(struct redis_find *find)
{
    if (find == NULL)
        return;
    leave_one(find);
    uv_close((uv_handle_t *)&find->timer, on_timer_closed);
}

static struct redis_place const *place_of(const struct redis_find *find)
{
    const struct redis_address *a = find->server->address;
    return &a->places[(find->first + find->asked) % a->place_count];
}

static void ask_one(struct redis_find *find);

static void pass_over(struct redis_find *find, const char *why)
{
    snprintf(find->why, sizeof(find->why), "Sentinel at %.100s:%s: %s", place_of(find)->host,
             place_of(find)->port, why);
    leave_one(find);
    find->asked++;
    find->server->sentinel = (find->first + find->asked) % find->server->address->place_count;
    ask_one(find);
}

static void on_timer(uv_timer_t *timer)
{
    pass_over(container_of(timer, struct redis_find, timer), "no answer in time");
}

/* The last one has what is left of the time of whoever searches. */
static void limit_wait(struct redis_find *find)
{
    uv_timer_stop(&find->timer);
    if (find->asked + 1 < find->server->address->place_count)
        uv_timer_start(&find->timer, on_timer, LIMIT_KV_SENTINEL_MS, 0);
}

static void ask(struct redis_find *find, bool login)
{
    const struct redis_address *a = find->server->address;
    const struct str question[] = {STR("SENTINEL"), STR("get-master-addr-by-name"),
                                   str_from(a->primary)};
    struct buf commands = BUF_INIT;
    find->skip = login ? 1 : 0;
    if (login)
        redis_command_login(&commands, a);
    redis_command_write(&commands, question, 3);
    if (buf_failed(&commands))
        pass_over(find, uv_strerror(UV_ENOMEM));
    else
        redis_socket_send(find->socket, &commands);
    buf_free(&commands);
}

static bool is_text(const struct redisReply *reply, size_t size)
{
    return reply->type == REDIS_REPLY_STRING && reply->len > 0 && reply->len < size &&
           memchr(reply->str, '\0', reply->len) == NULL;
}

static void on_reply(void *arg, const struct redisReply *reply)
{
    struct redis_find *find = arg;
    const struct redis_address *a = find->server->address;
    struct redis_place place;
    if (find->skip > 0 && reply->type != REDIS_REPLY_ERROR) {
        find->skip--;
    } else if (reply->type == REDIS_REPLY_ERROR) {
        bool wants_login = strncmp(reply->str, "NOAUTH", 6) == 0 && a->password[0] != '\0';
        if (!wants_login || find->logged_in) {
            pass_over(find, reply->str);
            return;
        }
        find->logged_in = true;
        ask(find, true);
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
               is_text(reply->element[0], sizeof(place.host)) &&
               is_text(reply->element[1], sizeof(place.port))) {
        snprintf(place.host, sizeof(place.host), "%s", reply->element[0]->str);
        snprintf(place.port, sizeof(place.port), "%s", reply->element[1]->str);
        find->server->sentinel = (find->first + find->asked) % a->place_count;
        finish(find, &place);
    } else {
        pass_over(find, reply->type == REDIS_REPLY_NIL
                            ? "it knows no primary of the name that KV_URL has behind the hosts"
                            : "an answer to something else");
    }
}

static void on_room(void *arg)
{
    (void)arg;
}

static void on_lost(void *arg, const char *why, bool closed)
{
    (void)closed;
    pass_over(arg, why);
}

static const struct redis_socket_user user = {on_reply, on_room, on_lost};

static void on_dialled(void *arg, uv_tcp_t *tcp, int status)
{
    struct redis_find *find = arg;
    struct err err;
    find->dial = NULL;
    if (tcp == NULL) {
        pass_over(find, uv_strerror(status));
        return;
    }
    find->logged_in = false;
    find->socket = redis_socket_new(tcp, find->server, place_of(find)->host, &user, find, &err);
    if (find->socket == NULL)
        pass_over(find, err.text);
    else
        ask(find, false);
}

static void ask_one(struct redis_find *find)
{
    if (find->asked >= find->server->address->place_count) {
        finish(find, NULL);
        return;
    }
    find->dial =
        redis_dial_new(find->loop, place_of(find)->host, place_of(find)->port, on_dialled, find);
    if (find->dial == NULL) {
        snprintf(find->why, sizeof(find->why), "%s", uv_strerror(UV_ENOMEM));
        finish(find, NULL);
        return;
    }
    limit_wait(find);
}

struct redis_find *redis_find_new(uv_loop_t *loop, struct redis_server *server,
                                  redis_on_found *done, void *arg)
{
    struct redis_find *find = calloc(1, sizeof(*find));
    if (find == NULL)
        return NULL;
    find->loop = loop;
    find->server = server;
    find->first = server->sentinel;
    find->done = done;
    find->arg = arg;
    find->dial = redis_dial_new(loop, place_of(find)->host, place_of(find)->port, on_dialled, find);
    if (find->dial == NULL) {
        free(find);
        return NULL;
    }
    uv_timer_init(loop, &find->timer);
    limit_wait(find);
    return find;
}
