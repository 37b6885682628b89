/* The host as an OAuth protected resource (RFC 9728): documents that tell where tokens for it come
 * from, and the challenges that lead there.
 *
 * A function is a resource under each of its paths, up to their first parameter: the identifier is
 * that path behind `auth.resource` of functions.lua, or behind the origin that the request named.
 * Functions with the same such path are one resource; where tools are called (`mcp.path`) all of
 * those are. So is a rule of `protect`, by its path. The host is one as a whole, too. */
#pragma once

#include "app/deployment.h"
#include "http/exchange.h"

/* What a token's `aud` may be for this function where `audience` is "resource": the host, and its
 * own paths. In the arena; NULL when out of memory. */
struct str *resource_audiences(const struct config *config, const struct function_spec *spec,
                               struct arena *arena, unsigned *count);

/* The same for what is at a pattern; for the host alone at "". */
struct str *resource_audiences_at(const struct config *config, struct str pattern,
                                  struct arena *arena, unsigned *count);

/* Answers /.well-known/oauth-protected-resource and what lies below it, for any origin, and returns
 * true; false: no resource has this path, or nobody issues tokens for it. */
bool resource_answer(const struct deployment *d, struct exchange *ex, struct str path);

/* Adds `resource_metadata` to the challenges of a function's 401 or 403 that name none. */
void resource_challenge(const struct config *config, const struct function_spec *spec,
                        struct exchange *ex);

/* The same where the resource is what that pattern begins with. */
void resource_challenge_at(const struct config *config, struct str pattern, struct exchange *ex);
