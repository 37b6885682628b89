/* What a worker serves, written down. */
#include "app/kept.h"

#include <stdlib.h>
#include <string.h>

/* ---- writing: numbers of 64 bits in the machine's order, texts behind their length ---- */

static void put_number(struct buf *out, uint64_t number)
{
    buf_add(out, &number, sizeof(number));
}

static void put_text(struct buf *out, struct str text)
{
    put_number(out, text.len);
    buf_add_str(out, text);
}

/* A text that was written already is named by its place. */
struct writer {
    struct buf *out;
    const struct origin_text **texts;
    uint64_t count, cap;
    bool failed;
};

enum { NO_TEXT, OLD_TEXT, NEW_TEXT };

static void put_origin_text(struct writer *w, const struct origin_text *text)
{
    for (uint64_t i = 0; text != NULL && i < w->count; i++) {
        if (w->texts[i] != text)
            continue;
        put_number(w->out, OLD_TEXT);
        put_number(w->out, i);
        return;
    }
    put_number(w->out, text != NULL ? NEW_TEXT : NO_TEXT);
    if (text == NULL)
        return;
    put_text(w->out, origin_text_str(text));
    if (w->count == w->cap) {
        uint64_t cap = w->cap > 0 ? 2 * w->cap : 64;
        const struct origin_text **texts =
            realloc(w->texts, cap * sizeof(const struct origin_text *));
        w->failed |= texts == NULL;
        if (texts == NULL)
            return;
        w->texts = texts;
        w->cap = cap;
    }
    w->texts[w->count++] = text;
}

static void put_origin(struct writer *w, const struct origin *origin)
{
    put_number(w->out, origin != NULL ? origin->count : UINT64_MAX);
    for (unsigned i = 0; origin != NULL && i < origin->count; i++) {
        const struct origin_note *note = &origin->list[i];
        put_number(w->out, note->kind);
        put_text(w->out, str_from(note->path));
        put_number(w->out, (uint64_t)-note->error);
        put_origin_text(w, note->text);
    }
}

bool kept_write(const struct app *app, struct buf *out)
{
    const struct deployment *d = app->current;
    struct writer w = {.out = out};
    put_origin(&w, d->config->origin);
    put_text(out, str_from(app->config_error.text));
    put_number(out, tls_count(app->tls));
    for (unsigned i = 0; i < tls_count(app->tls); i++) {
        struct tls_pem pem = tls_pem(app->tls, i);
        put_text(out, pem.cert);
        put_text(out, pem.key);
    }
    put_number(out, d->function_count);
    for (unsigned i = 0; i < d->function_count; i++) {
        const struct function *function = d->functions[i];
        const struct origin *origin =
            function->current != NULL ? function->current->origin : function->earlier;
        put_text(out, function->base->name);
        put_text(out, str_from(function->failed ? function->error.text : ""));
        put_origin(&w, origin);
        put_number(out, function->content);
        put_number(out, function->generation);
    }
    free(w.texts);
    return !w.failed && !buf_failed(out);
}

/* ---- reading ---- */

struct reader {
    struct str rest;
    struct arena *arena;
    const struct str *texts; /* of the origins, those that were read so far; in the arena */
    uint64_t count, cap;
    bool failed;
};

static uint64_t take_number(struct reader *r)
{
    uint64_t number = 0;
    r->failed |= !str_take(&r->rest, &number, sizeof(number));
    return number;
}

/* Borrowed from the text. */
static struct str take_bytes(struct reader *r)
{
    uint64_t len = take_number(r);
    if (len > r->rest.len) {
        r->failed = true;
        len = 0;
    }
    struct str text = {r->rest.ptr, (size_t)len};
    r->rest = str_skip(r->rest, (size_t)len);
    return text;
}

/* In the arena, with NUL behind it. */
static struct str take_text(struct reader *r)
{
    struct str copy = arena_copy(r->arena, take_bytes(r));
    r->failed |= copy.ptr == NULL;
    return copy.ptr != NULL ? copy : STR("");
}

