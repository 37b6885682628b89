/* Prometheus' text as metrics of OTLP. */
#include "otlp/otlp_metrics.h"

#include <stdlib.h>
#include <string.h>

enum { CUMULATIVE = 2, BUCKETS_MAX = 32, LABEL_MAX = 256 };

/* "luafn_x{a=\"b\",le=\"1\"} 2" */
struct sample {
    struct str name, labels, value;
};

struct walk {
    struct otlp_writer *w;
    uint64_t since, now;
    struct str text;
    struct str help, name, type; /* of the metric under way */
    uint64_t counts[BUCKETS_MAX];
    double bounds[BUCKETS_MAX];
    unsigned buckets;
    double sum;
};

static bool next_line(struct walk *walk, struct str *line)
{
    return walk->text.len > 0 && str_split_next(&walk->text, '\n', line);
}

static struct sample read_sample(struct str line)
{
    size_t space = line.len;
    while (space > 0 && line.ptr[space - 1] != ' ')
        space--;
    struct sample s = {.value = str_skip(line, space)};
    struct str rest = {line.ptr, space > 0 ? space - 1 : 0};
    size_t brace = str_find(rest, '{');
    s.name = (struct str){rest.ptr, brace};
    if (brace + 1 < rest.len)
        s.labels = (struct str){rest.ptr + brace + 1, rest.len - brace - 2};
    return s;
}

static double number_of(struct str text)
{
    char copy[64];
    size_t len = text.len < sizeof(copy) ? text.len : sizeof(copy) - 1;
    memcpy(copy, text.ptr, len);
    copy[len] = '\0';
    return strtod(copy, NULL); /* also "+Inf" */
}

/* The next label, its value without the escapes. */
static bool next_label(struct str *labels, char key[LABEL_MAX], struct buf *value)
{
    size_t equals = str_find(*labels, '=');
    if (equals >= LABEL_MAX || equals + 1 >= labels->len)
        return false;
    memcpy(key, labels->ptr, equals);
    key[equals] = '\0';
    size_t at = equals + 2;
    buf_clear(value);
    for (; at < labels->len && labels->ptr[at] != '"'; at++) {
        bool escaped = labels->ptr[at] == '\\' && at + 1 < labels->len;
        at += escaped;
        buf_add_char(value, escaped && labels->ptr[at] == 'n' ? '\n' : labels->ptr[at]);
    }
    at++;
    at += at < labels->len && labels->ptr[at] == ',';
    *labels = at < labels->len ? str_skip(*labels, at) : (struct str){NULL, 0};
    return true;
}

/* All labels but a bucket's bound. */
static void write_labels(struct walk *walk, unsigned field, struct str labels)
{
    char key[LABEL_MAX];
    struct buf value = BUF_INIT;
    otlp_list(walk->w, "attributes");
    while (labels.len > 0 && next_label(&labels, key, &value)) {
        if (strcmp(key, "le") != 0)
            otlp_attribute(walk->w, field, key, buf_str(&value));
    }
    otlp_list_end(walk->w);
    buf_free(&value);
}

/* NumberDataPoint */
static void write_number(struct walk *walk, const struct sample *s)
{
    uint64_t whole;
    size_t mark = otlp_open(walk->w, 1, NULL);
    write_labels(walk, 7, s->labels);
    otlp_fixed64(walk->w, 2, "startTimeUnixNano", walk->since);
    otlp_fixed64(walk->w, 3, "timeUnixNano", walk->now);
    if (str_to_u64(s->value, INT64_MAX, &whole) == 0)
        otlp_fixed64(walk->w, 6, "asInt", whole);
    else
        otlp_double(walk->w, 4, "asDouble", number_of(s->value));
    otlp_close(walk->w, mark);
}

