/* The files of a journal's folder, and their names, which sort by age. */
#pragma once

#include <stdint.h>

#include "base/limits.h"

/* 0000019ab3c4d5e6-003-1234-0.jsonl: time in ms, worker, process, count */
enum { JOURNAL_NAME_BYTES = 80, JOURNAL_DEV_FILES = 5 };

struct journal_file {
    char name[JOURNAL_NAME_BYTES];
    uint64_t size;
};

struct journal_files {
    struct journal_file *list; /* owned; the oldest first */
    unsigned count;
};

void journal_files_name(char out[JOURNAL_NAME_BYTES], uint64_t ms, unsigned worker, long process,
                        unsigned count);
/* 0, or a negative errno: nothing is to be freed. Past LIMIT_JOURNAL_FILES the rest is not seen. */
int journal_files_list(const char *folder, struct journal_files *out)
    __attribute__((warn_unused_result));
void journal_files_free(struct journal_files *files);
