/* The routes of a deployment, for `luafn routes` and the admin pages. All append. */
#pragma once

#include "base/buf.h"
#include "app/deployment.h"

/* A JSON array, one object a route: method, path, function, script, auth, limits, generation, and
 * the last load error. */
void routes_write_json(const struct deployment *deployment, struct buf *out);

/* The same for people: aligned columns. */
void routes_write_text(const struct deployment *deployment, struct buf *out);

/* An OpenAPI 3.1 document: paths, and who may call them, straight from the policies. What functions
 * check for themselves, in Lua, cannot be seen here. */
void routes_write_openapi(const struct deployment *deployment, struct buf *out);
