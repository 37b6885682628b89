/* The spans and log records of one request, as they come to be.
 *
 * It listens to the request (journal/hook.h), and tells the journal's record, where there is one,
 * of all that it hears. A request's own span is of kind SERVER; below it are its policy, the queue
 * where it waited, and each call of fetch, kv, sql and sleep. What is written is redacted as in the
 * journal. */
#pragma once

#include "http/exchange.h"
#include "otlp/otlp.h"

/* Begins to listen to the exchange. `route`: the pattern of its path (copied); empty: none is
 * known. `judged`: it is asked for a token or the like. May be called again when more is known.
 * Where there is no memory nothing is told. */
void trace_begin(struct otlp *otlp, struct exchange *ex, struct str route, bool judged);
