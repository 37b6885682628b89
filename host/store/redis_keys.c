/* See redis_keys.h. Each request is one script of the server: nothing comes between its steps. */
#include "store/redis_keys.h"

#include <errno.h>
#include <hiredis/hiredis.h>

#include "store/redis_reply.h"

/* ARGV: who asks, for how many ms it wants the right to fetch or 0, the stamp that it knows. Gives
 * the server's time, whether it has the right, the stamp and, where it is another one, the text. */
static const char ask_script[] =
    "local at, call, lease = KEYS[1], redis.call, tonumber(ARGV[2])\n"
    "local t, mine = call('TIME'), 0\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local h = call('HMGET', at, 't', 's', 'l', 'u')\n"
    "if lease > 0 and (not h[3] or h[3] == ARGV[1] or tonumber(h[4] or 0) <= now) then\n"
    "  mine = 1\n"
    "  call('HSET', at, 'l', ARGV[1], 'u', string.format('%.0f', now + lease))\n"
    "  if call('PTTL', at) < lease then call('PEXPIRE', at, lease) end\n"
    "end\n"
    "local known = h[2] == ARGV[3]\n"
    "return {now, mine, tonumber(h[2] or 0), not known and h[1] or ''}";

/* ARGV: who puts it, the stamp, for how many ms it is kept, the text; none: only the right goes. */
static const char put_script[] =
    "local at, call = KEYS[1], redis.call\n"
    "local h = call('HMGET', at, 's', 'l')\n"
    "local mine = h[2] == ARGV[1]\n"
    "if ARGV[4] and (mine or tonumber(ARGV[2]) > tonumber(h[1] or 0)) then\n"
    "  call('HSET', at, 't', ARGV[4], 's', ARGV[2])\n"
    "  call('PEXPIRE', at, ARGV[3])\n"
    "end\n"
    "if mine then call('HDEL', at, 'l', 'u') end\n"
    "return 1";

void redis_keys_make(struct redis_parts *parts, const char *prefix, const struct store_request *q)
{
    bool puts = q->kind == STORE_KEYS_PUT;
    redis_parts_add(parts, STR("EVAL"));
    redis_parts_add(parts, str_from(puts ? put_script : ask_script));
    redis_parts_add(parts, STR("1"));
    buf_printf(parts->text, "%s:keys:", prefix);
    redis_parts_add(parts, q->key);
    redis_parts_add(parts, q->id);
    if (!puts) {
        redis_parts_add_number(parts, (int64_t)q->ttl_ms);
        redis_parts_add_number(parts, q->number);
        return;
    }
    redis_parts_add_number(parts, q->number);
    redis_parts_add_number(parts, (int64_t)q->ttl_ms);
    if (q->value.type != STORE_ABSENT)
        redis_parts_add(parts, q->value.bytes);
}

int redis_keys_read(struct store_request *q, const struct redisReply *reply)
{
    if (q->kind == STORE_KEYS_PUT)
        return reply->type == REDIS_REPLY_INTEGER ? 0 : STORE_FOREIGN;
    if (!redis_reply_has_form(reply, "nnns"))
        return STORE_FOREIGN;
    q->reset_ms = (uint64_t)reply->element[0]->integer;
    q->changed = reply->element[1]->integer == 1;
    q->number = reply->element[2]->integer;
    buf_add_str(&q->out, (struct str){reply->element[3]->str, reply->element[3]->len});
    return buf_failed(&q->out) ? -ENOMEM : 0;
}
