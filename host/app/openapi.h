/* The deployment as an OpenAPI 3.1 document: its paths, and who may call them, straight from the
 * policies. */
#pragma once

#include "base/buf.h"
#include "app/deployment.h"

/* Appends the document. What functions check for themselves, in Lua, cannot be seen here. */
void openapi_write(const struct deployment *deployment, struct buf *out);
