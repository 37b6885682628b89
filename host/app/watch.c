/* Notices that files change. */
#include "app/watch.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/list.h"

enum { SETTLE_MS = 15, SWEEP_MS = 700, FOLDERS_MAX = 256 };

struct folder {
    uv_fs_event_t event;
    struct watch *watch;
    dev_t device; /* of the folder that is watched, */
    ino_t inode;  /* whatever its name leads to by now */
    char path[];  /* NUL-terminated */
};

struct watch {
    uv_timer_t timer;
    void (*changed)(void *arg);
    void *arg;
    struct folder *folders[FOLDERS_MAX];
    unsigned folder_count;
    unsigned open_handles;
    bool settling; /* a change was seen; the timer waits for the rest of it */
};

static void on_timer(uv_timer_t *timer)
{
    struct watch *watch = container_of(timer, struct watch, timer);
    watch->settling = false;
    uv_timer_start(timer, on_timer, SWEEP_MS, 0);
    watch->changed(watch->arg);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    struct watch *watch = container_of(event, struct folder, event)->watch;
    if (watch->settling)
        return;
    watch->settling = true;
    uv_timer_start(&watch->timer, on_timer, SETTLE_MS, 0);
}

struct watch *watch_new(uv_loop_t *loop, void (*changed)(void *arg), void *arg)
{
    struct watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    watch->changed = changed;
    watch->arg = arg;
    watch->open_handles = 1;
    uv_timer_init(loop, &watch->timer);
    uv_timer_start(&watch->timer, on_timer, SWEEP_MS, 0);
    return watch;
}

static void on_closed(uv_handle_t *handle);

/* Is it watched? One whose name leads to another folder now is not, any more. */
static bool is_known(struct watch *watch, const char *path, const struct stat *st)
{
    for (unsigned i = 0; i < watch->folder_count; i++) {
        struct folder *folder = watch->folders[i];
        if (strcmp(folder->path, path) != 0)
            continue;
        if (folder->device == st->st_dev && folder->inode == st->st_ino)
            return true;
        watch->folders[i] = watch->folders[--watch->folder_count];
        uv_close((uv_handle_t *)&folder->event, on_closed);
        return false;
    }
    return false;
}

void watch_add_folder(struct watch *watch, const char *path)
{
    struct stat st;
    if (path[0] != '/' || stat(path, &st) != 0 || is_known(watch, path, &st) ||
        watch->folder_count == FOLDERS_MAX)
        return;
    size_t len = strlen(path);
    struct folder *folder = malloc(sizeof(*folder) + len + 1);
    if (folder == NULL)
        return;
    memcpy(folder->path, path, len + 1);
    folder->watch = watch;
    folder->device = st.st_dev;
    folder->inode = st.st_ino;
    if (uv_fs_event_init(watch->timer.loop, &folder->event) != 0) {
        free(folder);
        return;
    }
    watch->open_handles++;
    if (uv_fs_event_start(&folder->event, on_event, path, 0) != 0) {
        uv_close((uv_handle_t *)&folder->event,
                 on_closed); /* not there, or no watches left: the sweep finds changes */
        return;
    }
    watch->folders[watch->folder_count++] = folder;
}

void watch_add_file(struct watch *watch, const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t len = slash != NULL ? (size_t)(slash - path) : 0;
    if (len == 0 || len >= sizeof(folder))
        return;
    memcpy(folder, path, len);
    folder[len] = '\0';
    watch_add_folder(watch, folder);
}

static void release(struct watch *watch)
{
    if (--watch->open_handles == 0)
        free(watch);
}

static void on_closed(uv_handle_t *handle)
{
    struct folder *folder = container_of((uv_fs_event_t *)handle, struct folder, event);
    struct watch *watch = folder->watch;
    free(folder);
    release(watch);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(container_of((uv_timer_t *)handle, struct watch, timer));
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    for (unsigned i = 0; i < watch->folder_count; i++)
        uv_close((uv_handle_t *)&watch->folders[i]->event, on_closed);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
