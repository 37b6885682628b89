/* The keys that scripts sign and verify with: parsing a PEM costs more than a signature, so the
 * last few are kept. */
#pragma once

#include <stdbool.h>

#include "auth/key.h"
#include "base/err.h"
#include "base/str.h"

/* The key of a PEM text, or of a shared secret. Borrowed: until the next call. NULL with the
 * reason. */
struct key *kept_key_get(struct str text, bool is_secret, struct err *err);
