/* See redis_due.h. Each request is one script of the server: nothing comes between its steps. */
#include "store/redis_due.h"

#include <hiredis/hiredis.h>

#include "base/limits.h"
#include "store/job_owner.h"
#include "store/redis_reply.h"

/* KEYS[1] what all names begin with. ARGV: name, owner, how long an owner is believed to live, the
 * newest time that the asker knows to be taken, the one to take or 0, how long it is kept, by how
 * much the clock may be set back, and whether the owner runs it, asks again, or goes back. Gives an
 * enum store_due, the newest time that was taken, and the server's time.
 *
 * What the asker knows counts where the server has lost its last writes to a replica's. A time is
 * skipped when the run before takes longer than it is from one to the other: its worker has said
 * since then that it lives, or asks itself. Else it waits for the run before, which was late. */
static const char due_script[] =
    "local base, call, owner = KEYS[1], redis.call, ARGV[2]\n"
    "local at, owners = base .. ':due:' .. ARGV[1], base .. ':owners'\n"
    "local lease, known, due = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])\n"
    "local back, runs = tonumber(ARGV[7]), ARGV[8] == '1'\n"
    "local t = call('TIME')\n"
    "local now, ms = tonumber(t[1]), t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local h = call('HMGET', at, 'last', 'run', 'began', 'of')\n"
    "local last, run = tonumber(h[1]), h[2]\n"
    "local function take(time, verdict)\n"
    "  call('HSET', at, 'last', string.format('%.0f', time))\n"
    "  call('PEXPIRE', at, ARGV[6])\n"
    "  return {verdict, time, ms}\n"
    "end\n"
    "local made = not last\n"
    "if made then last = now end\n"
    "if known > last and known <= now + back then last = known end\n"
    "if made then return take(last, 1) end\n"
    "if due == 0 then return take(last, 0) end\n"
    "local function begin()\n"
    "  call('ZADD', owners, ms + lease, owner)\n"
    "  call('SADD', base .. ':on:' .. owner:sub(1, 16), owner)\n"
    "  call('HSET', at, 'run', owner, 'began', string.format('%.0f', ms), 'of', ARGV[5])\n"
    "  return take(due, 2)\n"
    "end\n"
    "if ARGV[9] == '1' and not runs and last == due and run == owner then return begin() end\n"
    "if known ~= last or due > now then return take(last, 0) end\n"
    "if ARGV[10] == '1' then return take(last > now + back and due or last, 0) end\n"
    "if run == owner and not runs then run = false end\n"
    "if run and run ~= owner then\n"
    "  local till = tonumber(call('ZSCORE', owners, run) or 0)\n"
    "  if till > ms and till - lease < due * 1000 then return take(last, 4) end\n"
    "  if till <= ms then run = false end\n"
    "end\n"
    "if run and ms - (h[3] or 0) < (due - (h[4] or 0)) * 1000 then return take(last, 4) end\n"
    "if run then return take(due, 3) end\n"
    "return begin()";

/* ARGV: name, owner. */
static const char end_script[] = "local at = KEYS[1] .. ':due:' .. ARGV[1]\n"
                                 "if redis.call('HGET', at, 'run') ~= ARGV[2] then return 0 end\n"
                                 "return redis.call('HDEL', at, 'run')";

void redis_due_make(struct redis_parts *parts, const char *prefix, const struct store_request *q)
{
    bool ends = q->kind == STORE_DUE_END;
    redis_parts_add(parts, STR("EVAL"));
    redis_parts_add(parts, str_from(ends ? end_script : due_script));
    redis_parts_add(parts, STR("1"));
    buf_printf(parts->text, "%s:{queue}", prefix);
    redis_parts_end(parts);
    redis_parts_add(parts, q->key);
    redis_parts_add(parts, str_from(q->owner->text));
    if (ends)
        return;
    redis_parts_add_number(parts, LIMIT_QUEUE_LEASE);
    redis_parts_add_number(parts, q->number);
    redis_parts_add_number(parts, q->by);
    redis_parts_add_number(parts, LIMIT_SCHEDULE_KEEP);
    redis_parts_add_number(parts, LIMIT_SCHEDULE_BACK);
    redis_parts_add_number(parts, (q->limit & STORE_DUE_RUNS) != 0);
    redis_parts_add_number(parts, (q->limit & STORE_DUE_AGAIN) != 0);
    redis_parts_add_number(parts, (q->limit & STORE_DUE_BACK) != 0);
}

int redis_due_read(struct store_request *q, const struct redisReply *reply)
{
    if (q->kind == STORE_DUE_END) {
        q->changed = reply->type == REDIS_REPLY_INTEGER && reply->integer != 0;
        return reply->type == REDIS_REPLY_INTEGER ? 0 : STORE_FOREIGN;
    }
    if (!redis_reply_has_form(reply, "nnn") || reply->element[0]->integer > STORE_DUE_HELD)
        return STORE_FOREIGN;
    q->verdict = (enum store_due)reply->element[0]->integer;
    q->number = reply->element[1]->integer;
    q->reset_ms = (uint64_t)reply->element[2]->integer;
    return 0;
}
