/* Memory that processes share, and that an upgraded program goes on with. */
#include "shared/carried.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "luafn carried 1"

enum { PLACES = 32, NAME_BYTES = 16, PAGE = 4096 };

struct place {
    char name[NAME_BYTES]; /* empty: free */
    uint64_t version, offset, bytes;
};

struct carried_directory {
    char magic[NAME_BYTES];
    uint64_t half; /* of the metrics' pages, that the program has which serves */
    struct place places[PLACES];
};

/* ---- the list ---- */

struct part {
    const char *name;
    /* To be raised when the layout of a table or the meaning of what is in it changes; 0: it ends
     * with the program. */
    unsigned version;
    size_t bytes, bytes_a_worker;
    size_t pointer;                             /* where in struct carried */
    int (*init)(void *table, unsigned workers); /* of zeroed memory; NULL: nothing to do */
};

static int init_board(void *table, unsigned workers)
{
    (void)workers;
    return board_init(table);
}

static int init_rates(void *table, unsigned workers)
{
    (void)workers;
    return rate_table_init(table);
}

static int init_revocations(void *table, unsigned workers)
{
    (void)workers;
    return revocations_init(table);
}

static int init_generations(void *table, unsigned workers)
{
    (void)workers;
    return generations_init(table);
}

static int init_deliveries(void *table, unsigned workers)
{
    (void)workers;
    return delivery_table_init(table);
}

static int init_nonces(void *table, unsigned workers)
{
    (void)workers;
    return nonce_secret_init(table);
}

static int init_channels(void *table, unsigned workers)
{
    (void)workers;
    return channels_init(table);
}

static int init_metrics(void *table, unsigned workers)
{
    struct metrics *metrics = table;
    metrics->workers = workers;
    return metrics_init(metrics, 2 * workers);
}

static int init_workers(void *table, unsigned workers)
{
    (void)workers;
    return shared_lock_init(&((struct worker_table *)table)->leave);
}

#define AT(member) offsetof(struct carried, member)

static const struct part parts[] = {
    {"board", 1, sizeof(struct schedule_board), 0, AT(board), init_board},
    {"rates", 1, sizeof(struct rate_table), 0, AT(rates), init_rates},
    {"generations", 1, sizeof(struct generation_table), 0, AT(generations), init_generations},
    {"proofs", 1, sizeof(struct replay_table), 0, AT(proofs), NULL},
    {"nonces", 1, sizeof(struct nonce_secret), 0, AT(nonces), init_nonces},
    {"deliveries", 1, sizeof(struct delivery_table), 0, AT(deliveries), init_deliveries},
    {"revocations", 1, sizeof(struct revocation_table), 0, AT(revocations), init_revocations},
    {"suspensions", 1, sizeof(struct suspension_table), 0, AT(suspensions), NULL},
    {"channels", 1, sizeof(struct channel_ring), 0, AT(channels), init_channels},
    {"metrics", 7, sizeof(struct metrics), 2 * sizeof(struct worker_metrics), AT(metrics),
     init_metrics},
    {"workers", 0, sizeof(struct worker_table), 0, AT(workers), init_workers},
};

enum { PARTS = sizeof(parts) / sizeof(parts[0]) };

static void set_pointer(struct carried *carried, const struct part *part, void *table)
{
    memcpy((char *)carried + part->pointer, &table, sizeof(table));
}

static size_t bytes_of(const struct part *part, unsigned workers)
{
    return part->bytes + part->bytes_a_worker * workers;
}

/* ---- the file ---- */

static int map(struct carried *carried, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, carried->fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    carried->directory = memory;
    carried->bytes = bytes;
    return 0;
}

static void unmap(struct carried *carried)
{
    if (carried->directory != NULL)
        munmap(carried->directory, carried->bytes);
    carried->directory = NULL;
}

static bool is_ours(int fd, struct stat *st)
{
    char magic[NAME_BYTES];
    return fd >= 0 && fstat(fd, st) == 0 && pread(fd, magic, sizeof(magic), 0) == NAME_BYTES &&
           memcmp(magic, MAGIC, NAME_BYTES) == 0;
}

static struct place *find_place(struct carried_directory *directory, const struct part *part,
                                size_t bytes)
{
    for (unsigned i = 0; i < PLACES; i++) {
        struct place *place = &directory->places[i];
        if (strncmp(place->name, part->name, NAME_BYTES) == 0 && place->version == part->version &&
            place->bytes == bytes)
            return place;
    }
    return NULL;
}

static struct place *find_free(struct carried_directory *directory)
{
    for (unsigned i = 0; i < PLACES; i++) {
        if (directory->places[i].name[0] == '\0')
            return &directory->places[i];
    }
    return NULL;
}

