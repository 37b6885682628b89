/* A packed deployment, as it lies behind a program in one file:
 *
 *   program | contents | list | footer
 *
 * The contents are the files, one behind the other, in the order of the list. The list is text:
 *
 *   luafn pack 1
 *   program SHA256 BYTES
 *   config NAME                        the file that `--config` would name
 *   SHA256 BYTES SECONDS NAME          a line a file, by the order of their names; SECONDS: since
 *                                      1970, when it was changed
 *
 * The footer has 128 bytes: "LUAFN-PACK-1" and four zeros, the sizes of program and list (8 bytes
 * each, the lowest first), an Ed25519 key (32) and its signature over the list (64). So the
 * signature speaks for all: for the list itself, and by their hashes for program and files.
 *
 * Whoever reads it takes nothing for granted: sizes add up to the byte, names lead down from the
 * folder that they are unpacked in, and nothing is given out whose hash is another. */
#pragma once

#include "auth/key.h"
#include "base/buf.h"
#include "base/err.h"

enum { PACK_ARCHIVE_FOOTER = 128, PACK_ARCHIVE_KEY = 32, PACK_ARCHIVE_HASH_HEX = 65 };

struct pack_file {
    struct str name, bytes; /* in the archive's */
    double changed;         /* seconds since 1970 */
};

struct pack_archive {
    uint64_t program_len;
    char program_hash[PACK_ARCHIVE_HASH_HEX]; /* as the list has it; nobody has looked */
    unsigned char key[PACK_ARCHIVE_KEY];      /* whose signature it has */
    struct str config;                        /* the name of one of the files */
    struct pack_file *files;                  /* owned */
    unsigned file_count;
    struct buf bytes; /* owned, where it came from a file */
};

/* May a file of an archive have that name? It leads down, has no `.` or `..` in it and no control
 * characters. */
bool pack_archive_name_is_good(struct str name);

/* Reads what follows a program of that size, to the end of the file, and checks all of it.
 * `bytes` are borrowed. 0, or a negative errno with the reason. */
int pack_archive_read(struct str bytes, uint64_t program_len, struct pack_archive *out,
                      struct err *err) __attribute__((warn_unused_result));

/* The same of an open file. -ENOENT, without a reason: there is no archive in it. */
int pack_archive_open(int fd, struct pack_archive *out, struct err *err)
    __attribute__((warn_unused_result));
void pack_archive_free(struct pack_archive *archive);

/* How much of the open file is program: all, where there is no archive behind it. 0 or a negative
 * errno with the reason. */
int pack_archive_program(int fd, uint64_t *out, struct err *err)
    __attribute__((warn_unused_result));

/* Begins a list, and appends a line to it. */
void pack_archive_begin(struct buf *list, struct str program, struct str config);
void pack_archive_add(struct buf *list, const struct pack_file *file);

/* Appends the footer for a list; the key is an Ed25519 key that can sign. 0 or a negative errno
 * with the reason. */
int pack_archive_sign(struct str list, uint64_t program_len, struct key *key, struct buf *out,
                      struct err *err) __attribute__((warn_unused_result));

/* The 32 bytes of an Ed25519 key; -EINVAL for any other. */
int pack_archive_key(const struct key *key, unsigned char out[PACK_ARCHIVE_KEY])
    __attribute__((warn_unused_result));

/* SHA-256 as the list has it. */
void pack_archive_hash(struct str bytes, char out[PACK_ARCHIVE_HASH_HEX]);
