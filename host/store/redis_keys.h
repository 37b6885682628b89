/* Key sets of issuers on a server. PREFIX:keys:ISSUER is a hash: t, the text of the newest set; s,
 * its stamp, ms of the server's clock; l, who has the right to fetch the next one, and u, until
 * when. */
#pragma once

#include "store/redis_parts.h"
#include "store/store.h"

struct redisReply;

/* The command of a STORE_KEYS or STORE_KEYS_PUT, as redis_command_make. */
void redis_keys_make(struct redis_parts *parts, const char *prefix, const struct store_request *q);

/* Its reply: fills the request's result. A status. */
int redis_keys_read(struct store_request *q, const struct redisReply *reply);
