/* Why a request is refused: what the client is told. Faults are static. */
#pragma once

struct http_fault {
    int status;
    const char *code; /* reason code, "bad_request" */
    const char *text; /* a sentence for the one who wrote the client; nothing of the request */
};
