/* Messages of the Debug Adapter Protocol in a stream of bytes: "Content-Length: N", an empty line,
 * N bytes of JSON.
 *
 * Other fields of a head are passed over, as the protocol wants it, but the first must be that one:
 * a page in a browser can reach a port of loopback, and its requests begin with a method. */
#pragma once

#include "base/buf.h"

struct dap_frames {
    struct buf in;   /* owned */
    size_t taken;    /* bytes at its beginning that were told */
    const char *why; /* after DAP_FRAME_BAD: what is wrong; static */
};

enum dap_frame { DAP_FRAME_MORE, DAP_FRAME_MESSAGE, DAP_FRAME_BAD };

/* Appends what came; at most what a head and a message may have is kept. False: no memory. */
bool dap_frame_add(struct dap_frames *frames, struct str bytes);

/* The next message, which lives in `frames` until the next call of either; DAP_FRAME_MORE: it is
 * not whole yet. After DAP_FRAME_BAD there is no way to go on. */
enum dap_frame dap_frame_next(struct dap_frames *frames, struct str *message);

void dap_frame_free(struct dap_frames *frames);
