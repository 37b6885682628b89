/* What Twilio signs: the URL, and the fields of a form; see webhook.h. */
#include <errno.h>
#include <stdlib.h>

#include "auth/webhook_internal.h"
#include "base/buf.h"
#include "http/target.h"

static int compare_pairs(const void *a, const void *b)
{
    const struct query_pair *one = a, *other = b;
    if (!str_eq(one->name, other->name))
        return str_is_before(one->name, other->name) ? -1 : 1;
    return str_eq(one->value, other->value) ? 0 : str_is_before(one->value, other->value) ? -1 : 1;
}

/* Names and values, sorted, each pair once. False: too many, or out of memory (*rc). */
static bool join_fields(struct str body, struct arena *arena, struct str *out, int *rc)
{
    struct query_pair *pairs = NULL;
    *out = STR("");
    if (str_count(body, '&') >= LIMIT_FORM_FIELDS)
        return false;
    int count = body.len > 0 ? target_parse_query(arena, body, &pairs) : 0;
    *rc = count < 0 ? -ENOMEM : 0;
    if (count <= 0)
        return count == 0;
    qsort(pairs, (size_t)count, sizeof(*pairs), compare_pairs);
    struct buf text = BUF_INIT;
    for (int i = 0; i < count; i++) {
        if (i > 0 && compare_pairs(&pairs[i - 1], &pairs[i]) == 0)
            continue;
        buf_add_str(&text, pairs[i].name);
        buf_add_str(&text, pairs[i].value);
    }
    if (text.len > 0)
        *out = arena_copy(arena, buf_str(&text));
    if (buf_failed(&text) || out->ptr == NULL)
        *rc = -ENOMEM;
    buf_free(&text);
    return *rc == 0;
}

static bool is_form(const struct request *req)
{
    const struct str *type = headers_get(&req->headers, STR("content-type"));
    return type != NULL && str_eq_nocase(str_trim((struct str){type->ptr, str_find(*type, ';')}),
                                         STR("application/x-www-form-urlencoded"));
}

/* The hash of a body that is no form stands in the query, which is signed. */
static bool find_body_hash(struct str query, struct str *out)
{
    struct str pair;
    while (str_split_next(&query, '&', &pair)) {
        if (str_starts_with(pair, STR("bodySHA256="))) {
            *out = str_skip(pair, sizeof("bodySHA256=") - 1);
            return true;
        }
    }
    return false;
}

static bool has_hash(struct str body, struct str hex)
{
    char text[WEBHOOK_HASH_HEX];
    webhook_write_hash(body, text);
    return str_eq(hex, str_from(text));
}

bool webhook_twilio_fields(const struct request *req, struct arena *arena, struct str *out, int *rc)
{
    struct str hash;
    *out = STR("");
    *rc = 0;
    if (find_body_hash(req->query, &hash))
        return has_hash(req->body, hash);
    return is_form(req) ? join_fields(req->body, arena, out, rc) : req->body.len == 0;
}

void webhook_twilio_fill(const struct request *req, struct str fields, bool other,
                         struct webhook_message *out)
{
    struct str name = target_authority_host(req->host), port = str_skip(req->host, name.len);
    if (other)
        port = port.len > 0                               ? STR("")
               : str_eq_nocase(req->scheme, STR("https")) ? STR(":443")
                                                          : STR(":80");
    out->count = 0;
    const struct str pieces[] = {req->scheme, STR("://"), name, port, req->target, fields};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        webhook_add_piece(out, pieces[i]);
}
