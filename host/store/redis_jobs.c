/* See redis_jobs.h. Each request is one script of the server: nothing comes between its steps. */
#include "store/redis_jobs.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>

#include "base/limits.h"
#include "store/job.h"
#include "store/job_owner.h"
#include "store/redis_reply.h"

/* ---- scripts: KEYS[1] what all names begin with ---- */

#define TEXT(number)  TEXT_(number)
#define TEXT_(number) #number

/* The beginning of each. */
static const char head[] =
    "local base, call = KEYS[1], redis.call\n"
    "local t = call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local function job(id) return base .. ':job:' .. id end\n"
    "local function stream(f) return base .. ':s:' .. f end\n"
    "local function ready(id, f)\n"
    "  if call('SADD', base .. ':fn', f) == 1 or call('EXISTS', stream(f)) == 0 then\n"
    "    redis.pcall('XGROUP', 'CREATE', stream(f), 'luafn', '0', 'MKSTREAM')\n"
    "  end\n"
    "  call('HSET', job(id), 'st', 'w', 'at', now, 's', call('XADD', stream(f), '*', 'j', id))\n"
    "end\n"
    "local function wait(id, f, ms)\n"
    "  if ms <= 0 then return ready(id, f) end\n"
    "  call('HSET', job(id), 'st', 'l', 'at', now + ms)\n"
    "  call('ZADD', base .. ':later', now + ms, id)\n"
    "end\n"
    "local function leave(f, s) call('XACK', stream(f), 'luafn', s) call('XDEL', stream(f), s) end\n"
    "local function bury(id, reason)\n"
    "  call('HSET', job(id), 'st', 'd', 'at', now, 'r', reason)\n"
    "  call('ZADD', base .. ':dead', now, id)\n"
    "end\n"
    "local function running(f)\n"
    "  local p = redis.pcall('XPENDING', stream(f), 'luafn')\n"
    "  return p.err and 0 or p[1]\n"
    "end\n"
    "local function live(owner, lease)\n"
    "  call('ZADD', base .. ':owners', now + lease, owner)\n"
    "  call('SADD', base .. ':on:' .. owner:sub(1, 16), owner)\n"
    "end\n"
    "local function remove(id)\n"
    "  local bytes = call('HSTRLEN', job(id), 'p')\n"
    "  call('DEL', job(id)) call('ZREM', base .. ':ids', id)\n"
    "  call('ZREM', base .. ':dead', id) call('ZREM', base .. ':later', id)\n"
    "  call('DECRBY', base .. ':bytes', bytes)\n"
    "end\n";

/* ARGV: id, function, key, payload, delay, how many may run and wait, how many run, owner, lease.
 * Gives 1, or 0 where the key is taken, and whether it runs. */
static const char add_script[] =
    "local id, f, key, payload, delay = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])\n"
    "local limit, most, owner = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]\n"
    "local runs, all = 0, 0\n"
    "if limit > 0 then\n"
    "  runs, all = running(f), call('XLEN', stream(f))\n"
    "  if all >= limit then return {3, 0} end\n"
    "end\n"
    "if call('ZCARD', base .. ':ids') >= " TEXT(
        LIMIT_QUEUE_JOBS) "\n"
                          "    or (tonumber(call('GET', base .. ':bytes') or '0')) + #payload > 1073741824 then\n"
                          "  return {2, 0}\n"
                          "end\n"
                          "if key ~= '' and not call('SET', base .. ':key:' .. f .. ' ' .. key, id, 'NX', 'PX', 86400000)\n"
                          "then return {0, 0} end\n"
                          "call('HSET', job(id), 'v', 1, 'f', f, 'k', key, 'p', payload, 'a', 0, 'l', 0)\n"
                          "call('ZADD', base .. ':ids', 0, id)\n"
                          "call('INCRBY', base .. ':bytes', #payload)\n"
                          "wait(id, f, delay)\n"
                          "if limit == 0 or delay > 0 or runs >= most or runs < all then return {1, 0} end\n"
                          "call('XREADGROUP', 'GROUP', 'luafn', owner, 'COUNT', 1, 'STREAMS', stream(f), '>')\n"
                          "call('HSET', job(id), 'st', 'r', 'o', owner)\n"
                          "live(owner, ARGV[9])\n"
                          "return {1, 1}";

