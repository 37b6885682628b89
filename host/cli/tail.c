/* luafn tail: requests as they end. */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/journal_view.h"
#include "journal/journal_reader.h"
#include "lua/own_script.h"

enum { LOOK_MS = 100, EVENT_MAX = 4 * LIMIT_JOURNAL_RECORD };

struct tail {
    struct journal_view view;
    const char *url; /* NULL: `folder` */
    char folder[4096];
    lua_State *L; /* with the view at the top */
    struct buf text;
    int status;
};

static bool print(void *arg, struct str line)
{
    struct tail *t = arg;
    journal_view_print(t->L, &t->view, line, false);
    t->status = cli_flush("tail");
    return t->status == EXIT_GOOD;
}

static void follow_folder(struct tail *t)
{
    static const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    struct journal_follower follower;
    int rc = journal_follow(&follower, t->folder);
    if (rc != 0) {
        t->status = cli_fault("%s cannot be read: %s", t->folder, strerror(-rc));
        return;
    }
    fprintf(stderr, "following %s\n", t->folder);
    while (t->status == EXIT_GOOD) {
        journal_follow_next(&follower, print, t);
        nanosleep(&pause, NULL);
    }
    journal_follow_end(&follower);
}

/* ---- another host ---- */

/* Lines that begin with "data: ". */
static size_t on_bytes(char *bytes, size_t size, size_t count, void *arg)
{
    struct tail *t = arg;
    buf_add(&t->text, bytes, size * count);
    struct str rest = buf_str(&t->text);
    size_t end, used = 0;
    while (t->status == EXIT_GOOD && (end = str_find(rest, '\n')) < rest.len) {
        struct str line = {rest.ptr, end};
        if (str_starts_with(line, STR("data: ")))
            print(t, str_skip(line, 6));
        rest = str_skip(rest, end + 1);
        used += end + 1;
    }
    buf_consume(&t->text, used);
    bool good = t->status == EXIT_GOOD && !buf_failed(&t->text) && t->text.len < EVENT_MAX;
    return good ? size * count : 0;
}

static void ask(struct tail *t, CURL *curl)
{
    char reason[CURL_ERROR_SIZE] = "";
    struct buf url = BUF_INIT;
    struct str base = str_from(t->url);
    while (str_ends_with(base, STR("/")))
        base.len--;
    buf_add_str(&url, base);
    buf_add_str(&url, STR("/_luafn/journal/live"));
    buf_add_char(&url, '\0');
    curl_easy_setopt(curl, CURLOPT_URL, buf_failed(&url) ? "" : url.data);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    CURLcode code = curl_easy_perform(curl);
    if (t->status == EXIT_GOOD && code != CURLE_OK)
        t->status =
            cli_fault("%s: %s", url.data, reason[0] != '\0' ? reason : curl_easy_strerror(code));
    else if (t->status == EXIT_GOOD)
        t->status = cli_fault("%s has ended", url.data);
    buf_free(&url);
}

static void follow_host(struct tail *t)
{
    CURL *curl = curl_easy_init();
    if (curl == NULL) {
        t->status = cli_fault("out of memory");
        return;
    }
    ask(t, curl);
    curl_easy_cleanup(curl);
}

/* stack: the script */
static void follow(lua_State *L, void *arg)
{
    struct tail *t = arg;
    t->L = L;
    journal_view_open(L);
    if (t->url != NULL)
        follow_host(t);
    else
        follow_folder(t);
}

static int run(int argc, char **argv)
{
    static struct tail t;
    const char *config_file = "functions.lua";
    struct journal_filter *filter = &t.view.filter;
    const struct option options[] = {{"--config", OPTION_TEXT, &config_file},
                                     {"--function", OPTION_TEXT, &filter->function},
                                     {"--status", OPTION_TEXT, &filter->status},
                                     {"--user", OPTION_TEXT, &filter->user},
                                     {"--text", OPTION_TEXT, &filter->text},
                                     {"--json", OPTION_FLAG, &t.view.json},
                                     {NULL, OPTION_FLAG, NULL}};
    struct err err;
    int rc = cli_parse(&command_tail, argc, argv, options, &t.url, 1, NULL);
    if (rc != 0)
        return rc;
    if (filter->status != NULL && !journal_view_is_status(filter->status))
        return cli_usage(&command_tail, "--status is 404, 4xx or >=400, not '%s'", filter->status);
    if (t.url != NULL && !str_starts_with(str_from(t.url), STR("http://")) &&
        !str_starts_with(str_from(t.url), STR("https://")))
        return cli_usage(&command_tail, "'%s' is no URL: write http://localhost:8888", t.url);
    if (cli_state_path(config_file, "journal", t.folder, sizeof(t.folder)) != 0)
        return cli_fault("the path of %s is too long", config_file);
    if (own_script_run("share/journal.lua", follow, &t, &err) != 0)
        t.status = cli_fault("%s", err.text);
    buf_free(&t.text);
    return t.status;
}

const struct command command_tail = {"tail", run};
