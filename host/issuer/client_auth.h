/* How a client names itself to an endpoint of its provider. Pure text. */
#pragma once

#include "base/buf.h"

/* A value of application/x-www-form-urlencoded. */
void client_auth_add_form(struct buf *buf, struct str text);

/* HTTP's Basic with both parts form-encoded first (RFC 6749 section 2.3.1): the value of
 * Authorization. */
void client_auth_add_basic(struct buf *buf, struct str id, struct str secret);
