/* What has several steps is a script of the server, and nothing comes between these. */
#include "store/redis_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "store/redis_due.h"
#include "store/redis_jobs.h"
#include "store/redis_keys.h"

/* ---- scripts: KEYS[1] the namespace, ARGV[1] the key, the last one its time to live or 0 ---- */

#define HEAD                                                                                       \
    "local space, key, ttl = KEYS[1], ARGV[1], ARGV[#ARGV]\n"                                      \
    "local at = space .. ':' .. key\n"                                                             \
    "local function keep()\n"                                                                      \
    "  redis.call('ZADD', space, 0, key)\n"                                                        \
    "  if ttl == '0' then return end\n"                                                            \
    "  redis.call('PEXPIRE', at, ttl)\n"                                                           \
    "  local t, expiring = redis.call('TIME'), space .. '!'\n"                                     \
    "  local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"                                        \
    "  local old = redis.call('ZRANGEBYSCORE', expiring, '-inf', now, 'LIMIT', 0, 10)\n"           \
    "  for _, k in ipairs(old) do\n"                                                               \
    "    redis.call('ZREM', expiring, k)\n"                                                        \
    "    if redis.call('EXISTS', space .. ':' .. k) == 0 then redis.call('ZREM', space, k) end\n"  \
    "  end\n"                                                                                      \
    "  redis.call('ZADD', expiring, now + ttl + 1000, key)\n"                                      \
    "end\n"

static const char set_script[] = HEAD "redis.call('SET', at, ARGV[2]) keep() return 1";

static const char delete_script[] = HEAD "redis.call('ZREM', space, key)\n"
                                         "redis.call('ZREM', space .. '!', key)\n"
                                         "return redis.call('DEL', at)";

static const char cas_script[] =
    HEAD "if (redis.call('GET', at) or '') ~= ARGV[2] then return 0 end\n"
         "if ARGV[3] == '' then redis.call('DEL', at) redis.call('ZREM', space, key)\n"
         "else redis.call('SET', at, ARGV[3]) keep() end\n"
         "return 1";

/* The number is read again as text: in the server's Lua it would be a double. */
static const char incr_script[] =
    HEAD "local made = redis.call('EXISTS', at) == 0\n"
         "local result = redis.pcall('INCRBY', at, ARGV[2])\n"
         "if type(result) == 'table' and result.err then return result end\n"
         "if made then keep() end\n"
         "return redis.call('GET', at)";

/* ARGV: the bounds of the keys, and how many. Gives whether there are more, the last one, and those
 * that have not expired. */
static const char list_script[] =
    "local space, count, live = KEYS[1], tonumber(ARGV[3]), {}\n"
    "local keys = redis.call('ZRANGEBYLEX', space, ARGV[1], ARGV[2], 'LIMIT', 0, count + 1)\n"
    "for i = 1, math.min(#keys, count) do\n"
    "  if redis.call('EXISTS', space .. ':' .. keys[i]) == 1 then live[#live + 1] = keys[i]\n"
    "  else redis.call('ZREM', space, keys[i]) end\n"
    "end\n"
    "return {#keys > count and 1 or 0, keys[math.min(#keys, count)] or '', live}";

/* KEYS[1] the caller; ARGV: the limit, the window. Gives whether it may pass, how many may follow,
 * and how long the window lasts. */
static const char count_script[] =
    "local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])\n"
    "local count = tonumber(redis.call('GET', KEYS[1]) or '0')\n"
    "local left = redis.call('PTTL', KEYS[1])\n"
    "if left < 0 then redis.call('SET', KEYS[1], 0, 'PX', window) count, left = 0, window end\n"
    "if count >= limit then return {0, 0, left} end\n"
    "redis.call('INCR', KEYS[1])\n"
    "return {1, limit - count - 1, left}";

/* KEYS[1] the revocations; ARGV: one, for how long it is kept, how many there may be. */
static const char revoke_script[] =
    "local t = redis.call('TIME')\n"
    "local gone = string.format('%.0f', t[1] * 1000 - ARGV[2])\n"
    "for _, old in ipairs(redis.call('XRANGE', KEYS[1], '-', gone, 'COUNT', 100)) do\n"
    "  redis.call('XDEL', KEYS[1], old[1])\n"
    "end\n"
    "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[3]) then\n"
    "  return redis.error_reply('OOM there are too many revocations')\n"
    "end\n"
    "redis.call('XADD', KEYS[1], '*', 'r', ARGV[1])\n"
    "return 1";

/* ---- commands ---- */

