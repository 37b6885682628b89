/* The floor of fetch: one libcurl handle that asks for the same document again and again over the
 * connection that it keeps. Prints microseconds of processor time for each.
 *
 * usage: fetch URL */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = 1000, ROUNDS = 20000, MOST = 65536 };

static char body[MOST];
static size_t body_len;

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    (void)one;
    (void)arg;
    if (len > MOST - body_len)
        return 0;
    memcpy(body + body_len, bytes, len);
    body_len += len;
    return len;
}

static void ask(CURL *curl)
{
    body_len = 0;
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK && body_len > 0)
        return;
    fprintf(stderr, "fetch: %s\n", curl_easy_strerror(code));
    exit(1);
}

static double cpu_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
    CURL *curl = curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK ? curl_easy_init() : NULL;
    if (argc != 2 || curl == NULL)
        return 2;
    curl_easy_setopt(curl, CURLOPT_URL, argv[1]);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    for (int i = 0; i < WARM; i++)
        ask(curl);
    double began = cpu_us();
    for (int i = 0; i < ROUNDS; i++)
        ask(curl);
    printf("{\"each\":%.2f}\n", (cpu_us() - began) / ROUNDS);
    curl_easy_cleanup(curl);
    return 0;
}
