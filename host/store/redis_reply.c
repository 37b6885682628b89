#include "store/redis_reply.h"

#include <hiredis/hiredis.h>
#include <string.h>

static bool is_of(const struct redisReply *element, char form)
{
    switch (form) {
    case 'i':
        return element->type == REDIS_REPLY_INTEGER;
    case 'n':
        return element->type == REDIS_REPLY_INTEGER && element->integer >= 0;
    case 's':
        return element->type == REDIS_REPLY_STRING;
    default:
        return element->type == REDIS_REPLY_ARRAY;
    }
}

bool redis_reply_has_form(const struct redisReply *reply, const char *form)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != strlen(form))
        return false;
    for (size_t i = 0; i < reply->elements; i++) {
        if (!is_of(reply->element[i], form[i]))
            return false;
    }
    return true;
}
