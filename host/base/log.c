/* One line an event.
 *
 * The settings are the process's, as its stderr is. Access lines are gathered and written once a
 * loop turn: a write(2) per request would cost more than the rest of a small request's bookkeeping.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log_sink.h"

enum { HELD_MAX = 64 * 1024 };

static enum log_format current_format = LOG_FORMAT_JSON;
static enum log_level lowest_level = LOG_INFO;
static bool coloured[STDERR_FILENO + 1]; /* by descriptor */
static struct buf held;                  /* access lines of this loop turn */
static uint64_t dropped;
static time_t kept_second; /* what add_time has kept, in the present format */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* SGR codes of ECMA-48. */
static const char *const level_colours[] = {"2", "36", "33", "31"};

/* https://no-color.org */
static bool may_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return (no_color == NULL || no_color[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0) && isatty(fd) == 1;
}

void log_setup(enum log_format format, enum log_level lowest)
{
    current_format = format;
    lowest_level = lowest;
    kept_second = 0;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        coloured[fd] = format == LOG_FORMAT_TEXT && may_colour(fd);
}

static void add_coloured(struct log_line *line, const char *colour, const char *text)
{
    if (coloured[line->fd])
        buf_printf(&line->buf, "\033[%sm%s\033[0m", colour, text);
    else
        buf_add_str(&line->buf, str_from(text));
}

enum log_format log_format(void)
{
    return current_format;
}

bool log_wants(enum log_level level)
{
    return level >= lowest_level;
}

/* "2026-01-02T03:04:05.678Z", for people the machine's own "03:04:05.678"; the part up to the
 * seconds is kept, as it changes once a second. */
static void add_time(struct buf *buf)
{
    static char kept_text[24];
    bool text = current_format == LOG_FORMAT_TEXT;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != kept_second) {
        struct tm tm;
        text ? localtime_r(&now.tv_sec, &tm) : gmtime_r(&now.tv_sec, &tm);
        strftime(kept_text, sizeof(kept_text), text ? "%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &tm);
        kept_second = now.tv_sec;
    }
    buf_add_str(buf, str_from(kept_text));
    long ms = now.tv_nsec / 1000000;
    const char fraction[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                             (char)('0' + ms % 10), 'Z'};
    buf_add(buf, fraction, text ? sizeof(fraction) - 1 : sizeof(fraction));
}

static void add_key(struct log_line *line, const char *key)
{
    if (current_format == LOG_FORMAT_TEXT) {
        buf_add_char(&line->buf, ' ');
        buf_add_str(&line->buf, str_from(key));
        buf_add_char(&line->buf, '=');
    } else {
        buf_add(&line->buf, ",\"", 2);
        buf_add_str(&line->buf, str_from(key));
        buf_add(&line->buf, "\":", 2);
    }
}

void log_begin(struct log_line *line, enum log_level level, const char *message)
{
    *line = (struct log_line){.buf = BUF_INIT, .tail = BUF_INIT, .fd = STDERR_FILENO};
    if (current_format == LOG_FORMAT_TEXT) {
        char name[8];
        snprintf(name, sizeof(name), "%-5s", level_names[level]);
        add_time(&line->buf);
        buf_add_char(&line->buf, ' ');
        add_coloured(line, level_colours[level], name);
        buf_add_char(&line->buf, ' ');
        buf_add_str(&line->buf, str_from(message));
        return;
    }
    buf_add_str(&line->buf, STR("{\"time\":\""));
    add_time(&line->buf);
    buf_printf(&line->buf, "\",\"level\":\"%s\",\"msg\":", level_names[level]);
    buf_add_json(&line->buf, str_from(message));
}

void log_begin_access(struct log_line *line)
{
    *line =
        (struct log_line){.buf = held, .tail = BUF_INIT, .start = held.len, .fd = STDOUT_FILENO};
    held = BUF_INIT;
    if (current_format == LOG_FORMAT_TEXT) {
        add_time(&line->buf);
        return;
    }
    buf_add_str(&line->buf, STR("{\"time\":\""));
    add_time(&line->buf);
    buf_add_char(&line->buf, '"');
}

void log_status(struct log_line *line, int status)
{
    static const char *const colours[] = {"0", "0", "32", "36", "33", "31"};
    char text[16];
    snprintf(text, sizeof(text), "%d", status);
    add_coloured(line, status >= 100 && status < 600 ? colours[status / 100] : "0", text);
}

/* Text lines quote only what needs it. */
static bool is_plain(struct str s)
{
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == '"' || (unsigned char)s.ptr[i] >= 0x7f)
            return false;
    }
    return true;
}

/* Indented, and without what moves the cursor. */
static void add_below(struct log_line *line, struct str value)
{
    struct str one;
    while (str_split_next(&value, '\n', &one)) {
        buf_add_str(&line->tail, STR("\n    "));
        for (size_t i = 0; i < one.len; i++) {
            bool shown = (unsigned char)one.ptr[i] >= ' ' || one.ptr[i] == '\t';
            buf_add_char(&line->tail, shown ? one.ptr[i] : '?');
        }
    }
}

void log_str(struct log_line *line, const char *key, struct str value)
{
    if (current_format == LOG_FORMAT_TEXT && str_find(value, '\n') < value.len) {
        add_below(line, value);
        return;
    }
    add_key(line, key);
    if (current_format == LOG_FORMAT_TEXT && is_plain(value))
        buf_add_str(&line->buf, value);
    else
        buf_add_json(&line->buf, value);
}

void log_int(struct log_line *line, const char *key, int64_t value)
{
    add_key(line, key);
    buf_add_integer(&line->buf, value);
}

void log_decimal(struct log_line *line, const char *key, uint64_t value, int decimals)
{
    add_key(line, key);
    buf_add_decimal(&line->buf, false, value, decimals);
}

void log_json(struct log_line *line, const char *key, struct str json)
{
    add_key(line, key);
    buf_add_str(&line->buf, json);
}

/* The line joins those that are held, or is cut off again. */
static void hold(struct log_line *line)
{
    held = line->buf;
    if (buf_failed(&held)) {
        held.failed = false;
        held.len = line->start;
        dropped++;
    }
    if (held.len >= HELD_MAX)
        log_flush();
}

void log_end(struct log_line *line)
{
    if (current_format != LOG_FORMAT_TEXT)
        buf_add_char(&line->buf, '}');
    buf_add_str(&line->buf, buf_str(&line->tail));
    buf_free(&line->tail);
    buf_add_char(&line->buf, '\n');
    if (line->fd == STDOUT_FILENO) {
        hold(line);
        return;
    }
    if (buf_failed(&line->buf))
        dropped++;
    else
        dropped += log_sink_write(line->fd, buf_str(&line->buf));
    buf_free(&line->buf);
}

void log_flush(void)
{
    if (held.len == 0)
        return;
    dropped += log_sink_write(STDOUT_FILENO, buf_str(&held));
    buf_clear(&held);
}

void log_message(enum log_level level, const char *format, ...)
{
    if (!log_wants(level))
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct log_line line;
    log_begin(&line, level, text);
    log_end(&line);
}

uint64_t log_dropped(void)
{
    return dropped;
}
