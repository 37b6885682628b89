/* The due times of schedules on a server. PREFIX:{queue}:due:NAME is a hash: last, the newest due
 * time that was taken; run, which worker runs one, of which due time, and when it began. That
 * worker is one of :owners (redis_jobs.h), and is believed to live as long as that says; so a run
 * of a machine that is gone holds nobody up for longer than its jobs do. The server's clock is the
 * one that counts. */
#pragma once

#include "store/redis_parts.h"
#include "store/store.h"

struct redisReply;

/* The command of a STORE_DUE or STORE_DUE_END, as redis_command_make. */
void redis_due_make(struct redis_parts *parts, const char *prefix, const struct store_request *q);

/* Its reply: fills the request's result. A status. */
int redis_due_read(struct store_request *q, const struct redisReply *reply);
