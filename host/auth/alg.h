/* Signature algorithms (RFC 7518, RFC 8037): names are compared exactly, case included. */
#pragma once

#include "base/str.h"

enum alg {
    ALG_NONE_KNOWN = 0, /* anything that is not in this list, "none" among it */
    ALG_HS256,
    ALG_HS384,
    ALG_HS512,
    ALG_RS256,
    ALG_RS384,
    ALG_RS512,
    ALG_PS256,
    ALG_PS384,
    ALG_PS512,
    ALG_ES256,
    ALG_ES384,
    ALG_ES512,
    ALG_EDDSA, /* Ed25519 or Ed448, by the key */
    ALG_COUNT
};

#define ALG_BIT(alg) (1u << (alg))
#define ALG_DEFAULT  ALG_BIT(ALG_RS256)
#define ALG_HMAC     (ALG_BIT(ALG_HS256) | ALG_BIT(ALG_HS384) | ALG_BIT(ALG_HS512))

/* Those by which one key never signs one text twice in the same way. */
#define ALG_BY_CHANCE                                                                              \
    (ALG_BIT(ALG_PS256) | ALG_BIT(ALG_PS384) | ALG_BIT(ALG_PS512) | ALG_BIT(ALG_ES256) |           \
     ALG_BIT(ALG_ES384) | ALG_BIT(ALG_ES512))

/* ALG_NONE_KNOWN for an unknown name. */
enum alg alg_parse(struct str name);
const char *alg_name(enum alg alg);
/* Bytes of its SHA-2 hash: 32, 48 or 64; 0 for EdDSA and unknown ones. */
size_t alg_hash_size(enum alg alg);
