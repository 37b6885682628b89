/* The URL of a call as a span shows it: without name and password, and without the signatures that
 * stand in queries. */
#pragma once

#include "otlp/otlp_write.h"

/* Writes url.full, server.address and server.port as attributes of a span. */
void trace_url_write(struct otlp_writer *w, struct str url);