static void remember(struct reader *r, struct str text)
{
    if (r->count == r->cap) {
        uint64_t cap = r->cap > 0 ? 2 * r->cap : 64;
        struct str *texts = arena_alloc(r->arena, cap * sizeof(*texts));
        r->failed |= texts == NULL;
        if (texts == NULL)
            return;
        if (r->count > 0)
            memcpy(texts, r->texts, r->count * sizeof(*texts));
        r->texts = texts;
        r->cap = cap;
    }
    ((struct str *)(uintptr_t)r->texts)[r->count++] = text;
}

/* False: there is none. */
static bool take_origin_text(struct reader *r, struct str *out)
{
    switch (take_number(r)) {
    case NEW_TEXT:
        *out = take_bytes(r);
        remember(r, *out);
        return true;
    case OLD_TEXT: {
        uint64_t place = take_number(r);
        r->failed |= place >= r->count;
        *out = place < r->count ? r->texts[place] : STR("");
        return true;
    }
    default:
        return false;
    }
}

static struct origin *take_origin(struct reader *r)
{
    uint64_t count = take_number(r);
    struct origin *origin = count != UINT64_MAX ? origin_new(NULL) : NULL;
    if (count == UINT64_MAX)
        return NULL;
    r->failed |= origin == NULL;
    for (uint64_t i = 0; !r->failed && i < count; i++) {
        uint64_t kind = take_number(r);
        struct str path = take_text(r), text;
        int error = -(int)take_number(r);
        bool there = take_origin_text(r, &text);
        r->failed |= kind > ORIGIN_LINK;
        if (!r->failed)
            r->failed = origin_add(origin, (enum origin_kind)kind, path.ptr, there ? &text : NULL,
                                   error) != 0;
    }
    return origin;
}

/* Room for as many as a number says that comes next; NULL where it fails. */
static void *take_list(struct reader *r, size_t size, uint64_t *count)
{
    *count = take_number(r);
    r->failed |= *count > r->rest.len; /* each has some bytes */
    void *list = r->failed ? NULL : arena_zalloc(r->arena, (*count + 1) * size);
    r->failed |= list == NULL;
    return list;
}

static void take_all(struct reader *r, struct kept *kept)
{
    uint64_t count;
    kept->config = take_origin(r);
    kept->config_error = take_text(r);
    kept->certificates = take_list(r, sizeof(*kept->certificates), &count);
    for (uint64_t i = 0; !r->failed && i < count; i++) {
        struct tls_pem *pem = &kept->certificates[kept->certificate_count++];
        pem->cert = take_text(r);
        pem->key = take_text(r);
    }
    kept->functions = take_list(r, sizeof(*kept->functions), &count);
    for (uint64_t i = 0; !r->failed && i < count; i++) {
        struct kept_function *function = &kept->functions[kept->function_count++];
        function->name = take_text(r);
        function->error = take_text(r);
        function->origin = take_origin(r);
        function->content = take_number(r);
        function->generation = (unsigned)take_number(r);
    }
}

struct kept *kept_read(struct str text)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        return NULL;
    arena_init(&kept->arena);
    struct reader r = {.rest = text, .arena = &kept->arena};
    take_all(&r, kept);
    if (!r.failed && r.rest.len == 0 && kept->config != NULL)
        return kept;
    kept_free(kept);
    return NULL;
}

void kept_free(struct kept *kept)
{
    if (kept == NULL)
        return;
    for (unsigned i = 0; i < kept->function_count; i++)
        origin_unref(kept->functions[i].origin);
    origin_unref(kept->config);
    arena_free(&kept->arena);
    free(kept);
}

const struct kept_function *kept_find(const struct kept *kept, struct str name)
{
    for (unsigned i = 0; kept != NULL && i < kept->function_count; i++) {
        if (str_eq(kept->functions[i].name, name))
            return &kept->functions[i];
    }
    return NULL;
}
