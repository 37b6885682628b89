/* One line an event: JSON for machines, or text for people.
 *
 * A line is built on the stack of the caller's choosing and written with one write(2):
 *
 *     struct log_line line;
 *     log_begin(&line, LOG_WARN, "keys refreshed late");
 *     log_str(&line, "issuer", issuer);
 *     log_int(&line, "age", age);
 *     log_end(&line);
 *
 * Events go to stderr, the access log to stdout. A line that cannot be written at once is
 * counted and lost (log_sink.h). Never log a token, a key or a whole header. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT, LOG_FORMAT_NONE };

struct log_line {
    struct buf buf;  /* owned until log_end; of an access line, behind those that are held */
    struct buf tail; /* owned: for people, the lines below the first one */
    size_t start;    /* of the line in it */
    int fd;
};

/* For the whole process. LOG_FORMAT_NONE silences the access log; events stay, as JSON. Text has
 * colours on a terminal, unless NO_COLOR is set or TERM is "dumb". Default: JSON, LOG_INFO. */
void log_setup(enum log_format format, enum log_level lowest);
enum log_format log_format(void);
bool log_wants(enum log_level level);

/* An event line; `message` is a constant sentence without a period. */
void log_begin(struct log_line *line, enum log_level level, const char *message);
/* An access line; one at a time. */
void log_begin_access(struct log_line *line);
/* The status of an access line in text, coloured by its kind. */
void log_status(struct log_line *line, int status);

/* A value of several lines, such as a trace, stands below the line in text. */
void log_str(struct log_line *line, const char *key, struct str value);
void log_int(struct log_line *line, const char *key, int64_t value);
/* `value` over ten to the `decimals`. */
void log_decimal(struct log_line *line, const char *key, uint64_t value, int decimals);
/* `json` must be one valid JSON value. */
void log_json(struct log_line *line, const char *key, struct str json);

/* Writes the line and frees it. */
void log_end(struct log_line *line);

/* A line without fields, printf style. */
void log_message(enum log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes out access lines that are held back to be written together; the loop calls it once a turn.
 */
void log_flush(void);

/* Lines lost since start because they could not be written. */
uint64_t log_dropped(void);
