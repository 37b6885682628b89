/* What webhook.c and webhook_twilio.c share: what was signed, and how bytes are written. */
#pragma once

#include <openssl/sha.h>

#include "auth/webhook.h"
#include "base/limits.h"

/* What was signed, in pieces, so that no body is copied. */
struct webhook_message {
    struct str pieces[LIMIT_WEBHOOK_PIECES];
    unsigned count;
};

static inline void webhook_add_piece(struct webhook_message *message, struct str piece)
{
    if (message->count < LIMIT_WEBHOOK_PIECES)
        message->pieces[message->count++] = piece;
}

enum { WEBHOOK_HASH_HEX = 2 * SHA256_DIGEST_LENGTH + 1 };

static inline void webhook_write_hash(struct str bytes, char out[WEBHOOK_HASH_HEX])
{
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)(bytes.ptr != NULL ? bytes.ptr : ""), bytes.len, hash);
    str_write_hex(hash, sizeof(hash), out);
}

/* Twilio's: the fields of the body's form, which follow the URL, in the arena; empty where the URL
 * has the body's hash. False: it is a body that no such signature covers, or *rc is -ENOMEM. */
bool webhook_twilio_fields(const struct request *req, struct arena *arena, struct str *out,
                           int *rc);
/* The URL and those fields. Whether Twilio has named the port is not certain: with the one that
 * there is, and (`other`) without, or with the one that the scheme implies. */
void webhook_twilio_fill(const struct request *req, struct str fields, bool other,
                         struct webhook_message *out);
