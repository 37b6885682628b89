/* The queue on a server. Below PREFIX:{queue} are:
 *
 *   :s:FUNCTION       a stream of ids of jobs that may run or do, with the group "luafn", whose
 *                     consumers are workers (job_owner.h)
 *   :job:ID           a hash: v(ersion), f(unction), k(ey), p(ayload), a(ttempts), l(ost workers),
 *                     r(eason), st(ate: l later, w waits, r runs, d dead), o(wner), s(tream's id),
 *                     at (since when)
 *   :later            sorted set of ids, by when they may run
 *   :dead             sorted set of ids, by when they became dead letters
 *   :ids              all ids
 *   :bytes            of all payloads
 *   :key:FUNCTION KEY of a key that is taken
 *   :fn               functions that ever had a job
 *   :owners           workers, by when they are not believed any more to live
 *   :on:MACHINE       those of a machine, who know of each other
 *   :seen             when one has asked last: if that is long ago, it was the server that was
 *                     away, and all of them are believed anew
 *
 * Each script that must be carried out where the server's memory is full begins its writing with
 * what needs none: then the server lets the rest of it pass.
 *
 * The server's clock is the one that counts. */
#pragma once

#include "store/redis_parts.h"
#include "store/store.h"

struct redisReply;

/* The command of a STORE_JOB_*, as redis_command_make. */
void redis_jobs_make(struct redis_parts *parts, const char *prefix, const struct store_request *q);

/* Its reply: fills the request's result. A status. */
int redis_jobs_read(struct store_request *q, const struct redisReply *reply);
