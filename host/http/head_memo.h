/* The head of the request before, on one connection. Most clients of a kept connection send the
 * same one again and again: what is the same to the last byte has been read, and means the same.
 *
 * A request whose head is that one has slices of what is kept here, which lives as long as it is
 * kept or such a request is. A head that is long, that came in pieces, or whose request says more
 * than its bytes (the path of an absolute target may) is not kept; and of a client whose heads
 * always differ none is any more. */
#pragma once

#include "base/arena.h"
#include "http/head_check.h"
#include "http/request.h"

struct head_memo {
    struct head_kept *kept; /* a reference; NULL: none */
    unsigned strangers;     /* heads in a row that were not the one before */
};

/* All zero is empty. */
void head_memo_free(struct head_memo *memo);

/* Does `input` begin with that head? Then fills the request as the parser would, `arena` holding
 * what it has slices of, and *framing; the length of the head. Else, and where memory is short: 0,
 * and nothing has happened. */
size_t head_memo_recall(struct head_memo *memo, struct str input, struct arena *arena,
                        struct request *req, struct head_framing *framing);

/* Keeps a head of at most so many bytes, `raw` as it came, and what was read in it: `req` has
 * slices of `head`, a copy of the same length. */
void head_memo_keep(struct head_memo *memo, struct str raw, const char *head,
                    const struct request *req, const struct head_framing *framing);
