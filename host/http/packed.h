/* Files that were compressed once: kept by the identity of the file, so that the next who asks for
 * it waits for nothing. What was not used for the longest time goes first; one that is being sent
 * lives on. One thread alone. */
#pragma once

#include "base/buf.h"
#include "http/encoding.h"
#include "http/file.h"

struct packed;

/* A reference, or NULL. */
struct packed *packed_find(const struct file_id *id, enum encoding encoding);

/* A new one, with these bytes, kept if `keep`; no bytes: compressing that file does not make it
 * shorter. A reference, or NULL when out of memory. */
struct packed *packed_new(const struct file_id *id, enum encoding encoding, struct str bytes,
                          bool keep);

/* Good for as long as the reference; empty: see above. */
struct str packed_bytes(const struct packed *packed);

void packed_hold(struct packed *packed);
/* A void pointer, so that an arena can defer it. */
void packed_release(void *packed);

/* Keeps none any more; for the end of the program. */
void packed_forget(void);
