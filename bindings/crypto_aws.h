/* AWS Signature Version 4: what S3 and its like want in Authorization. Pure text. */
#pragma once

#include "base/buf.h"
#include "http/headers.h"

struct crypto_aws {
    struct str access_key, secret_key;
    struct str region, service; /* letters, digits and "-" */
    struct str method;
    struct str path, query;       /* as they are sent */
    struct str date;              /* "20261130T032049Z", also to be sent as x-amz-date */
    struct str payload;           /* SHA-256 of the body in hex, or UNSIGNED-PAYLOAD */
    const struct header *headers; /* that are signed: host at least; names in lower case */
    unsigned count;               /* at most CRYPTO_AWS_HEADERS */
};

enum { CRYPTO_AWS_HEADERS = 110 };

/* The value of Authorization, appended to `out`. 0 or -ENOMEM. */
int crypto_aws_authorize(const struct crypto_aws *request, struct buf *out)
    __attribute__((warn_unused_result));

/* SHA-256 in hex, with its NUL. 0 or -ENOMEM. */
int crypto_aws_hash(struct str text, char out[65]) __attribute__((warn_unused_result));
