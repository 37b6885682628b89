/* What something was made from. */
#include "lua/origin.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "lua/script.h"

_Static_assert(PATH_MAX <= 4096, "origin_resolve's room");

/* ---- texts, each once ---- */

struct origin_text {
    struct origin_text *next; /* of the same bucket */
    unsigned refs;
    uint64_t hash;
    size_t len;
    char bytes[];
};

enum { BUCKETS = 256 };

static struct origin_text *buckets[BUCKETS];

static struct origin_text *text_of(struct str content)
{
    uint64_t hash = str_hash(content);
    struct origin_text **bucket = &buckets[hash % BUCKETS];
    for (struct origin_text *text = *bucket; text != NULL; text = text->next) {
        if (text->hash == hash && str_eq(origin_text_str(text), content)) {
            text->refs++;
            return text;
        }
    }
    struct origin_text *text = malloc(sizeof(*text) + content.len);
    if (text == NULL)
        return NULL;
    *text = (struct origin_text){.next = *bucket, .refs = 1, .hash = hash, .len = content.len};
    if (content.len > 0)
        memcpy(text->bytes, content.ptr, content.len);
    *bucket = text;
    return text;
}

static struct origin_text *text_ref(struct origin_text *text)
{
    if (text != NULL)
        text->refs++;
    return text;
}

static void text_unref(struct origin_text *text)
{
    if (text == NULL || --text->refs > 0)
        return;
    struct origin_text **link = &buckets[text->hash % BUCKETS];
    while (*link != text)
        link = &(*link)->next;
    *link = text->next;
    free(text);
}

struct str origin_text_str(const struct origin_text *text)
{
    return (struct str){text->bytes, text->len};
}

/* ---- notes ---- */

struct origin *origin_new(struct origin *earlier)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    if (origin == NULL)
        return NULL;
    origin->refs = 1;
    origin->earlier = origin_ref(earlier);
    return origin;
}

struct origin *origin_ref(struct origin *origin)
{
    if (origin != NULL)
        origin->refs++;
    return origin;
}

void origin_unref(struct origin *origin)
{
    if (origin == NULL || --origin->refs > 0)
        return;
    for (unsigned i = 0; i < origin->count; i++) {
        text_unref(origin->list[i].text);
        free(origin->list[i].path);
    }
    origin_unref(origin->earlier);
    free(origin->list);
    free(origin);
}

static struct origin_note *find(const struct origin *origin, enum origin_kind kind,
                                const char *path)
{
    uint64_t hash = str_hash(str_from(path));
    for (unsigned i = 0; origin != NULL && i < origin->count; i++) {
        struct origin_note *note = &origin->list[i];
        if (note->path_hash == hash && note->kind == kind && strcmp(note->path, path) == 0)
            return note;
    }
    return NULL;
}

/* Takes over the reference to `text`. NULL when out of memory. */
static struct origin_note *push(struct origin *origin, enum origin_kind kind, const char *path,
                                struct origin_text *text, int error)
{
    struct origin_note *list = origin->count < LIMIT_ORIGIN_NOTES
                                   ? realloc(origin->list, (origin->count + 1) * sizeof(*list))
                                   : NULL;
    char *copy = list != NULL ? strdup(path) : NULL;
    if (list != NULL)
        origin->list = list;
    if (copy == NULL) {
        text_unref(text);
        return NULL;
    }
    list[origin->count] = (struct origin_note){kind, copy, str_hash(str_from(path)), text, error};
    origin->absent += text == NULL;
    return &list[origin->count++];
}

/* The same, but for what is not there where enough of that is noted. */
static const struct origin_note *answer(struct origin *origin, enum origin_kind kind,
                                        const char *path, struct origin_text *text, int error)
{
    if (text != NULL || origin->absent < LIMIT_ORIGIN_ABSENT)
        return push(origin, kind, path, text, error);
    origin->unnoted = (struct origin_note){.kind = kind, .error = error};
    return &origin->unnoted;
}

int origin_add(struct origin *origin, enum origin_kind kind, const char *path,
               const struct str *text, int error)
{
    struct origin_text *held = text != NULL ? text_of(*text) : NULL;
    if (text != NULL && held == NULL)
        return -ENOMEM;
    return push(origin, kind, path, held, error) != NULL ? 0 : -ENOMEM;
}

