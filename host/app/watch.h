/* Notices that files change: directory watches for speed, a look at the content for certainty.
 *
 * inotify follows inodes, loses events when its queue overflows and says nothing on some file
 * systems; so the owner compares contents on each hint, and anyway once in a while. Folders are
 * watched, not files: editors replace files. */
#pragma once

#include <uv.h>

struct watch;

/* Calls `changed` soon after something happened in a watched folder (several events at once give
 * one call), and once in a while anyway. NULL when out of memory. */
struct watch *watch_new(uv_loop_t *loop, void (*changed)(void *arg), void *arg);

/* Watches that folder, or that of the file, from now on. What is watched already is ignored, unless
 * another folder has taken the place of the one of that name; so is what cannot be watched. */
void watch_add_folder(struct watch *watch, const char *path);
void watch_add_file(struct watch *watch, const char *path);

/* Frees when its handles are closed. NULL is fine. */
void watch_free(struct watch *watch);