/* ARGV: owner, lease, at most, age of what nobody reads, lines of function, room and most; workers
 * that are gone; ids of the owner's own, where it does not know whether there are others ("-": it
 * does). Gives how many wait, how many are dead, the jobs, and the workers of the machine. */
static const char take_script[] =
    "local owner, left, age = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])\n"
    "local names = call('SMEMBERS', base .. ':fn')\n"
    "if #names == 0 and call('EXISTS', base .. ':later', base .. ':owners') == 0 then return {0, call('ZCARD', base .. ':dead'), {}, {}} end\n"
    "local function release(who, keep)\n"
    "  for _, f in ipairs(names) do\n"
    "    local p = redis.pcall('XPENDING', stream(f), 'luafn', '-', '+', 1000, who)\n"
    "    for i = 1, p.err and 0 or #p do\n"
    "      local e = call('XRANGE', stream(f), p[i][1], p[i][1])[1]\n"
    "      local id = e and e[2][2]\n"
    "      if not e then call('XACK', stream(f), 'luafn', p[i][1])\n"
    "      elseif not (keep and keep:find(id, 1, true)) then\n"
    "        leave(f, p[i][1])\n"
    "        if keep or call('HINCRBY', job(id), 'l', 1) <= " TEXT(
        LIMIT_QUEUE_LOST) " then ready(id, f)\n"
                          "        else bury(id, 'the workers that ran it died, each time') end\n"
                          "      end\n"
                          "    end\n"
                          "    if not keep then redis.pcall('XGROUP', 'DELCONSUMER', stream(f), 'luafn', who) end\n"
                          "  end\n"
                          "  if keep then return end\n"
                          "  call('ZREM', base .. ':owners', who)\n"
                          "  call('SREM', base .. ':on:' .. who:sub(1, 16), who)\n"
                          "end\n"
                          "call('ZREM', base .. ':owners', '')\n"
                          "live(owner, ARGV[2])\n"
                          "local last, lease = tonumber(call('GET', base .. ':seen') or now), tonumber(ARGV[2])\n"
                          "call('SET', base .. ':seen', now)\n"
                          "for _, who in ipairs(now - last > lease / 2 and call('ZRANGE', base .. ':owners', 0, -1) or {}) do\n"
                          "  call('ZADD', base .. ':owners', now + lease, who)\n"
                          "end\n"
                          "for _, who in ipairs(call('ZRANGEBYSCORE', base .. ':owners', '-inf', now, 'LIMIT', 0, 16)) do\n"
                          "  release(who)\n"
                          "end\n"
                          "for who in ARGV[6]:gmatch('%S+') do release(who) end\n"
                          "if ARGV[7] ~= '-' then release(owner, ARGV[7]) end\n"
                          "for _, id in ipairs(call('ZRANGEBYSCORE', base .. ':later', '-inf', now, 'LIMIT', 0, 100)) do\n"
                          "  call('ZREM', base .. ':later', id)\n"
                          "  local f = call('HGET', job(id), 'f')\n"
                          "  if f then ready(id, f) end\n"
                          "end\n"
                          "local jobs, bytes, known = {}, 0, {}\n"
                          "local function take(f)\n"
                          "  local r = redis.pcall('XREADGROUP', 'GROUP', 'luafn', owner, 'COUNT', 1, 'STREAMS', stream(f), '>')\n"
                          "  if not r or r.err then return false end\n"
                          "  local s, fields = r[1][2][1][1], r[1][2][1][2]\n"
                          "  local id = fields[1] == 'j' and fields[2] or ''\n"
                          "  local h = call('HMGET', job(id), 'v', 'k', 'a', 'p')\n"
                          "  local a = tonumber(h[3])\n"
                          "  if #id ~= 26 or h[1] ~= '1' or not (h[2] and a and h[4]) then\n"
                          "    leave(f, s)\n"
                          "    if #id ~= 26 or not h[1] then\n"
                          "      id = (('0'):rep(26) .. s:gsub('-', '')):sub(-26)\n"
                          "      call('HSET', job(id), 'v', 1, 'f', f, 'k', '', 'p', '', 'a', 0, 'l', 0)\n"
                          "      call('ZADD', base .. ':ids', 0, id)\n"
                          "    end\n"
                          "    bury(id, '" JOB_FOREIGN "')\n"
                          "    return true\n"
                          "  end\n"
                          "  call('HSET', job(id), 'st', 'r', 'o', owner, 's', s, 'at', now)\n"
                          "  jobs[#jobs + 1] = {id, f, h[2], a, h[4]}\n"
                          "  bytes = bytes + #h[4]\n"
                          "  left = left - 1\n"
                          "  return true\n"
                          "end\n"
                          "local had = {}\n"
                          "for _, f in ipairs(names) do had[f] = true end\n"
                          "for f, room, most in ARGV[5]:gmatch('(%S+) (%d+) (%d+)') do\n"
                          "  known[f] = true\n"
                          "  local may = had[f] and math.min(tonumber(room), most - running(f)) or 0\n"
                          "  while may > 0 and left > 0 and bytes < 1048576 and take(f) do may = may - 1 end\n"
                          "end\n"
                          "local run = 0\n"
                          "for _, f in ipairs(names) do\n"
                          "  run = run + running(f)\n"
                          "  for _, e in ipairs(known[f] and {} or redis.pcall('XRANGE', stream(f), '-', string.format('%.0f', now - age), 'COUNT', 16)) do\n"
                          "    local id = e[2][2]\n"
                          "    leave(f, e[1])\n"
                          "    if call('EXISTS', job(id)) == 1 then bury(id, 'there is no function of this name') end\n"
                          "  end\n"
                          "end\n"
                          "local dead = call('ZCARD', base .. ':dead')\n"
                          "return {math.max(0, call('ZCARD', base .. ':ids') - dead - run), dead, jobs,\n"
                          "  call('SMEMBERS', base .. ':on:' .. owner:sub(1, 16))}";

