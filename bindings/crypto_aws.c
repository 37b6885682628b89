/* AWS Signature Version 4.
 *
 * libcurl could do it (CURLOPT_AWS_SIGV4), but as of 7.88 it signs fields that it was told not to
 * send, takes path and query as they are and writes the digits of escapes small, so that servers
 * refuse whatever holds a blank or an umlaut. */
#include "bindings/crypto_aws.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST = 32 };

int crypto_aws_hash(struct str text, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(text.ptr, text.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    str_write_hex(digest, DIGEST, out);
    return 0;
}

/* `key` and `out` may be the same. */
static bool hmac(const unsigned char *key, size_t len, struct str text, unsigned char out[DIGEST])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    bool done = HMAC(EVP_sha256(), key, (int)len, (const unsigned char *)text.ptr, text.len, digest,
                     NULL) != NULL;
    memcpy(out, digest, DIGEST);
    return done;
}

/* ---- the request in one form ---- */

static void add_escaped(struct buf *out, char c)
{
    if (str_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~')
        buf_add_char(out, c);
    else
        buf_printf(out, "%%%02X", (unsigned char)c);
}

/* What `s` means, escaped but for unreserved characters, and `kept`. */
static void add_canonical(struct buf *out, struct str s, char kept)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        int high = c == '%' && s.len - i > 2 ? str_hex_value(s.ptr[i + 1]) : -1;
        int low = high >= 0 ? str_hex_value(s.ptr[i + 2]) : -1;
        if (low >= 0) {
            add_escaped(out, (char)(high << 4 | low));
            i += 2;
        } else if (c == kept) {
            buf_add_char(out, c);
        } else {
            add_escaped(out, c);
        }
    }
}

/* But for S3 an escaped path is escaped once more. */
static void add_path(struct buf *out, struct str path, bool is_s3)
{
    struct buf once = BUF_INIT;
    if (is_s3) {
        add_canonical(out, path, '/');
        return;
    }
    add_canonical(&once, path, '/');
    for (size_t i = 0; i < once.len; i++) {
        if (once.data[i] == '/')
            buf_add_char(out, '/');
        else
            add_escaped(out, once.data[i]);
    }
    out->failed = out->failed || buf_failed(&once);
    buf_free(&once);
}

struct field {
    size_t begin, end; /* in the buffer of all */
    const char *text;  /* of that buffer, once it does not move any more */
};

static int compare_fields(const void *a, const void *b)
{
    const struct field *x = a, *y = b;
    size_t x_len = x->end - x->begin, y_len = y->end - y->begin;
    int order = memcmp(x->text + x->begin, y->text + y->begin, x_len < y_len ? x_len : y_len);
    return order != 0 ? order : (x_len > y_len) - (x_len < y_len);
}

static void add_query(struct buf *out, struct str query)
{
    struct buf all = BUF_INIT;
    struct str part;
    size_t most = 1, count = 0;
    for (size_t i = 0; i < query.len; i++)
        most += query.ptr[i] == '&';
    struct field *fields = calloc(most, sizeof(*fields));
    while (fields != NULL && str_split_next(&query, '&', &part)) {
        size_t end = str_find(part, '=');
        size_t begin = all.len;
        if (part.len == 0)
            continue;
        add_canonical(&all, (struct str){part.ptr, end}, '-');
        buf_add_char(&all, '=');
        if (end < part.len)
            add_canonical(&all, str_skip(part, end + 1), '-');
        fields[count++] = (struct field){.begin = begin, .end = all.len};
    }
    if (fields == NULL || buf_failed(&all))
        out->failed = true;
    for (size_t i = 0; i < count; i++)
        fields[i].text = all.data;
    if (count > 1 && !out->failed)
        qsort(fields, count, sizeof(*fields), compare_fields);
    for (size_t i = 0; i < count && !out->failed; i++) {
        buf_add_str(out, i > 0 ? STR("&") : STR(""));
        buf_add(out, all.data + fields[i].begin, fields[i].end - fields[i].begin);
    }
    free(fields);
    buf_free(&all);
}

static int compare_headers(const void *a, const void *b)
{
    const struct header *x = a, *y = b;
    size_t shorter = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.ptr, y->name.ptr, shorter);
    return order != 0 ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

/* Blanks in a row count as one. */
static void add_value(struct buf *out, struct str value)
{
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] != ' ' || value.ptr[i - 1] != ' ')
            buf_add_char(out, value.ptr[i]);
}

static void add_names(struct buf *out, const struct header *headers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(out, i > 0 ? STR(";") : STR(""));
        buf_add_str(out, headers[i].name);
    }
}

static void add_request(struct buf *out, const struct crypto_aws *r, const struct header *sorted)
{
    buf_printf(out, "%.*s\n", STR_ARG(r->method));
    add_path(out, r->path, str_eq(r->service, STR("s3")));
    buf_add_char(out, '\n');
    add_query(out, r->query);
    buf_add_char(out, '\n');
    for (unsigned i = 0; i < r->count; i++) {
        buf_printf(out, "%.*s:", STR_ARG(sorted[i].name));
        add_value(out, sorted[i].value);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
    add_names(out, sorted, r->count);
    buf_printf(out, "\n%.*s", STR_ARG(r->payload));
}

/* ---- the signature ---- */

/* Of the text, by the key of that day, region and service. */
static bool sign(const struct crypto_aws *r, struct str day, struct str text, char out[65])
{
    unsigned char key[DIGEST];
    struct buf first = BUF_INIT;
    buf_add_str(&first, STR("AWS4"));
    buf_add_str(&first, r->secret_key);
    bool done = !buf_failed(&first) &&
                hmac((const unsigned char *)first.data, first.len, day, key) &&
                hmac(key, DIGEST, r->region, key) && hmac(key, DIGEST, r->service, key) &&
                hmac(key, DIGEST, STR("aws4_request"), key) && hmac(key, DIGEST, text, key);
    str_write_hex(key, DIGEST, out);
    buf_free(&first);
    return done;
}

int crypto_aws_authorize(const struct crypto_aws *r, struct buf *out)
{
    struct header sorted[CRYPTO_AWS_HEADERS];
    struct buf request = BUF_INIT, text = BUF_INIT;
    struct str day = {r->date.ptr, 8};
    char digest[65], signature[65];
    memcpy(sorted, r->headers, r->count * sizeof(*sorted));
    qsort(sorted, r->count, sizeof(*sorted), compare_headers);
    add_request(&request, r, sorted);
    bool done = !buf_failed(&request) && crypto_aws_hash(buf_str(&request), digest) == 0;
    if (done)
        buf_printf(&text, "AWS4-HMAC-SHA256\n%.*s\n%.*s/%.*s/%.*s/aws4_request\n%s",
                   STR_ARG(r->date), STR_ARG(day), STR_ARG(r->region), STR_ARG(r->service), digest);
    done = done && !buf_failed(&text) && sign(r, day, buf_str(&text), signature);
    if (done) {
        buf_printf(out,
                   "AWS4-HMAC-SHA256 Credential=%.*s/%.*s/%.*s/%.*s/aws4_request, SignedHeaders=",
                   STR_ARG(r->access_key), STR_ARG(day), STR_ARG(r->region), STR_ARG(r->service));
        add_names(out, sorted, r->count);
        buf_printf(out, ", Signature=%s", signature);
    }
    buf_free(&request);
    buf_free(&text);
    return done && !buf_failed(out) ? 0 : -ENOMEM;
}
