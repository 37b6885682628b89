/* A head's bytes, and the places of its parts in them. */
#include "http/head_memo.h"

#include <stdlib.h>

#include "base/limits.h"

enum { STRANGERS_MAX = 8, ABSENT = UINT16_MAX };

struct place {
    uint16_t at; /* in the texts; ABSENT: there is none */
    uint16_t len;
};

struct field {
    struct place name, value;
};

struct head_kept {
    unsigned refs;
    size_t len;
    struct request_note note;
    struct head_framing framing;
    enum http_method method;
    int version_minor;
    bool keep_alive;
    bool expects_continue;
    bool upgrade;
    struct place target, path, query, host;
    uint32_t field_count;
    struct field fields[]; /* the texts stand behind them: the head as it came, then names that
                              are written otherwise in it */
};

_Static_assert(2 * LIMIT_HEAD_KEPT < ABSENT, "a place has sixteen bits");

static char *texts_of(struct head_kept *kept)
{
    return (char *)(kept->fields + kept->field_count);
}

static void unref(void *arg)
{
    struct head_kept *kept = arg;
    if (--kept->refs == 0)
        free(kept);
}

void head_memo_free(struct head_memo *memo)
{
    if (memo->kept != NULL)
        unref(memo->kept);
    memo->kept = NULL;
}

/* ---- recall ---- */

static struct str str_at(const char *texts, struct place place)
{
    return place.at == ABSENT ? (struct str){NULL, 0} : (struct str){texts + place.at, place.len};
}

static void fill(struct head_kept *kept, struct header *items, struct request *req)
{
    const char *texts = texts_of(kept);
    for (uint32_t i = 0; i < kept->field_count; i++) {
        const struct field *field = &kept->fields[i];
        items[i] = (struct header){str_at(texts, field->name), str_at(texts, field->value)};
    }
    req->headers = (struct headers){items, kept->field_count, kept->field_count};
    req->method = kept->method;
    req->method_name = str_from(request_method_name(kept->method));
    req->version_minor = kept->version_minor;
    req->target = str_at(texts, kept->target);
    req->path = str_at(texts, kept->path);
    req->query = str_at(texts, kept->query);
    req->host = str_at(texts, kept->host);
    req->keep_alive = kept->keep_alive;
    req->expects_continue = kept->expects_continue;
    req->upgrade = kept->upgrade;
    req->note = &kept->note;
}

size_t head_memo_recall(struct head_memo *memo, struct str input, struct arena *arena,
                        struct request *req, struct head_framing *framing)
{
    struct head_kept *kept = memo->kept;
    if (kept == NULL || !str_starts_with(input, (struct str){texts_of(kept), kept->len}))
        return 0;
    struct header *items = arena_alloc(arena, kept->field_count * sizeof(*items));
    if (items == NULL || arena_defer(arena, unref, kept) != 0)
        return 0;
    kept->refs++;
    fill(kept, items, req);
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

/* A name is in small letters in the request; as it came it may not be. */
static bool is_as_it_came(struct str raw, struct place place, struct str name)
{
    return memcmp(raw.ptr + place.at, name.ptr, name.len) == 0;
}

static size_t count_other_names(struct str raw, const char *head, const struct headers *headers)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < headers->len; i++) {
        struct str name = headers->items[i].name;
        struct place place;
        if (find_place(name, head, raw.len, &place) && !is_as_it_came(raw, place, name))
            bytes += name.len;
    }
    return bytes;
}

static bool find_places(struct head_kept *kept, const char *head, const struct request *req)
{
    char *texts = texts_of(kept);
    size_t end = kept->len;
    bool all = find_place(req->target, head, kept->len, &kept->target) &&
               find_place(req->path, head, kept->len, &kept->path) &&
               find_place(req->query, head, kept->len, &kept->query) &&
               find_place(req->host, head, kept->len, &kept->host);
    for (uint32_t i = 0; all && i < kept->field_count; i++) {
        struct field *field = &kept->fields[i];
        const struct header *h = &req->headers.items[i];
        all = find_place(h->name, head, kept->len, &field->name) &&
              find_place(h->value, head, kept->len, &field->value);
        if (!all || is_as_it_came((struct str){texts, kept->len}, field->name, h->name))
            continue;
        memcpy(texts + end, h->name.ptr, h->name.len);
        field->name.at = (uint16_t)end;
        end += h->name.len;
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
    size_t texts = raw.len + count_other_names(raw, head, &req->headers);
    struct head_kept *kept = malloc(sizeof(*kept) + count * sizeof(kept->fields[0]) + texts);
    if (kept == NULL)
        return; /* it is read again then */
    *kept = (struct head_kept){.refs = 1,
                               .len = raw.len,
                               .framing = *framing,
                               .method = req->method,
                               .version_minor = req->version_minor,
                               .keep_alive = req->keep_alive,
                               .expects_continue = req->expects_continue,
                               .upgrade = req->upgrade,
                               .field_count = count};
    memo->kept = kept;
    memcpy(texts_of(kept), raw.ptr, raw.len);
    kept->note.head = (struct str){texts_of(kept), texts};
    if (!find_places(kept, head, req))
        head_memo_free(memo);
}
