/* SipHash-2-4 with 128 bits of result: a keyed hash for tables whose keys an attacker chooses. */
#pragma once

#include "base/str.h"

struct siphash {
    uint64_t low, high;
};

struct siphash siphash(const uint64_t key[2], struct str s);