/* ARGV: id, owner, enum job_end, ms until it may run, the reason. */
static const char end_script[] =
    "local id, how = ARGV[1], tonumber(ARGV[3])\n"
    "local h = call('HMGET', job(id), 'st', 'o', 's', 'f')\n"
    "if h[1] ~= 'r' or h[2] ~= ARGV[2] then return 0 end\n"
    "leave(h[4], h[3])\n"
    "if how == 0 then remove(id) return 1 end\n"
    "if how ~= 2 then call('HINCRBY', job(id), 'a', 1) end\n"
    "call('HSET', job(id), 'l', 0)\n"
    "if how == 3 then bury(id, ARGV[5]) else wait(id, h[4], tonumber(ARGV[4])) end\n"
    "return 1";

/* ARGV: the id behind which it begins, how many. Gives whether there are more, the last id, and for
 * each id, function, key, state, attempts, time, reason. */
static const char list_script[] =
    "local from, count, rows = ARGV[1], tonumber(ARGV[2]), {}\n"
    "local ids = call('ZRANGEBYLEX', base .. ':ids', from == '' and '-' or '(' .. from, '+', 'LIMIT', 0, count + 1)\n"
    "for i = 1, math.min(#ids, count) do\n"
    "  local h = call('HMGET', job(ids[i]), 'f', 'k', 'st', 'a', 'at', 'r')\n"
    "  rows[#rows + 1] = {ids[i], h[1] or '', h[2] or '', h[3] or '', tonumber(h[4] or 0), h[5] or '0', h[6] or ''}\n"
    "end\n"
    "return {#ids > count and 1 or 0, ids[math.min(#ids, count)] or '', rows}";

/* ARGV: 'retry' or 'drop', and an id, or nothing for what is dead. Gives how many, and whether
 * there may be more. */
