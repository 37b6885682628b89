/* A head's bytes, and the places of its parts in them. */
#include "http/head_memo.h"

#include <stdlib.h>

#include "base/limits.h"

enum { STRANGERS_MAX = 8, ABSENT = UINT16_MAX };

struct place {
    uint16_t at; /* ABSENT: there is none */
    uint16_t len;
};

struct field {
    struct place name, value;
};

struct head_kept {
    size_t len;
    struct head_framing framing;
    enum http_method method;
    int version_minor;
    bool keep_alive;
    bool expects_continue;
    bool upgrade;
    struct place target, path, query, host;
    uint32_t field_count;
    struct field fields[]; /* the bytes of the head stand behind them */
};

_Static_assert(LIMIT_HEAD_KEPT < ABSENT, "a place has sixteen bits");

static char *text_of(struct head_kept *kept)
{
    return (char *)(kept->fields + kept->field_count);
}

void head_memo_free(struct head_memo *memo)
{
    free(memo->kept);
    memo->kept = NULL;
}

/* ---- recall ---- */

static struct str str_at(const char *head, struct place place)
{
    return place.at == ABSENT ? (struct str){NULL, 0} : (struct str){head + place.at, place.len};
}

static void fill(const struct head_kept *kept, char *head, struct header *items,
                 struct request *req)
{
    for (uint32_t i = 0; i < kept->field_count; i++) {
        const struct field *field = &kept->fields[i];
        str_lower(head + field->name.at, field->name.len);
        items[i] = (struct header){str_at(head, field->name), str_at(head, field->value)};
    }
    req->headers = (struct headers){items, kept->field_count, kept->field_count};
    req->method = kept->method;
    req->method_name = str_from(request_method_name(kept->method));
    req->version_minor = kept->version_minor;
    req->target = str_at(head, kept->target);
    req->path = str_at(head, kept->path);
    req->query = str_at(head, kept->query);
    req->host = str_at(head, kept->host);
    req->keep_alive = kept->keep_alive;
    req->expects_continue = kept->expects_continue;
    req->upgrade = kept->upgrade;
}

size_t head_memo_recall(struct head_memo *memo, struct str input, struct arena *arena,
                        struct request *req, struct head_framing *framing)
{
    struct head_kept *kept = memo->kept;
    if (kept == NULL || !str_starts_with(input, (struct str){text_of(kept), kept->len}))
        return 0;
    struct header *items = arena_alloc(arena, kept->field_count * sizeof(*items));
    char *head = arena_alloc(arena, kept->len);
    if (items == NULL || head == NULL)
        return 0;
    memcpy(head, input.ptr, kept->len);
    fill(kept, head, items, req);
    *framing = kept->framing;
    memo->strangers = 0;
    return kept->len;
}

/* ---- keep ---- */

/* False when the slice lies elsewhere. */
static bool find_place(struct str s, const char *head, size_t len, struct place *out)
{
    if (s.ptr == NULL) {
        *out = (struct place){ABSENT, 0};
        return true;
    }
    uintptr_t at = (uintptr_t)s.ptr - (uintptr_t)head;
    *out = (struct place){(uint16_t)at, (uint16_t)s.len};
    return at <= len && s.len <= len - at;
}

static bool find_places(struct head_kept *kept, const char *head, const struct request *req)
{
    bool all = find_place(req->target, head, kept->len, &kept->target) &&
               find_place(req->path, head, kept->len, &kept->path) &&
               find_place(req->query, head, kept->len, &kept->query) &&
               find_place(req->host, head, kept->len, &kept->host);
    for (uint32_t i = 0; all && i < kept->field_count; i++) {
        struct field *field = &kept->fields[i];
        const struct header *h = &req->headers.items[i];
        all = find_place(h->name, head, kept->len, &field->name) &&
              find_place(h->value, head, kept->len, &field->value);
    }
    return all;
}

void head_memo_keep(struct head_memo *memo, struct str raw, const char *head,
                    const struct request *req, const struct head_framing *framing)
{
    head_memo_free(memo);
    if (raw.len > LIMIT_HEAD_KEPT || memo->strangers > STRANGERS_MAX)
        return;
    memo->strangers++;
    uint32_t count = req->headers.len;
    struct head_kept *kept = malloc(sizeof(*kept) + count * sizeof(kept->fields[0]) + raw.len);
    if (kept == NULL)
        return; /* it is read again then */
    *kept = (struct head_kept){.len = raw.len,
                               .framing = *framing,
                               .method = req->method,
                               .version_minor = req->version_minor,
                               .keep_alive = req->keep_alive,
                               .expects_continue = req->expects_continue,
                               .upgrade = req->upgrade,
                               .field_count = count};
    memo->kept = kept;
    memcpy(text_of(kept), raw.ptr, raw.len);
    if (!find_places(kept, head, req))
        head_memo_free(memo);
}
