/* The table of routes, for `luafn routes` and /_luafn/routes. */
#pragma once

#include "base/buf.h"
#include "app/deployment.h"

/* A JSON array, one object a route: method, path, function, script, auth, limits, generation, and
 * the last load error. */
void routes_write_json(const struct deployment *deployment, struct buf *out);

/* The same for people: aligned columns. */
void routes_write_text(const struct deployment *deployment, struct buf *out);