/* PREFIX:kv:{SPACE}. A brace or a percent sign in the name would make it ambiguous. */
static void add_space(struct buf *out, const char *prefix, struct str space)
{
    buf_add_str(out, str_from(prefix));
    buf_add_str(out, STR(":kv:{"));
    for (size_t i = 0; i < space.len; i++) {
        char c = space.ptr[i];
        if (c == '%' || c == '{' || c == '}' || c == '\0')
            buf_printf(out, "%%%02x", (unsigned char)c);
        else
            buf_add_char(out, c);
    }
    buf_add_char(out, '}');
}

bool redis_is_integer(struct str text)
{
    int64_t value = 0;
    char copy[24], again[24];
    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    value = strtoll(copy, NULL, 10);
    snprintf(again, sizeof(again), "%" PRId64, value);
    return strcmp(copy, again) == 0;
}

static void add_value(struct buf *out, struct store_value value)
{
    if (value.type == STORE_ABSENT)
        return;
    if (value.type == STORE_TEXT || !redis_is_integer(value.bytes))
        buf_add_char(out, value.type == STORE_TEXT ? 't' : 'j');
    buf_add_str(out, value.bytes);
}

static void add_script(struct redis_parts *c, const char *script)
{
    redis_parts_add(c, STR("EVAL"));
    redis_parts_add(c, str_from(script));
    redis_parts_add(c, STR("1"));
}

static void make_get(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    redis_parts_add(c, STR("GET"));
    add_space(c->text, prefix, q->space);
    buf_add_char(c->text, ':');
    redis_parts_add(c, q->key);
}

/* From the prefix or behind `after`, whichever is later; keys are UTF-8, which has no byte 0xff. */
static void make_list(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    bool behind = q->after.len > 0 && !str_is_before(q->after, q->key);
    add_script(c, list_script);
    add_space(c->text, prefix, q->space);
    redis_parts_end(c);
    buf_add_char(c->text, behind ? '(' : '[');
    redis_parts_add(c, behind ? q->after : q->key);
    buf_add_char(c->text, '(');
    buf_add_str(c->text, q->key);
    buf_add_char(c->text, (char)0xff);
    redis_parts_end(c);
    redis_parts_add_number(c, q->limit);
}

static void make_count(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    add_script(c, count_script);
    buf_add_str(c->text, str_from(prefix));
    buf_add_str(c->text, STR(":rate:"));
    redis_parts_add(c, q->key);
    redis_parts_add_number(c, q->limit);
    redis_parts_add_number(c, (int64_t)q->ttl_ms);
}

/* ARGV: what it is to be. */
static const char secret_script[] =
    "redis.call('SET', KEYS[1], ARGV[1], 'NX') return redis.call('GET', KEYS[1])";

static void make_once(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    redis_parts_add(c, STR("SET"));
    buf_add_str(c->text, str_from(prefix));
    buf_add_str(c->text, STR(":once:"));
    redis_parts_add(c, q->key);
    redis_parts_add(c, STR("1"));
    redis_parts_add(c, STR("NX"));
    redis_parts_add(c, STR("PX"));
    redis_parts_add_number(c, (int64_t)q->ttl_ms);
}

static void make_secret(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    add_script(c, secret_script);
    buf_printf(c->text, "%s:secret:", prefix);
    redis_parts_add(c, q->key);
    redis_parts_add(c, q->value.bytes);
}

static void make_revoke(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    add_script(c, revoke_script);
    buf_printf(c->text, "%s:revoked", prefix);
    redis_parts_end(c);
    redis_parts_add(c, q->value.bytes);
    redis_parts_add_number(c, (int64_t)q->ttl_ms);
    redis_parts_add_number(c, LIMIT_REVOCATIONS);
}

static void make_revoked(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    redis_parts_add(c, STR("XREAD"));
    redis_parts_add(c, STR("COUNT"));
    redis_parts_add_number(c, q->limit);
    if (q->ttl_ms > 0) {
        redis_parts_add(c, STR("BLOCK"));
        redis_parts_add_number(c, (int64_t)q->ttl_ms);
    }
    redis_parts_add(c, STR("STREAMS"));
    buf_printf(c->text, "%s:revoked", prefix);
    redis_parts_end(c);
    redis_parts_add(c, q->after.len > 0 ? q->after : STR("0"));
}

static void make_publish(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    redis_parts_add(c, STR("PUBLISH"));
    buf_printf(c->text, "%s:channel:", prefix);
    redis_parts_add(c, q->key);
    redis_parts_add(c, q->value.bytes);
}

