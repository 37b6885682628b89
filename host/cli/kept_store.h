/* The store of a configuration's hosts, for commands that are no host themselves. */
#pragma once

#include <uv.h>

#include "base/err.h"
#include "config/config.h"
#include "shared/revocations.h"
#include "store/store.h"

/* KV_URL's, or the file under .luafn, which is made where `make` is set. NULL: there is none, or
 * why not in `err`, whose text is empty in the first case. The configuration is borrowed. */
struct store *kept_store_open(const char *config_file, const struct config *config, bool make,
                              uv_loop_t *loop, struct err *err);

/* Submits, and runs the loop until it is done. The request's status. */
int kept_store_run(struct store *store, uv_loop_t *loop, struct store_request *request);

/* Closes it, and runs the loop until it is empty. NULL is fine. */
void kept_store_close(struct store *store, uv_loop_t *loop);

/* All hosts of the configuration know it; the store is made where there is none. 0, or a negative
 * errno with the reason. */
int kept_store_revoke(const char *config_file, const struct config *config,
                      const struct revocation *revocation, struct err *err)
    __attribute__((warn_unused_result));

/* What was revoked comes to be known in this process. `text` says so, or why it cannot be; it must
 * have 128 bytes. */
void kept_store_read_revoked(const char *config_file, const struct config *config, char *text,
                             size_t size);
