/* What the files of `luafn test` share.
 *
 * Each test has a world of its own: an app without a port (cli/local.h), in which the test's file
 * is loaded as one more function. The test runs as a call of that function, so that limits, waiting
 * and cancelling are those of any other; what it calls by name runs as it would in the host. */
#pragma once

#include <stdio.h>

#include "cli/local.h"
#include "cli/migrations.h"
#include "run/invocation.h"

#define TEST_FUNCTION "luafn-test" /* under which a test's file is loaded */

/* One test; the binding finds it as test_now. */
struct test_case {
    struct local local;
    unsigned index;     /* of the test in its file, from 1; 0: the file is only loaded */
    unsigned count;     /* tests that the file has named so far */
    struct buf names;   /* owned: their names, each with its NUL */
    struct buf failure; /* owned: why it failed; empty: it did not */
    struct buf
        env; /* owned: what it wants before anything loads: "NAME=value", each with its NUL */
    struct invocation *run; /* the test's; NULL: it does not run */
    struct invocation_ending run_ending;
    struct list flights; /* fetches that wait for the test's answer */
    unsigned last_flight;
    struct client_fake fake;
};

extern struct test_case *test_now; /* NULL: none */

/* test_api.c: the bindings of the host, and `test`. */
extern const struct binding *test_bindings(void);

/* test_fetch.c: fetch answered by the test. */
void test_fetch_open(struct test_case *test);
void test_fetch_close(struct test_case *test);
int l_test_on_fetch(lua_State *L);
int l_test_answer(lua_State *L);
int l_test_fail(lua_State *L);
int l_test_unanswered(lua_State *L);

/* test_run.c */
struct test_options {
    const char *config_file;
    double timeout;     /* seconds a test */
    const char *filter; /* only tests whose name contains this; NULL: all */
    const struct migrations *migrations;
};

/* What became of one test; texts are valid during the call. */
struct test_result {
    const char *file, *name;
    bool passed;
    struct str failure;
    double seconds;
};

/* Runs all tests of the file; `report` is told of each. 0, or EXIT_FAULT when it cannot be run at
 * all, which `report` was told as well. */
int test_run_file(const struct test_options *options, const char *file,
                  void (*report)(void *arg, const struct test_result *result), void *arg);

/* test_report.c */
struct test_report {
    unsigned passed, failed;
    bool colour;
    FILE *file;  /* owned; NULL: none */
    FILE *junit; /* owned: what goes into it, in `text` */
    char *text;
    size_t len;
    const char *junit_path;
};

int test_report_open(struct test_report *report, const char *junit_path);
void test_report_add(void *report, const struct test_result *result);
/* 0 or EXIT_FAULT. */
int test_report_close(struct test_report *report);

/* test_cover.c: which lines of the functions' scripts have run. */
void test_cover_open(const char *root);
/* Prints the table and writes the lcov file. 0 or EXIT_FAULT. */
int test_cover_close(const char *lcov_path);
