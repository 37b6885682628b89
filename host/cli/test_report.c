/* What became of the tests: TAP on stdout as they end, and a JUnit file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/test_internal.h"

int test_report_open(struct test_report *report, const char *junit_path)
{
    *report = (struct test_report){.colour = isatty(STDOUT_FILENO) != 0, .junit_path = junit_path};
    if (junit_path != NULL) {
        report->file = fopen(junit_path, "w");
        if (report->file == NULL)
            return cli_fault("--junit: %s cannot be written: %s", junit_path, strerror(errno));
        report->junit = open_memstream(&report->text, &report->len);
        if (report->junit == NULL)
            return cli_fault("out of memory");
    }
    puts("TAP version 13");
    return 0;
}

/* One line of TAP: '#' would begin a directive. */
static void print_name(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '#' || *text == '\\')
            putchar('\\');
        putchar(*text == '\n' || *text == '\r' ? ' ' : *text);
    }
}

/* Lines of a YAML block. */
static void print_text(struct str text)
{
    struct str line;
    puts("  ---\n  message: |");
    while (str_split_next(&text, '\n', &line))
        printf("    %.*s\n", STR_ARG(line));
    puts("  ...");
}

static void print_tap(const struct test_report *report, const struct test_result *result)
{
    unsigned number = report->passed + report->failed;
    const char *colour = !report->colour ? "" : result->passed ? "\033[32m" : "\033[31m";
    printf("%s%s%s %u - ", colour, result->passed ? "ok" : "not ok",
           report->colour ? "\033[0m" : "", number);
    print_name(result->file);
    fputs(": ", stdout);
    print_name(result->name);
    putchar('\n');
    if (!result->passed)
        print_text(result->failure);
    fflush(stdout);
}

/* Attribute values and text; characters that XML 1.0 has no place for become '?'. */
static void write_xml(FILE *out, struct str text)
{
    bool is_text = str_is_utf8(text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '&')
            fputs("&amp;", out);
        else if (c == '<')
            fputs("&lt;", out);
        else if (c == '>')
            fputs("&gt;", out);
        else if (c == '"')
            fputs("&quot;", out);
        else if (c == '\n')
            fputs("&#10;", out);
        else
            fputc((c < ' ' && c != '\t') || (c >= 128 && !is_text) ? '?' : c, out);
    }
}

static void write_junit(FILE *out, const struct test_result *result)
{
    fputs("<testcase classname=\"", out);
    write_xml(out, str_from(result->file));
    fputs("\" name=\"", out);
    write_xml(out, str_from(result->name));
    fprintf(out, "\" time=\"%.3f\"", result->seconds);
    if (result->passed) {
        fputs("/>\n", out);
        return;
    }
    fputs("><failure message=\"", out);
    write_xml(out, result->failure);
    fputs("\"/></testcase>\n", out);
}

void test_report_add(void *arg, const struct test_result *result)
{
    struct test_report *report = arg;
    report->passed += result->passed;
    report->failed += !result->passed;
    print_tap(report, result);
    if (report->junit != NULL)
        write_junit(report->junit, result);
}

int test_report_close(struct test_report *report)
{
    int rc = 0;
    if (report->passed + report->failed == 0)
        rc = cli_fault("there is no test of that name");
    printf("1..%u\n# %u passed, %u failed\n", report->passed + report->failed, report->passed,
           report->failed);
    if (report->junit != NULL) {
        /* Only now the counts are known, which come first. */
        bool good = fclose(report->junit) == 0;
        fprintf(report->file,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
                "<testsuite name=\"luafn\" tests=\"%u\" failures=\"%u\">\n",
                report->passed + report->failed, report->failed);
        fwrite(report->text, 1, report->len, report->file);
        fputs("</testsuite>\n</testsuites>\n", report->file);
        good = ferror(report->file) == 0 && good;
        if (fclose(report->file) != 0 || !good)
            rc = cli_fault("--junit: %s cannot be written", report->junit_path);
        free(report->text);
    }
    return fflush(stdout) == 0 ? rc : EXIT_FAULT;
}
