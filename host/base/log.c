/* One line an event.
 *
 * The settings are the process's, as its stderr is. Access lines are gathered and written once a
 * loop turn: a write(2) per request would cost more than the rest of a small request's bookkeeping.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log_sink.h"

enum { HELD_MAX = 64 * 1024 };

static enum log_format current_format = LOG_FORMAT_JSON;
static enum log_level lowest_level = LOG_INFO;
static struct buf held; /* access lines of this loop turn */
static uint64_t dropped;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_format format, enum log_level lowest)
{
    current_format = format;
    lowest_level = lowest;
}

enum log_format log_format(void)
{
    return current_format;
}

bool log_wants(enum log_level level)
{
    return level >= lowest_level;
}

/* "2026-01-02T03:04:05.678Z"; the part up to the seconds is kept, as it changes once a second. */
static void add_time(struct buf *buf)
{
    static time_t kept_second;
    static char kept_text[24];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != kept_second) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        strftime(kept_text, sizeof(kept_text), "%Y-%m-%dT%H:%M:%S", &tm);
        kept_second = now.tv_sec;
    }
    buf_add_str(buf, str_from(kept_text));
    long ms = now.tv_nsec / 1000000;
    const char fraction[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                             (char)('0' + ms % 10), 'Z'};
    buf_add(buf, fraction, sizeof(fraction));
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
    line->buf = BUF_INIT;
    line->start = 0;
    line->fd = STDERR_FILENO;
    if (current_format == LOG_FORMAT_TEXT) {
        buf_printf(&line->buf, "%-5s %s", level_names[level], message);
        return;
    }
    buf_add_str(&line->buf, STR("{\"time\":\""));
    add_time(&line->buf);
    buf_printf(&line->buf, "\",\"level\":\"%s\",\"msg\":", level_names[level]);
    buf_add_json(&line->buf, str_from(message));
}

void log_begin_access(struct log_line *line)
{
    line->buf = held;
    line->start = held.len;
    line->fd = STDOUT_FILENO;
    held = BUF_INIT;
    if (current_format == LOG_FORMAT_TEXT)
        return;
    buf_add_str(&line->buf, STR("{\"time\":\""));
    add_time(&line->buf);
    buf_add_char(&line->buf, '"');
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

void log_str(struct log_line *line, const char *key, struct str value)
{
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
