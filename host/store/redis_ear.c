/* A connection that hears channels. */
#include "store/redis_ear.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "base/limits.h"

enum { PREFIX_MAX = 256, ASK_MS = LIMIT_KV_SERVER_MS };

struct redis_ear {
    const struct store_listener *listener;
    struct redis_link *link;
    char prefix[PREFIX_MAX]; /* of channels, with the colon */
    size_t prefix_len;
    unsigned heard;   /* channels that are wanted */
    uv_timer_t again; /* after it was lost */
    uv_timer_t alive; /* while something is wanted */
    bool asking, closing;
};

/* A command that is under way. */
struct asked {
    struct list node;
    bool yes;
    size_t len; /* 0: a PING */
    char name[];
};

/* ---- after it was lost ---- */

static void on_again(uv_timer_t *timer)
{
    struct redis_ear *ear = container_of(timer, struct redis_ear, again);
    ear->heard = 0; /* counted again */
    if (!ear->listener->lost(ear->listener->arg))
        uv_timer_start(timer, on_again, LIMIT_CHANNEL_AGAIN_MS, 0);
}

static void begin_again(struct redis_ear *ear)
{
    if (!ear->closing && !uv_is_active((uv_handle_t *)&ear->again))
        uv_timer_start(&ear->again, on_again, LIMIT_CHANNEL_AGAIN_MS, 0);
}

/* ---- commands ---- */

static int send_command(struct redis_ear *ear, struct str name, bool yes)
{
    struct asked *asked = malloc(sizeof(*asked) + ear->prefix_len + name.len);
    if (asked == NULL)
        return -ENOMEM;
    asked->yes = yes;
    asked->len = name.len;
    memcpy(asked->name, ear->prefix, ear->prefix_len);
    if (name.len > 0)
        memcpy(asked->name + ear->prefix_len, name.ptr, name.len);
    const struct str parts[] = {name.len == 0 ? STR("PING")
                                : yes         ? STR("SUBSCRIBE")
                                              : STR("UNSUBSCRIBE"),
                                {asked->name, ear->prefix_len + name.len}};
    int rc = redis_link_send(ear->link, &asked->node, parts, name.len == 0 ? 1 : 2);
    if (rc != 0)
        free(asked);
    return rc;
}

static void on_alive(uv_timer_t *timer)
{
    struct redis_ear *ear = container_of(timer, struct redis_ear, alive);
    if (ear->heard == 0)
        uv_timer_stop(timer);
    else if (!ear->asking)
        ear->asking = send_command(ear, STR(""), true) == 0;
}

static int read_status(struct redis_ear *ear, const struct redisReply *reply, int status)
{
    if (reply == NULL)
        return status;
    if (reply->type != REDIS_REPLY_ERROR)
        return 0;
    redis_link_tell(ear->link, reply->str);
    return STORE_REFUSED;
}

/* Who is refused is not asked for again; what is lost is. */
static void on_reply(void *arg, struct list *node, const struct redisReply *reply, int status)
{
    struct redis_ear *ear = arg;
    struct asked *asked = container_of(node, struct asked, node);
    const struct str name = {asked->name + ear->prefix_len, asked->len};
    status = read_status(ear, reply, status);
    if (asked->len == 0)
        ear->asking = false;
    else if (asked->yes && !ear->closing)
        ear->listener->heard(ear->listener->arg, name, status);
    if (reply == NULL && asked->yes)
        begin_again(ear);
    free(asked);
}

/* ["message", channel, text]; NULL: the connection is lost */
static void on_push(void *arg, const struct redisReply *reply)
{
    struct redis_ear *ear = arg;
    if (reply == NULL) {
        begin_again(ear);
        return;
    }
    const struct redisReply *channel = reply->element[1], *text = reply->element[2];
    const struct str prefix = {ear->prefix, ear->prefix_len};
    if (channel->type != REDIS_REPLY_STRING || text->type != REDIS_REPLY_STRING ||
        !str_starts_with((struct str){channel->str, channel->len}, prefix))
        return;
    ear->listener->message(ear->listener->arg,
                           str_skip((struct str){channel->str, channel->len}, prefix.len),
                           (struct str){text->str, text->len});
}

/* ---- the interface ---- */

int redis_ear_hear(struct redis_ear *ear, struct str name, bool yes)
{
    int rc = send_command(ear, name, yes);
    if (rc != 0 && !yes)
        return 0; /* nothing is heard at all */
    if (rc != 0)
        return rc;
    ear->heard += yes ? 1 : ear->heard > 0 ? -1U : 0;
    if (yes && !uv_is_active((uv_handle_t *)&ear->alive))
        uv_timer_start(&ear->alive, on_alive, ASK_MS, ASK_MS);
    return 0;
}

struct redis_ear *redis_ear_new(uv_loop_t *loop, struct redis_server *server,
                                const struct store_listener *listener)
{
    struct redis_ear *ear = calloc(1, sizeof(*ear));
    if (ear == NULL)
        return NULL;
    const struct redis_link_user user = {
        .waits = true, .on_reply = on_reply, .on_push = on_push, .arg = ear};
    int len = snprintf(ear->prefix, sizeof(ear->prefix), "%s:channel:", server->address->prefix);
    ear->link = len < PREFIX_MAX ? redis_link_new(loop, server, &user) : NULL;
    if (ear->link == NULL) {
        free(ear);
        return NULL;
    }
    ear->prefix_len = (size_t)len;
    ear->listener = listener;
    uv_timer_init(loop, &ear->again);
    uv_timer_init(loop, &ear->alive);
    return ear;
}

void redis_ear_close(struct redis_ear *ear)
{
    ear->closing = true;
    redis_link_close(ear->link);
    uv_close((uv_handle_t *)&ear->again, NULL);
    uv_close((uv_handle_t *)&ear->alive, NULL);
}

void redis_ear_free(struct redis_ear *ear)
{
    if (ear == NULL)
        return;
    redis_link_free(ear->link);
    free(ear);
}