/* The parts that have no place yet, one behind the other from `end`, where the file ends. Returns
 * where it ends then. */
static size_t lay_out(struct carried_directory *directory, unsigned workers, size_t end,
                      size_t offsets[PARTS])
{
    for (unsigned i = 0; i < PARTS; i++) {
        size_t bytes = bytes_of(&parts[i], workers);
        offsets[i] = 0;
        if (parts[i].version == 0 || find_place(directory, &parts[i], bytes) != NULL)
            continue;
        offsets[i] = end;
        end += (bytes + PAGE - 1) / PAGE * PAGE;
    }
    return end;
}

/* An entry is written last: a program that dies here has left nothing but unused bytes. */
static int add_part(struct carried *carried, const struct part *part, unsigned workers,
                    size_t offset)
{
    struct place *place = find_free(carried->directory);
    if (place == NULL)
        return -ENOSPC;
    int rc = part->init != NULL ? part->init((char *)carried->directory + offset, workers) : 0;
    if (rc != 0)
        return rc;
    place->version = part->version;
    place->offset = offset;
    place->bytes = bytes_of(part, workers);
    memcpy(place->name, part->name, strlen(part->name) + 1);
    return 0;
}

static int add_parts(struct carried *carried, unsigned workers, size_t end)
{
    size_t offsets[PARTS];
    size_t bytes = lay_out(carried->directory, workers, end, offsets);
    if (bytes > end && ftruncate(carried->fd, (off_t)bytes) != 0)
        return -errno;
    unmap(carried);
    int rc = map(carried, bytes);
    assert(rc != 0 || carried->directory != NULL);
    for (unsigned i = 0; rc == 0 && i < PARTS; i++) {
        if (offsets[i] != 0)
            rc = add_part(carried, &parts[i], workers, offsets[i]);
    }
    return rc;
}

static void find_parts(struct carried *carried, unsigned workers)
{
    for (unsigned i = 0; i < PARTS; i++) {
        size_t bytes = bytes_of(&parts[i], workers);
        if (parts[i].version > 0)
            set_pointer(carried, &parts[i],
                        (char *)carried->directory +
                            find_place(carried->directory, &parts[i], bytes)->offset);
    }
}

/* ---- the interface ---- */

/* Goes on with the file, or begins a new one: fd -1. */
static int open_file(struct carried *carried, int fd, const struct stat *st, unsigned workers)
{
    size_t end = fd >= 0 ? (size_t)st->st_size : PAGE;
    bool fresh = fd < 0;
    carried->fd = fresh ? memfd_create("luafn", MFD_CLOEXEC) : fd;
    if (carried->fd < 0 || (fresh && ftruncate(carried->fd, (off_t)end) != 0))
        return -errno;
    int rc = map(carried, end);
    assert(rc != 0 || carried->directory != NULL);
    if (rc == 0 && fresh)
        memcpy(carried->directory->magic, MAGIC, NAME_BYTES);
    if (rc == 0)
        carried->half = fresh ? 0 : !carried->directory->half;
    if (rc == 0)
        rc = add_parts(carried, workers, end);
    if (rc == 0)
        find_parts(carried, workers);
    return rc;
}

static int open_own(struct carried *carried, unsigned workers)
{
    for (unsigned i = 0; i < PARTS; i++) {
        if (parts[i].version > 0)
            continue;
        void *memory = mmap(NULL, bytes_of(&parts[i], workers), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return -errno;
        set_pointer(carried, &parts[i], memory);
        int rc = parts[i].init != NULL ? parts[i].init(memory, workers) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static void close_file(struct carried *carried)
{
    unmap(carried);
    if (carried->fd >= 0)
        close(carried->fd);
    carried->fd = -1;
}

int carried_open(struct carried *carried, int fd, unsigned workers)
{
    struct stat st = {0};
    bool ours = is_ours(fd, &st);
    *carried = (struct carried){.fd = -1};
    int rc = ours ? open_file(carried, fd, &st, workers) : -EINVAL;
    if (rc != 0) {
        close_file(carried);
        if (!ours && fd >= 0)
            close(fd);
        rc = open_file(carried, -1, NULL, workers);
    }
    if (rc == 0)
        rc = open_own(carried, workers);
    carried->first_page = carried->half * workers;
    if (rc != 0)
        carried_close(carried);
    return rc;
}

void carried_settle(struct carried *carried)
{
    carried->directory->half = carried->half;
}

void carried_close(struct carried *carried)
{
    if (carried->workers != NULL)
        munmap(carried->workers, sizeof(*carried->workers));
    close_file(carried);
    *carried = (struct carried){.fd = -1};
}
