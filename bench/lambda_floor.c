/* The bare loop of a Lambda runtime: takes each event, answers the same. What `luafn lambda` is
 * measured against (bench/lambda.mjs). */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t drop(char *bytes, size_t size, size_t count, void *arg)
{
    (void)bytes;
    (void)arg;
    return size * count;
}

int main(void)
{
    static const char answer[] = "{\"statusCode\":200,\"headers\":{},\"body\":\"hello\"}";
    char url[512];
    const char *address = getenv("AWS_LAMBDA_RUNTIME_API");
    CURL *curl = curl_easy_init();
    if (curl == NULL || address == NULL)
        return 1;
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    for (;;) {
        struct curl_header *id;
        snprintf(url, sizeof(url), "http://%s/2018-06-01/runtime/invocation/next", address);
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        if (curl_easy_perform(curl) != CURLE_OK ||
            curl_easy_header(curl, "Lambda-Runtime-Aws-Request-Id", 0, CURLH_HEADER, -1, &id) !=
                CURLHE_OK)
            return 1;
        snprintf(url, sizeof(url), "http://%s/2018-06-01/runtime/invocation/%s/response", address,
                 id->value);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, answer);
        if (curl_easy_perform(curl) != CURLE_OK)
            return 1;
    }
}
