/* Why a request is refused: what the client is told. Faults are static. */
#pragma once

struct http_fault {
    int status;
    const char *code; /* reason code, "bad_request" */
    const char *text; /* a sentence for the one who wrote the client; nothing of the request */
};

/* Those that are found in several places. */
extern const struct http_fault fault_no_memory; /* 500 */
extern const struct http_fault fault_late;      /* 408: a head or a body that comes too slowly */
