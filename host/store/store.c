/* What does not depend on where the store is. */
#include "store/store.h"

#include <errno.h>

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
    case -ENOSPC:
        return "no space is left on the disk";
    case -ENOMEM:
        return "out of memory";
    case -ECANCELED:
        return "the host is stopping";
    default:
        return "the store's file cannot be read or written";
    }
}
