/* What does not depend on where the store is. */
#include "store/store.h"

#include <errno.h>

void store_add_key(struct buf *out, struct str key)
{
    uint16_t len = (uint16_t)key.len;
    buf_add(out, &len, sizeof(len));
    buf_add_str(out, key);
}

bool store_next_key(struct str *rest, struct str *key)
{
    uint16_t len;
    if (rest->len < sizeof(len))
        return false;
    memcpy(&len, rest->ptr, sizeof(len));
    *key = (struct str){rest->ptr + sizeof(len), len};
    *rest = str_skip(*rest, sizeof(len) + len);
    return true;
}

const char *store_error_text(int status)
{
    switch (status) {
    case STORE_TOO_LARGE:
        return "the value is larger than 1 MB";
    case STORE_FULL:
        return "the store is full";
    case STORE_NO_NUMBER:
        return "the value is not an integer";
    case STORE_OVERFLOW:
        return "the number would not fit into 64 bits";
    case STORE_DAMAGED:
        return "the store's file is damaged";
    case STORE_UNREACHABLE:
        return "the store's server cannot be reached";
    case STORE_LOST:
        return "the connection to the store's server was lost: it may have been done";
    case STORE_REFUSED:
        return "the store's server refuses this";
    case STORE_FOREIGN:
        return "the value there is of another program";
    case STORE_JOB_TOO_LARGE:
        return "the job is larger than 8 MB";
    case STORE_NO_SLOT:
    case STORE_QUEUE_FULL:
        return "the queue is full";
    case -ENOSPC:
    case -EDQUOT:
        return "no space is left on the disk";
    case -ENOMEM:
        return "out of memory";
    case -ECANCELED:
        return "the host is stopping";
    default:
        return "the store's file cannot be read or written";
    }
}
