/* What a reply of the server has to be before it is read. */
#pragma once

#include <stdbool.h>

struct redisReply;

/* Is it a list whose elements are i(ntegers), n(umbers: integers that are not negative), s(trings)
 * and l(ists), so many and in this order? */
bool redis_reply_has_form(const struct redisReply *reply, const char *form);
