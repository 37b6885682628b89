/* Why a request is refused: what the client is told. Faults are static. */
#ifndef LUAFN_HTTP_FAULT_H
#define LUAFN_HTTP_FAULT_H

struct http_fault {
    int status;
    const char *code; /* reason code, "bad_request" */
    const char *text; /* a sentence for the one who wrote the client; nothing of the request */
};

#endif