/* HistogramDataPoint: its last line is there. Counts are each bucket's own here. */
static void write_histogram(struct walk *walk, const struct sample *s)
{
    uint64_t before = 0, total = walk->buckets > 0 ? walk->counts[walk->buckets - 1] : 0;
    for (unsigned i = 0; i < walk->buckets; i++) {
        uint64_t count = walk->counts[i] - before;
        before = walk->counts[i];
        walk->counts[i] = count;
    }
    size_t mark = otlp_open(walk->w, 1, NULL);
    write_labels(walk, 9, s->labels);
    otlp_fixed64(walk->w, 2, "startTimeUnixNano", walk->since);
    otlp_fixed64(walk->w, 3, "timeUnixNano", walk->now);
    otlp_fixed64(walk->w, 4, "count", total);
    otlp_double(walk->w, 5, "sum", walk->sum);
    otlp_fixed64s(walk->w, 6, "bucketCounts", walk->counts, walk->buckets);
    otlp_doubles(walk->w, 7, "explicitBounds", walk->bounds,
                 walk->buckets > 0 ? walk->buckets - 1 : 0);
    otlp_close(walk->w, mark);
    walk->buckets = 0;
}

static void take_bucket(struct walk *walk, const struct sample *s)
{
    size_t at = str_find_text(s->labels, STR("le=\""));
    if (at == s->labels.len || walk->buckets == BUCKETS_MAX)
        return;
    struct str bound = str_skip(s->labels, at + 4);
    bound.len = str_find(bound, '"');
    walk->bounds[walk->buckets] = number_of(bound);
    walk->counts[walk->buckets++] = (uint64_t)number_of(s->value);
}

static void take_sample(struct walk *walk, struct str line)
{
    struct sample s = read_sample(line);
    if (!str_eq(walk->type, STR("histogram")))
        write_number(walk, &s);
    else if (str_ends_with(s.name, STR("_bucket")))
        take_bucket(walk, &s);
    else if (str_ends_with(s.name, STR("_sum")))
        walk->sum = number_of(s.value);
    else
        write_histogram(walk, &s);
}

static struct str unit_of(struct str name)
{
    return str_ends_with(name, STR("_seconds"))             ? STR("s")
           : str_ends_with(name, STR("_bytes"))             ? STR("By")
           : str_ends_with(name, STR("_nanoseconds_total")) ? STR("ns")
                                                            : STR("1");
}

/* Metric { name = 1, description = 2, unit = 3, gauge = 5, sum = 7, histogram = 9 }, with all lines
 * up to the next one's. */
static void write_metric(struct walk *walk)
{
    struct otlp_writer *w = walk->w;
    bool counter = str_eq(walk->type, STR("counter"));
    bool histogram = str_eq(walk->type, STR("histogram"));
    size_t mark = otlp_open(w, 2, NULL);
    otlp_text(w, 1, "name", walk->name);
    otlp_text(w, 2, "description", walk->help);
    otlp_text(w, 3, "unit", unit_of(walk->name));
    size_t data = counter     ? otlp_open(w, 7, "sum")
                  : histogram ? otlp_open(w, 9, "histogram")
                              : otlp_open(w, 5, "gauge");
    otlp_list(w, "dataPoints");
    while (walk->text.len > 0 && walk->text.ptr[0] != '#') {
        struct str line;
        if (next_line(walk, &line) && line.len > 0)
            take_sample(walk, line);
    }
    otlp_list_end(w);
    if (counter || histogram)
        otlp_enum(w, 2, "aggregationTemporality", CUMULATIVE);
    if (counter)
        otlp_true(w, 3, "isMonotonic");
    otlp_close(w, data);
    otlp_close(w, mark);
}

/* "# TYPE name counter": what stands behind the name. */
static struct str rest_of(struct str line, struct str *name)
{
    line = str_skip(line, strlen("# TYPE "));
    *name = (struct str){line.ptr, str_find(line, ' ')};
    return name->len < line.len ? str_skip(line, name->len + 1) : STR("");
}

unsigned otlp_metrics_write(struct otlp_writer *w, struct str text, uint64_t since, uint64_t now)
{
    struct walk walk = {.w = w, .since = since, .now = now, .text = text};
    struct str line, name;
    unsigned count = 0;
    while (next_line(&walk, &line)) {
        if (str_starts_with(line, STR("# HELP "))) {
            walk.help = rest_of(line, &name);
        } else if (str_starts_with(line, STR("# TYPE "))) {
            walk.type = rest_of(line, &walk.name);
            write_metric(&walk);
            count++;
        }
    }
    return count;
}
