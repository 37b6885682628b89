/* For what needs a connection of its own to KV_URL's server, such as for channels or a queue:
 * redis_link_new with the server of the store, whose links share its address, certificates,
 * Sentinel and log. It must be closed before the store. Its address has the prefix of all keys. */
#pragma once

#include "store/redis_link.h"
#include "store/store.h"

/* NULL: the store is the embedded one. Borrowed from the store. */
struct redis_server *redis_server_of(struct store *store);
