/* Which files a journal's folder has. */
#include "journal/journal_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

#define SUFFIX ".jsonl"

void journal_files_name(char out[JOURNAL_NAME_BYTES], uint64_t ms, unsigned worker, long process,
                        unsigned count)
{
    snprintf(out, JOURNAL_NAME_BYTES, "%016" PRIx64 "-%03u-%ld-%u" SUFFIX, ms, worker, process,
             count);
}

static int by_name(const void *a, const void *b)
{
    const struct journal_file *first = a, *second = b;
    return strcmp(first->name, second->name);
}

/* A file that went meanwhile is none. */
static bool look(int folder, const char *name, struct journal_file *out)
{
    struct stat st;
    struct str text = str_from(name);
    if (!str_ends_with(text, STR(SUFFIX)) || text.len >= sizeof(out->name) ||
        fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return false;
    memcpy(out->name, name, text.len + 1);
    out->size = (uint64_t)st.st_size;
    return true;
}

int journal_files_list(const char *folder, struct journal_files *out)
{
    DIR *dir = opendir(folder);
    *out = (struct journal_files){NULL, 0};
    if (dir == NULL)
        return -errno;
    unsigned room = 0;
    int rc = 0;
    for (const struct dirent *entry; rc == 0 && (entry = readdir(dir)) != NULL;) {
        if (out->count == room && room < LIMIT_JOURNAL_FILES) {
            room = room > 0 ? 2 * room : 32;
            struct journal_file *list = realloc(out->list, room * sizeof(*list));
            if (list == NULL)
                rc = -ENOMEM;
            else
                out->list = list;
        }
        if (rc == 0 && out->count < room && look(dirfd(dir), entry->d_name, &out->list[out->count]))
            out->count++;
    }
    closedir(dir);
    if (rc != 0)
        journal_files_free(out);
    else if (out->count > 0)
        qsort(out->list, out->count, sizeof(*out->list), by_name);
    return rc;
}

void journal_files_free(struct journal_files *files)
{
    free(files->list);
    *files = (struct journal_files){NULL, 0};
}
