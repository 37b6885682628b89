/* What a function says of its requests' body and query (`input`, `query`), judged before it runs.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "http/exchange.h"
#include "options/spec.h"

/* Does the function say anything of them? */
static inline bool input_is_judged(const struct function_spec *spec)
{
    return spec->input != NULL || spec->query != NULL;
}

/* Is the request, whose body has come, as the function wants it? Its query as it wants it is in
 * *query then, in the exchange's arena (NULL: the function says nothing of it). If not, the answer
 * is in ex->res: 422 `invalid_input` with the errors, 415 or 400 `invalid_json` for a body that is
 * no JSON. A request without a body is judged where its method has one (POST, PUT, PATCH). */
bool input_judge(const struct function_spec *spec, struct exchange *ex, const json_t **query);
