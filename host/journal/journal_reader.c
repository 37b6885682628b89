/* Lines of records, from the end or as they come. */
#include "journal/journal_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

enum { PATH_BYTES = 4096 + JOURNAL_NAME_BYTES, PIECE = 256 * 1024 };

#define FILE_MAX ((size_t)1 << 40)

static const struct str head = {"{\"v\":1,\"id\":\"", 13};

bool journal_is_readable(struct str line)
{
    return str_starts_with(line, head) && str_ends_with(line, STR("}"));
}

bool journal_is_record(struct str line, struct str id)
{
    if (!journal_is_readable(line))
        return false;
    line = str_skip(line, head.len);
    return str_starts_with(line, id) && line.len > id.len && line.ptr[id.len] == '"';
}

/* From the last line to the first. */
static bool read_lines(struct str text, journal_line *fn, void *arg)
{
    while (text.len > 0) {
        size_t end = text.len, start;
        if (text.ptr[end - 1] == '\n')
            end--;
        for (start = end; start > 0 && text.ptr[start - 1] != '\n';)
            start--;
        if (end > start && !fn(arg, (struct str){text.ptr + start, end - start}))
            return false;
        text.len = start;
    }
    return true;
}

int journal_read(const char *folder, journal_line *fn, void *arg)
{
    struct journal_files files;
    int rc = journal_files_list(folder, &files);
    if (rc != 0)
        return rc;
    bool more = true;
    for (unsigned i = files.count; more && i > 0; i--) {
        char path[PATH_BYTES + 1];
        struct buf text = BUF_INIT;
        snprintf(path, sizeof(path), "%s/%s", folder, files.list[i - 1].name);
        rc = file_read_all(path, O_NOFOLLOW, FILE_MAX, &text);
        if (rc == 0)
            more = read_lines(buf_str(&text), fn, arg);
        buf_free(&text);
        if (rc == -ENOMEM)
            break;
        rc = 0;
    }
    journal_files_free(&files);
    return rc;
}

/* ---- following ---- */

int journal_follow(struct journal_follower *f, const char *folder)
{
    *f = (struct journal_follower){.folder = folder, .text = BUF_INIT};
    int rc = journal_files_list(folder, &f->seen);
    return rc == -ENOENT ? 0 : rc;
}

static uint64_t read_so_far(const struct journal_follower *f, const char *name)
{
    for (unsigned i = 0; i < f->seen.count; i++) {
        if (strcmp(f->seen.list[i].name, name) == 0)
            return f->seen.list[i].size;
    }
    return 0;
}

/* Tells the whole lines behind `from`; returns how far that was. */
static uint64_t tell_lines(struct journal_follower *f, const char *name, uint64_t from,
                           journal_line *fn, void *arg)
{
    char path[PATH_BYTES + 1];
    snprintf(path, sizeof(path), "%s/%s", f->folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return from;
    buf_clear(&f->text);
    ssize_t n = 1;
    for (uint64_t at = from; n > 0 && buf_reserve(&f->text, PIECE) == 0; at += (uint64_t)n) {
        n = pread(fd, f->text.data + f->text.len, PIECE, (off_t)at);
        if (n <= 0)
            break;
        f->text.len += (size_t)n;
        struct str rest = buf_str(&f->text);
        size_t used = 0, end;
        while ((end = str_find(rest, '\n')) < rest.len) {
            if (end > 0)
                fn(arg, (struct str){rest.ptr, end});
            rest = str_skip(rest, end + 1);
            used += end + 1;
        }
        buf_consume(&f->text, used);
        from += used;
    }
    close(fd);
    return from;
}

void journal_follow_next(struct journal_follower *f, journal_line *fn, void *arg)
{
    struct journal_files now;
    if (journal_files_list(f->folder, &now) != 0)
        return;
    for (unsigned i = 0; i < now.count; i++) {
        uint64_t from = read_so_far(f, now.list[i].name);
        now.list[i].size =
            now.list[i].size > from ? tell_lines(f, now.list[i].name, from, fn, arg) : from;
    }
    journal_files_free(&f->seen);
    f->seen = now;
}

void journal_follow_end(struct journal_follower *f)
{
    journal_files_free(&f->seen);
    buf_free(&f->text);
}
