/* What the host counts, as metrics of OTLP: made from the text that it gives Prometheus, so that
 * both say the same under the same names. Counters are cumulative. */
#pragma once

#include "otlp/otlp_write.h"

/* Appends each metric of `text` as an element; times in nanoseconds since 1970. Returns how many.
 */
unsigned otlp_metrics_write(struct otlp_writer *w, struct str text, uint64_t since, uint64_t now);