static const char change_script[] =
    "local what, n = ARGV[1], 0\n"
    "local ids = ARGV[2] ~= '' and {ARGV[2]} or call('ZRANGE', base .. ':dead', 0, 63)\n"
    "for _, id in ipairs(ids) do\n"
    "  local h = call('HMGET', job(id), 'st', 'f', 's')\n"
    "  if h[1] == 'd' or (what == 'drop' and (h[1] == 'w' or h[1] == 'l')) then\n"
    "    n = n + 1\n"
    "    if what == 'drop' then\n"
    "      if h[1] == 'w' then leave(h[2], h[3]) end\n"
    "      remove(id)\n"
    "    else\n"
    "      call('ZREM', base .. ':dead', id)\n"
    "      call('HSET', job(id), 'a', 0, 'l', 0, 'r', '')\n"
    "      ready(id, h[2])\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return {n, #ids == 64 and 1 or 0}";

/* ---- commands ---- */

static void add_script_part(struct redis_parts *parts, const char *script, const char *prefix)
{
    redis_parts_add(parts, STR("EVAL"));
    buf_add_str(parts->text, str_from(head));
    redis_parts_add(parts, str_from(script));
    redis_parts_add(parts, STR("1"));
    buf_printf(parts->text, "%s:{queue}", prefix);
    redis_parts_end(parts);
}

static void make_add(struct redis_parts *parts, const struct store_request *q)
{
    redis_parts_add(parts, q->id);
    redis_parts_add(parts, q->space);
    redis_parts_add(parts, q->key);
    redis_parts_add(parts, q->value.bytes);
    redis_parts_add_number(parts, (int64_t)q->ttl_ms);
    redis_parts_add_number(parts, q->limit);
    redis_parts_add_number(parts, q->by);
    redis_parts_add(parts, q->owner != NULL ? str_from(q->owner->text) : STR(""));
    redis_parts_add_number(parts, LIMIT_QUEUE_LEASE);
}

static void make_take(struct redis_parts *parts, const struct store_request *q)
{
    struct str list = q->value.bytes;
    struct job_want want;
    redis_parts_add(parts, str_from(q->owner->text));
    redis_parts_add_number(parts, (int64_t)q->ttl_ms);
    redis_parts_add_number(parts, q->limit);
    redis_parts_add_number(parts, q->by);
    while (job_next_want(&list, &want))
        buf_printf(parts->text, "%.*s %u %u\n", STR_ARG(want.function), want.room, want.most);
    redis_parts_end(parts);
    for (unsigned i = 0; i < q->owner->gone_count; i++)
        buf_printf(parts->text, "%s ", q->owner->gone[i]);
    redis_parts_end(parts);
    redis_parts_add(parts, q->owner->unsure > 0 ? q->after : STR("-"));
}

void redis_jobs_make(struct redis_parts *parts, const char *prefix, const struct store_request *q)
{
    const char *script = q->kind == STORE_JOB_ADD    ? add_script
                         : q->kind == STORE_JOB_TAKE ? take_script
                         : q->kind == STORE_JOB_END  ? end_script
                         : q->kind == STORE_JOB_LIST ? list_script
                                                     : change_script;
    add_script_part(parts, script, prefix);
    if (q->kind == STORE_JOB_ADD) {
        make_add(parts, q);
    } else if (q->kind == STORE_JOB_TAKE) {
        make_take(parts, q);
    } else if (q->kind == STORE_JOB_END) {
        redis_parts_add(parts, q->id);
        redis_parts_add(parts, str_from(q->owner->text));
        redis_parts_add_number(parts, q->by);
        redis_parts_add_number(parts, (int64_t)q->ttl_ms);
        redis_parts_add(parts, q->value.bytes);
    } else if (q->kind == STORE_JOB_LIST) {
        redis_parts_add(parts, q->after);
        redis_parts_add_number(parts, q->limit);
    } else {
        redis_parts_add(parts, q->kind == STORE_JOB_RETRY ? STR("retry") : STR("drop"));
        redis_parts_add(parts, q->id);
    }
}

/* ---- replies ---- */

static struct str text_at(const struct redisReply *reply, size_t index)
{
    return (struct str){reply->element[index]->str, reply->element[index]->len};
}

