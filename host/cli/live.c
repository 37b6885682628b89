/* luafn live: does the host answer? */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/str.h"
#include "cli/cli.h"

static size_t drop(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * count;
}

/* Where `serve` has its admin pages when it is told nothing about them. */
static void default_url(char *out, size_t size)
{
    const char *text = getenv("PORT");
    uint64_t port = 8888;
    if (text != NULL && str_to_u64(str_from(text), 65534, &port) != 0)
        port = 8888;
    snprintf(out, size, "http://127.0.0.1:%u", (unsigned)port + 1);
}

static int ask(CURL *curl, const char *base)
{
    char reason[CURL_ERROR_SIZE] = "";
    struct str url = str_from(base);
    struct buf text = BUF_INIT;
    while (str_ends_with(url, STR("/")))
        url.len--;
    buf_add_str(&text, url);
    buf_add(&text, "/_luafn/live", sizeof("/_luafn/live")); /* with the NUL */
    curl_easy_setopt(curl, CURLOPT_URL, buf_failed(&text) ? "" : text.data);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, LIMIT_LIVE_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    CURLcode code = curl_easy_perform(curl);
    int rc = EXIT_GOOD;
    if (code != CURLE_OK)
        rc = cli_fault("%s: %s", base, reason[0] != '\0' ? reason : curl_easy_strerror(code));
    buf_free(&text);
    return rc;
}

static int run(int argc, char **argv)
{
    char own[64];
    const char *url = NULL;
    static const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_live, argc, argv, options, &url, 1, NULL);
    if (rc != 0)
        return rc;
    if (url != NULL && !str_starts_with(str_from(url), STR("http://")) &&
        !str_starts_with(str_from(url), STR("https://")))
        return cli_usage(&command_live, "'%s' is no URL: write http://127.0.0.1:8889", url);
    default_url(own, sizeof(own));
    CURL *curl = curl_easy_init();
    if (curl == NULL)
        return cli_fault("out of memory");
    rc = ask(curl, url != NULL ? url : own);
    curl_easy_cleanup(curl);
    return rc;
}

const struct command command_live = {"live", run};