int origin_settle(struct origin *origin)
{
    const struct origin *earlier = origin->earlier;
    for (unsigned i = 0; earlier != NULL && i < earlier->count; i++) {
        const struct origin_note *note = &earlier->list[i];
        if (find(origin, note->kind, note->path) == NULL &&
            answer(origin, note->kind, note->path, text_ref(note->text), note->error) == NULL)
            return -ENOMEM;
    }
    origin_unref(origin->earlier);
    origin->earlier = NULL;
    return 0;
}

/* ---- asking the disk: fills `out`; 0 or a negative errno ---- */

static int resolve(const char *path, struct buf *out)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return -errno;
    buf_add(out, real, strlen(real));
    return buf_failed(out) ? -ENOMEM : 0;
}

static int ask_disk(enum origin_kind kind, const char *path, struct buf *out, struct err *err)
{
    switch (kind) {
    case ORIGIN_FILE:
        return script_read(path, out, err);
    case ORIGIN_LOOK:
        return script_exists(path) ? 0 : -ENOENT;
    case ORIGIN_FOLDER:
        return script_folder_list(path, out, err);
    default:
        return resolve(path, out);
    }
}

/* The note, made if there is none, or an answer that lasts until the next question; NULL when out
 * of memory. `err` is filled where the disk has just refused. */
static const struct origin_note *ask(struct origin *origin, enum origin_kind kind, const char *path,
                                     struct err *err)
{
    const struct origin_note *note = find(origin, kind, path);
    if (note != NULL)
        return note;
    note = find(origin->earlier, kind, path);
    if (note != NULL)
        return answer(origin, kind, path, text_ref(note->text), note->error);
    struct buf said = BUF_INIT;
    int rc = ask_disk(kind, path, &said, err);
    struct origin_text *text = rc == 0 ? text_of(buf_str(&said)) : NULL;
    buf_free(&said);
    if (rc == -ENOMEM || (rc == 0 && text == NULL))
        return NULL;
    return answer(origin, kind, path, text, rc);
}

int origin_read(struct origin *origin, const char *path, struct buf *out, struct err *err)
{
    struct err reason;
    err_set(&reason, 0, "%s", "");
    const struct origin_note *note = ask(origin, ORIGIN_FILE, path, &reason);
    if (note == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    if (note->text == NULL && reason.text[0] == '\0')
        err_set(&reason, note->error, "cannot be opened: %s", strerror(-note->error));
    if (note->text == NULL)
        return err_set(err, note->error, "%s", reason.text);
    buf_add_str(out, origin_text_str(note->text));
    return buf_failed(out) ? err_set(err, -ENOMEM, "out of memory") : 0;
}

bool origin_is_file(struct origin *origin, const char *path)
{
    const struct origin_note *note = ask(origin, ORIGIN_LOOK, path, NULL);
    return note != NULL && note->text != NULL;
}

int origin_resolve(struct origin *origin, const char *path, char out[4096])
{
    const struct origin_note *note = ask(origin, ORIGIN_LINK, path, NULL);
    if (note == NULL)
        return -ENOMEM;
    if (note->text == NULL)
        return note->error;
    struct str text = origin_text_str(note->text);
    if (text.len >= PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return 0;
}

int origin_functions(struct origin *origin, const char *folder, struct str *out)
{
    const struct origin_note *note = ask(origin, ORIGIN_FOLDER, folder, NULL);
    if (note == NULL)
        return -ENOMEM;
    if (note->text == NULL)
        return note->error;
    *out = origin_text_str(note->text);
    return 0;
}

/* ---- comparing ---- */

uint64_t origin_hash(const struct origin *origin)
{
    uint64_t hash = 0;
    for (unsigned i = 0; origin != NULL && i < origin->count; i++) {
        const struct origin_note *note = &origin->list[i];
        if (note->kind == ORIGIN_FILE)
            hash = hash * 1099511628211u + (note->text != NULL ? note->text->hash : 0);
    }
    return hash;
}

static bool note_changed(const struct origin_note *note, struct buf *now)
{
    if (note->kind == ORIGIN_LOOK)
        return note->text == NULL && script_exists(note->path);
    buf_clear(now);
    int rc = ask_disk(note->kind, note->path, now, NULL);
    if (rc != 0 || note->text == NULL)
        return rc != -ENOMEM && (rc == 0) != (note->text != NULL);
    return str_hash(buf_str(now)) != note->text->hash;
}

bool origin_changed(const struct origin *origin)
{
    struct buf now = BUF_INIT;
    bool changed = false;
    for (unsigned i = 0; origin != NULL && !changed && i < origin->count; i++)
        changed = note_changed(&origin->list[i], &now);
    buf_free(&now);
    return changed;
}
