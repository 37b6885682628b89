/* Files of records. */
#include "journal/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "journal/journal_files.h"

enum { PATH_BYTES = 4096, TELL_SECONDS = 60 };

struct journal {
    char folder[PATH_BYTES];
    unsigned worker, workers;
    struct journal_rules rules;
    struct redact_names *names; /* reference; NULL: none */
    uint64_t key[2];            /* of journal_hash */
    bool has_key;
    int fd;              /* of the file that is written; -1: none yet */
    uint64_t in_file;    /* bytes, */
    unsigned records;    /* and lines in it */
    uint64_t since_look; /* bytes written since the folder was looked at */
    uint64_t draws;      /* state of journal_draws */
    uint64_t lost;
    uint64_t told_ns; /* when that was last told */
};

/* ---- the key ---- */

static bool read_key(struct journal *journal, const char *path)
{
    struct buf text = BUF_INIT;
    bool ok = file_read_all(path, O_NOFOLLOW, sizeof(journal->key), &text) == 0 &&
              text.len == sizeof(journal->key);
    if (ok)
        memcpy(journal->key, text.data, sizeof(journal->key));
    buf_free(&text);
    return ok;
}

/* Whoever comes second reads what the first has made. */
static void open_key(struct journal *journal)
{
    char path[PATH_BYTES + 8], next[PATH_BYTES + 32];
    uint64_t fresh[2];
    snprintf(path, sizeof(path), "%s/key", journal->folder);
    journal->has_key = read_key(journal, path);
    if (journal->has_key || getrandom(fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh))
        return;
    snprintf(next, sizeof(next), "%s/key.%ld", journal->folder, (long)getpid());
    if (file_create(next, (struct str){(const char *)fresh, sizeof(fresh)}, 0600) == 0) {
        if (link(next, path) != 0 && errno != EEXIST)
            log_message(LOG_WARN, "the journal's key cannot be written: %s", strerror(errno));
        (void)unlink(next);
    }
    journal->has_key = read_key(journal, path);
}

uint64_t journal_hash(const struct journal *journal, struct str value)
{
    return journal->has_key ? siphash(journal->key, value).low : 0;
}

/* ---- life ---- */

struct journal *journal_new(const char *folder, unsigned worker, unsigned workers)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL)
        return NULL;
    snprintf(journal->folder, sizeof(journal->folder), "%s", folder);
    journal->worker = worker;
    journal->workers = workers > 0 ? workers : 1;
    journal->fd = -1;
    if (getrandom(&journal->draws, sizeof(journal->draws), 0) != (ssize_t)sizeof(journal->draws))
        journal->draws = clock_monotonic_ns();
    return journal;
}

static void close_file(struct journal *journal)
{
    if (journal->fd >= 0)
        (void)close(journal->fd);
    journal->fd = -1;
}

void journal_free(struct journal *journal)
{
    if (journal == NULL)
        return;
    close_file(journal);
    redact_names_unref(journal->names);
    free(journal);
}

int journal_set_rules(struct journal *journal, const struct journal_rules *rules,
                      const struct str *names, unsigned name_count)
{
    bool begins = rules->on && !journal->rules.on;
    redact_names_unref(journal->names);
    journal->names = redact_names_new(names, name_count);
    journal->rules = *rules;
    if (journal->names == NULL)
        journal->rules.on = false;
    if (begins && mkdir(journal->folder, 0700) != 0 && errno != EEXIST)
        log_message(LOG_WARN, "the journal's folder %s cannot be made: %s", journal->folder,
                    strerror(errno));
    if (begins)
        open_key(journal);
    return journal->names != NULL ? 0 : -ENOMEM;
}

const struct journal_rules *journal_rules(const struct journal *journal)
{
    return &journal->rules;
}

struct redact_names *journal_names(struct journal *journal)
{
    return redact_names_ref(journal->names);
}

/* xorshift64*: no secret, only a fair share. */
bool journal_draws(struct journal *journal)
{
    uint64_t x = journal->draws | 1;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    journal->draws = x;
    return (double)(x * 2685821657736338717u >> 11) / 9007199254740992.0 < journal->rules.sample;
}

/* ---- room ---- */

/* What may be there after a look, so that until the next one no worker comes over `keep`. */
static uint64_t room_of(const struct journal *journal)
{
    uint64_t keep = journal->rules.keep;
    uint64_t ahead = keep / 8 + journal->workers * (uint64_t)LIMIT_JOURNAL_RECORD;
    return ahead < keep - keep / 4 ? keep - ahead : keep / 4;
}