static void make_write(struct redis_parts *c, const char *prefix, const struct store_request *q)
{
    const char *scripts[] = {[STORE_SET] = set_script,
                             [STORE_DELETE] = delete_script,
                             [STORE_INCR] = incr_script,
                             [STORE_CAS] = cas_script};
    add_script(c, scripts[q->kind]);
    add_space(c->text, prefix, q->space);
    redis_parts_end(c);
    redis_parts_add(c, q->key);
    if (q->kind == STORE_INCR)
        redis_parts_add_number(c, q->by);
    if (q->kind == STORE_CAS) {
        add_value(c->text, q->expected);
        redis_parts_end(c);
    }
    if (q->kind == STORE_CAS || q->kind == STORE_SET) {
        add_value(c->text, q->value);
        redis_parts_end(c);
    }
    redis_parts_add_number(c, (int64_t)q->ttl_ms);
}

int redis_command_make(struct buf *text, const char *prefix, const struct store_request *q,
                       struct redis_command *out)
{
    struct redis_parts c = {.text = text, .count = 0};
    redis_command_clear(text);
    if (q->kind == STORE_GET)
        make_get(&c, prefix, q);
    else if (q->kind == STORE_LIST)
        make_list(&c, prefix, q);
    else if (q->kind == STORE_COUNT)
        make_count(&c, prefix, q);
    else if (q->kind == STORE_ONCE)
        make_once(&c, prefix, q);
    else if (q->kind == STORE_SECRET)
        make_secret(&c, prefix, q);
    else if (q->kind == STORE_REVOKE)
        make_revoke(&c, prefix, q);
    else if (q->kind == STORE_REVOKED)
        make_revoked(&c, prefix, q);
    else if (q->kind == STORE_PUBLISH)
        make_publish(&c, prefix, q);
    else if (q->kind == STORE_DUE || q->kind == STORE_DUE_END)
        redis_due_make(&c, prefix, q);
    else if (q->kind == STORE_KEYS || q->kind == STORE_KEYS_PUT)
        redis_keys_make(&c, prefix, q);
    else if (q->kind >= STORE_JOB_ADD)
        redis_jobs_make(&c, prefix, q);
    else
        make_write(&c, prefix, q);
    if (buf_failed(text)) {
        text->failed = false;
        return -ENOMEM;
    }
    out->count = c.count;
    for (unsigned i = 0; i < c.count; i++) {
        size_t from = i > 0 ? c.ends[i - 1] : 0;
        out->parts[i] = (struct str){text->data + from, c.ends[i] - from};
    }
    return 0;
}

void redis_command_clear(struct buf *text)
{
    enum { KEPT = 256 * 1024 };
    buf_clear(text);
    if (text->cap > KEPT)
        buf_free(text);
}

enum { LENGTH_BYTES = 24 }; /* of a sign, digits and CRLF */

/* The sign, the number, CRLF. Returns behind them. */
static char *put_length(char *at, char sign, size_t value)
{
    char digits[LENGTH_BYTES];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    *at++ = sign;
    while (count > 0)
        *at++ = digits[--count];
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

/* Each command of each request goes through here: one reservation, no formats. */
void redis_command_write(struct buf *out, const struct str *parts, unsigned count)
{
    size_t most = LENGTH_BYTES;
    for (unsigned i = 0; i < count; i++)
        most += LENGTH_BYTES + parts[i].len;
    if (buf_reserve(out, most) != 0)
        return;
    char *at = put_length(out->data + out->len, '*', count);
    for (unsigned i = 0; i < count; i++) {
        at = put_length(at, '$', parts[i].len);
        if (parts[i].len > 0)
            memcpy(at, parts[i].ptr, parts[i].len);
        at += parts[i].len;
        *at++ = '\r';
        *at++ = '\n';
    }
    out->len = (size_t)(at - out->data);
}

void redis_command_login(struct buf *out, const struct redis_address *a)
{
    const struct str login[] = {STR("AUTH"), str_from(a->user), str_from(a->password)};
    const struct str password[] = {STR("AUTH"), str_from(a->password)};
    if (a->user[0] != '\0')
        redis_command_write(out, login, 3);
    else
        redis_command_write(out, password, 2);
}

unsigned redis_command_greet(struct buf *out, const struct redis_address *a)
{
    const struct str database[] = {STR("SELECT"), str_from(a->database)};
    const struct str role[] = {STR("ROLE")}, ping[] = {STR("PING")};
    bool has_login = a->password[0] != '\0', has_database = a->database[0] != '\0';
    bool has_role = a->primary[0] != '\0';
    if (has_login)
        redis_command_login(out, a);
    if (has_database)
        redis_command_write(out, database, 2);
    if (has_role)
        redis_command_write(out, role, 1);
    redis_command_write(out, ping, 1);
    return 1U + has_login + has_database + has_role;
}
