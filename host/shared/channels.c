/* The ring of messages, and its bell. */
#include "shared/channels.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct head {
    uint32_t name_len, text_len;
};

/* What stands behind `end` may be half of the message of one who died: as much is never read. */
enum { MESSAGE_MAX = sizeof(struct head) + LIMIT_CHANNEL_NAME + LIMIT_CHANNEL_TEXT };

static struct channel_ring *shared;

int channels_init(struct channel_ring *ring)
{
    return shared_lock_init(&ring->lock);
}

void channels_share(struct channel_ring *ring)
{
    shared = ring;
}

static struct channel_ring *ring_of_process(void)
{
    if (shared != NULL)
        return shared;
    void *memory =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || channels_init(memory) != 0)
        return NULL;
    return shared = memory;
}

/* ---- bytes at a position, which wrap around ---- */

static void put(struct channel_ring *ring, uint64_t *at, const void *bytes, size_t len)
{
    size_t from = *at % LIMIT_CHANNEL_RING;
    size_t first = len < LIMIT_CHANNEL_RING - from ? len : LIMIT_CHANNEL_RING - from;
    memcpy(ring->bytes + from, bytes, first);
    memcpy(ring->bytes, (const char *)bytes + first, len - first);
    *at += len;
}

static void get(const struct channel_ring *ring, uint64_t at, struct buf *out, size_t len)
{
    size_t from = at % LIMIT_CHANNEL_RING;
    size_t first = len < LIMIT_CHANNEL_RING - from ? len : LIMIT_CHANNEL_RING - from;
    buf_add(out, ring->bytes + from, first);
    buf_add(out, ring->bytes, len - first);
}

/* ---- the interface ---- */

int channels_publish(struct str name, struct str text)
{
    struct channel_ring *ring = ring_of_process();
    if (ring == NULL)
        return -ENOMEM;
    if (name.len > LIMIT_CHANNEL_NAME || text.len > LIMIT_CHANNEL_TEXT)
        return -EMSGSIZE;
    const struct head head = {(uint32_t)name.len, (uint32_t)text.len};
    shared_lock_take(&ring->lock);
    uint64_t at = atomic_load(&ring->end);
    put(ring, &at, &head, sizeof(head));
    put(ring, &at, name.ptr, name.len);
    put(ring, &at, text.ptr, text.len);
    atomic_store(&ring->end, at);
    shared_lock_give(&ring->lock);
    channels_ring_bell();
    return 0;
}

int channels_position(uint64_t *position)
{
    const struct channel_ring *ring = ring_of_process();
    *position = ring != NULL ? atomic_load(&ring->end) : 0;
    return ring != NULL ? 0 : -ENOMEM;
}

/* The length of the message at `at`. */
static size_t length_at(const struct channel_ring *ring, uint64_t at)
{
    char bytes[sizeof(struct head)] = {0};
    struct head head;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = ring->bytes[(at + i) % LIMIT_CHANNEL_RING];
    memcpy(&head, bytes, sizeof(head));
    return sizeof(head) + head.name_len + head.text_len;
}

bool channels_read(uint64_t *position, struct buf *out, bool *missed)
{
    struct channel_ring *ring = ring_of_process();
    size_t before = out->len;
    *missed = false;
    if (ring == NULL || atomic_load(&ring->end) == *position)
        return false;
    shared_lock_take(&ring->lock);
    uint64_t end = atomic_load(&ring->end);
    if (end - *position > LIMIT_CHANNEL_RING - MESSAGE_MAX) {
        *missed = true;
        *position = end;
    }
    while (*position < end && out->len - before < LIMIT_CHANNEL_READ && !buf_failed(out)) {
        size_t len = length_at(ring, *position);
        get(ring, *position, out, len);
        *position += len;
    }
    shared_lock_give(&ring->lock);
    return true;
}

bool channels_take(struct str *rest, struct str *name, struct str *text)
{
    struct head head;
    if (rest->len < sizeof(head))
        return false;
    memcpy(&head, rest->ptr, sizeof(head));
    *rest = str_skip(*rest, sizeof(head));
    *name = (struct str){rest->ptr, head.name_len};
    *rest = str_skip(*rest, head.name_len);
    *text = (struct str){rest->ptr, head.text_len};
    *rest = str_skip(*rest, head.text_len);
    return true;
}

/* ---- the bell ---- */

uint32_t channels_bell(void)
{
    const struct channel_ring *ring = ring_of_process();
    return ring != NULL ? atomic_load(&ring->bell) : 0;
}

void channels_wait(uint32_t bell)
{
    struct channel_ring *ring = ring_of_process();
    if (ring != NULL)
        syscall(SYS_futex, &ring->bell, FUTEX_WAIT, bell, NULL, NULL, 0);
}

void channels_ring_bell(void)
{
    struct channel_ring *ring = ring_of_process();
    if (ring == NULL)
        return;
    atomic_fetch_add(&ring->bell, 1);
    syscall(SYS_futex, &ring->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