static int read_added(struct store_request *q, const struct redisReply *reply)
{
    if (!redis_reply_has_form(reply, "ii"))
        return STORE_FOREIGN;
    q->changed = reply->element[0]->integer == 1;
    q->number = reply->element[1]->integer;
    return reply->element[0]->integer == 2   ? STORE_QUEUE_FULL
           : reply->element[0]->integer == 3 ? STORE_NO_SLOT
                                             : 0;
}

/* Those of this machine that are gone are told of with the next request. */
static void note_gone(struct job_owner *owner, const struct redisReply *list)
{
    owner->gone_count = 0;
    for (size_t i = 0; i < list->elements && owner->gone_count < JOB_OWNER_GONE; i++) {
        if (list->element[i]->type != REDIS_REPLY_STRING ||
            !job_owner_is_gone(owner, text_at(list, i)))
            continue;
        char *gone = owner->gone[owner->gone_count++];
        memcpy(gone, list->element[i]->str, JOB_OWNER_BYTES);
        gone[JOB_OWNER_BYTES] = '\0';
    }
}

static int read_taken(struct store_request *q, const struct redisReply *reply)
{
    if (!redis_reply_has_form(reply, "iill"))
        return STORE_FOREIGN;
    const struct redisReply *jobs = reply->element[2];
    q->number = reply->element[0]->integer;
    q->dead = reply->element[1]->integer;
    note_gone(q->owner, reply->element[3]);
    q->more = q->owner->gone_count > 0;
    for (size_t i = 0; i < jobs->elements; i++) {
        const struct redisReply *row = jobs->element[i];
        if (!redis_reply_has_form(row, "sssis"))
            return STORE_FOREIGN;
        const struct job job = {.id = text_at(row, 0),
                                .function = text_at(row, 1),
                                .key = text_at(row, 2),
                                .attempt = (unsigned)row->element[3]->integer,
                                .payload = text_at(row, 4),
                                .state = JOB_RUNNING};
        job_add(&q->out, &job);
    }
    return buf_failed(&q->out) ? -ENOMEM : 0;
}

static enum job_state state_of(struct str text)
{
    return str_eq(text, STR("r")) ? JOB_RUNNING : str_eq(text, STR("d")) ? JOB_DEAD : JOB_WAITING;
}

static int read_list(struct store_request *q, const struct redisReply *reply)
{
    if (!redis_reply_has_form(reply, "isl"))
        return STORE_FOREIGN;
    const struct redisReply *rows = reply->element[2];
    q->more = reply->element[0]->integer != 0;
    buf_add_str(&q->position, text_at(reply, 1));
    for (size_t i = 0; i < rows->elements; i++) {
        const struct redisReply *row = rows->element[i];
        struct job job = {.state = JOB_WAITING};
        if (!redis_reply_has_form(row, "ssssiss"))
            return STORE_FOREIGN;
        job.id = text_at(row, 0);
        job.function = text_at(row, 1);
        job.key = text_at(row, 2);
        job.state = state_of(text_at(row, 3));
        job.attempt = (unsigned)row->element[4]->integer;
        if (str_to_u64(text_at(row, 5), UINT64_MAX, &job.due_ms) != 0)
            return STORE_FOREIGN;
        job.reason = text_at(row, 6);
        job_add(&q->out, &job);
    }
    return buf_failed(&q->out) || buf_failed(&q->position) ? -ENOMEM : 0;
}

int redis_jobs_read(struct store_request *q, const struct redisReply *reply)
{
    if (q->kind == STORE_JOB_ADD)
        return read_added(q, reply);
    if (q->kind == STORE_JOB_TAKE)
        return read_taken(q, reply);
    if (q->kind == STORE_JOB_LIST)
        return read_list(q, reply);
    if (q->kind == STORE_JOB_END) {
        q->changed = reply->type == REDIS_REPLY_INTEGER && reply->integer != 0;
        return reply->type == REDIS_REPLY_INTEGER ? 0 : STORE_FOREIGN;
    }
    if (!redis_reply_has_form(reply, "ii"))
        return STORE_FOREIGN;
    q->number = reply->element[0]->integer;
    q->more = reply->element[1]->integer != 0;
    return 0;
}