static void drop_file(const struct journal *journal, const struct journal_file *file)
{
    char path[PATH_BYTES + JOURNAL_NAME_BYTES + 1];
    snprintf(path, sizeof(path), "%s/%s", journal->folder, file->name);
    (void)unlink(path);
}

/* The oldest files go first; the newest one is never dropped. */
static void look_at_folder(struct journal *journal)
{
    struct journal_files files;
    journal->since_look = 0;
    if (journal_files_list(journal->folder, &files) != 0)
        return;
    uint64_t room = room_of(journal), sum = 0;
    for (unsigned i = files.count; i > 0; i--) {
        sum += files.list[i - 1].size;
        bool old = journal->rules.all &&
                   files.count - i > JOURNAL_DEV_FILES; /* these hold enough records */
        if (i < files.count && (sum > room || old))
            drop_file(journal, &files.list[i - 1]);
    }
    journal_files_free(&files);
}

/* ---- writing ---- */

static bool is_full(const struct journal *journal)
{
    return journal->in_file > journal->rules.keep / (16 * (uint64_t)journal->workers) ||
           (journal->rules.all && journal->records >= LIMIT_JOURNAL_DEV / JOURNAL_DEV_FILES);
}

/* In `dev`, whose files hold so many records each, the newest one is gone on with. A record that
 * was cut off there ends with its line. */
static bool go_on(struct journal *journal)
{
    struct journal_files files;
    char path[PATH_BYTES + JOURNAL_NAME_BYTES + 1];
    struct buf text = BUF_INIT;
    if (!journal->rules.all || journal_files_list(journal->folder, &files) != 0)
        return false;
    if (files.count > 0) {
        snprintf(path, sizeof(path), "%s/%s", journal->folder, files.list[files.count - 1].name);
        if (file_read_all(path, O_NOFOLLOW, LIMIT_JOURNAL_DEV_BYTES / 4, &text) == 0)
            journal->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    }
    journal_files_free(&files);
    journal->in_file = text.len;
    journal->records = (unsigned)str_count(buf_str(&text), '\n');
    if (journal->fd >= 0 && text.len > 0 && text.data[text.len - 1] != '\n' &&
        write(journal->fd, "\n", 1) != 1)
        close_file(journal);
    buf_free(&text);
    if (journal->fd >= 0 && is_full(journal))
        close_file(journal);
    return journal->fd >= 0;
}

static void open_file(struct journal *journal)
{
    char path[PATH_BYTES + JOURNAL_NAME_BYTES + 1], name[JOURNAL_NAME_BYTES];
    static unsigned count;
    if (count == 0 && go_on(journal))
        return;
    journal_files_name(name, (uint64_t)(clock_now() * 1000), journal->worker, (long)getpid(),
                       count++);
    snprintf(path, sizeof(path), "%s/%s", journal->folder, name);
    journal->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    journal->in_file = 0;
    journal->records = 0;
    look_at_folder(journal);
}

static void lose(struct journal *journal, int fault)
{
    uint64_t now = clock_monotonic_ns();
    journal->lost++;
    close_file(journal);
    if (journal->told_ns != 0 && now - journal->told_ns < TELL_SECONDS * 1000000000ull)
        return;
    journal->told_ns = now;
    log_message(LOG_ERROR, "the journal in %s lost %" PRIu64 " records: %s", journal->folder,
                journal->lost, strerror(fault));
}

void journal_write(struct journal *journal, struct str line)
{
    struct buf text = BUF_INIT;
    buf_add_str(&text, line);
    buf_add_char(&text, '\n');
    if (journal->fd >= 0 && is_full(journal))
        close_file(journal);
    if (journal->fd < 0)
        open_file(journal);
    if (journal->since_look > journal->rules.keep / (8 * (uint64_t)journal->workers))
        look_at_folder(journal);
    ssize_t n = -1;
    errno = ENOMEM;
    if (!buf_failed(&text))
        n = write(journal->fd, text.data, text.len);
    if (n != (ssize_t)text.len)
        lose(journal, n < 0 ? errno : ENOSPC);
    journal->in_file += text.len;
    journal->since_look += text.len;
    journal->records++;
    buf_free(&text);
}
