/* Memory that an upgraded program goes on with. */
#include "shared/carried.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAYOUT "luafn " LUAFN_VERSION

struct carried_memory {
    char layout[32];
    uint64_t bytes, workers, turn; /* turn: how many programs have had it */
    struct schedule_board board;
    struct rate_table rates;
    struct generation_table generations;
    /* The metrics follow. */
};

static size_t bytes_for(unsigned workers)
{
    return sizeof(struct carried_memory) + metrics_bytes(2 * workers);
}

static int map(struct carried *carried, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, carried->fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    carried->memory = memory;
    carried->board = &carried->memory->board;
    carried->rates = &carried->memory->rates;
    carried->generations = &carried->memory->generations;
    carried->metrics = (struct metrics *)(void *)(carried->memory + 1);
    return 0;
}

static void unmap(struct carried *carried)
{
    if (carried->memory != NULL)
        munmap(carried->memory, (size_t)carried->memory->bytes);
    if (carried->fd >= 0)
        close(carried->fd);
    *carried = (struct carried){.fd = -1};
}

static int make(struct carried *carried, unsigned workers)
{
    size_t bytes = bytes_for(workers);
    carried->fd = memfd_create("luafn", MFD_CLOEXEC);
    if (carried->fd < 0 || ftruncate(carried->fd, (off_t)bytes) != 0)
        return -errno;
    int rc = map(carried, bytes);
    if (rc != 0)
        return rc;
    struct carried_memory *memory = carried->memory;
    assert(memory != NULL);
    memcpy(memory->layout, LAYOUT, sizeof(LAYOUT));
    memory->bytes = bytes;
    memory->workers = workers;
    rc = rate_table_init(&memory->rates);
    if (rc == 0)
        rc = generations_init(&memory->generations);
    return rc == 0 ? metrics_init(carried->metrics, 2 * workers) : rc;
}

/* True when the memory behind the descriptor is as this program would have made it. */
static bool take_up(struct carried *carried, int fd, unsigned workers)
{
    struct stat st;
    size_t bytes = bytes_for(workers);
    carried->fd = fd;
    if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size == bytes && map(carried, bytes) == 0) {
        const struct carried_memory *memory = carried->memory;
        if (memory->bytes == bytes && memory->workers == workers &&
            strncmp(memory->layout, LAYOUT, sizeof(memory->layout)) == 0)
            return true;
    }
    if (carried->memory != NULL)
        munmap(carried->memory, bytes);
    carried->memory = NULL;
    unmap(carried);
    return false;
}

int carried_open(struct carried *carried, int fd, unsigned workers)
{
    *carried = (struct carried){.fd = -1};
    if (take_up(carried, fd, workers)) {
        carried->first_page = ++carried->memory->turn % 2 * workers;
        return 0;
    }
    int rc = make(carried, workers);
    if (rc != 0) {
        unmap(carried);
        return rc;
    }
    carried->metrics->workers = workers;
    return 0;
}

void carried_close(struct carried *carried)
{
    unmap(carried);
}
