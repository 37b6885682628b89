/* Compressed files: see packed.h. */
#include "http/packed.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"

enum { SHELVES = 256 };

struct packed {
    struct list by_name; /* on its shelf */
    struct list by_age;
    unsigned refs;
    struct file_id id;
    enum encoding encoding;
    size_t len;
    char bytes[];
};

/* The one that was used last is the last by age. */
static struct {
    bool ready;
    size_t size; /* of all that are kept */
    struct list shelves[SHELVES];
    struct list ages;
} kept;

static struct list *shelf_of(const struct file_id *id)
{
    if (!kept.ready) {
        kept.ready = true;
        list_init(&kept.ages);
        for (unsigned i = 0; i < SHELVES; i++)
            list_init(&kept.shelves[i]);
    }
    return &kept.shelves[id->inode % SHELVES];
}

/* What is dropped leaves both lists, which the analyzer does not follow. */
static size_t weight(const struct packed *packed)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    return sizeof(*packed) + packed->len;
}

static void drop(struct packed *packed)
{
    kept.size -= weight(packed);
    list_remove(&packed->by_name);
    list_remove(&packed->by_age);
    packed_release(packed);
}

static void keep_it(struct packed *packed)
{
    kept.size += weight(packed);
    list_push(shelf_of(&packed->id), &packed->by_name);
    list_push(&kept.ages, &packed->by_age);
    packed_hold(packed);
    while (kept.size > LIMIT_PACKED_BYTES)
        drop(container_of(kept.ages.next, struct packed, by_age));
}

struct packed *packed_find(const struct file_id *id, enum encoding encoding)
{
    struct list *shelf = shelf_of(id);
    list_each(node, shelf)
    {
        struct packed *packed = container_of(node, struct packed, by_name);
        if (packed->encoding != encoding || !file_id_eq(&packed->id, id))
            continue;
        list_remove(&packed->by_age);
        list_push(&kept.ages, &packed->by_age);
        packed_hold(packed);
        return packed;
    }
    return NULL;
}

struct packed *packed_new(const struct file_id *id, enum encoding encoding, struct str bytes,
                          bool keep)
{
    struct packed *packed = malloc(sizeof(*packed) + bytes.len);
    if (packed == NULL)
        return NULL;
    *packed = (struct packed){.refs = 1, .id = *id, .encoding = encoding, .len = bytes.len};
    list_init(&packed->by_name);
    list_init(&packed->by_age);
    if (bytes.len > 0)
        memcpy(packed->bytes, bytes.ptr, bytes.len);
    if (keep)
        keep_it(packed);
    return packed;
}

struct str packed_bytes(const struct packed *packed)
{
    return (struct str){packed->bytes, packed->len};
}

void packed_hold(struct packed *packed)
{
    packed->refs++;
}

void packed_release(void *arg)
{
    struct packed *packed = arg;
    if (--packed->refs == 0)
        free(packed);
}

void packed_forget(void)
{
    while (kept.ready && !list_is_empty(&kept.ages))
        drop(container_of(kept.ages.next, struct packed, by_age));
}
