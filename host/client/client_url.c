/* URLs, read by libcurl's own parser and handed to it in parsed form: what is judged is what is
 * fetched. */
#include "client/client_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/limits.h"
#include "client/client_rules.h"
#include "http/host_name.h"

enum { URL_FLAGS = CURLU_ALLOW_SPACE | CURLU_URLENCODE };

static bool has_part(CURLU *url, CURLUPart what)
{
    char *part = NULL;
    bool has = curl_url_get(url, what, &part, 0) == CURLUE_OK;
    curl_free(part);
    return has;
}

/* Copies a part; an empty text when it is absent or does not fit. */
static void get_part(CURLU *url, CURLUPart what, char *out, size_t size)
{
    char *part = NULL;
    out[0] = '\0';
    if (curl_url_get(url, what, &part, CURLU_DEFAULT_PORT) == CURLUE_OK && strlen(part) < size)
        memcpy(out, part, strlen(part) + 1);
    curl_free(part);
}

/* Puts the host into the form in which it is compared and looked up. */
bool client_url_settle(CURLU *url)
{
    char host[HOST_NAME_SIZE], settled[HOST_NAME_SIZE];
    char *whole = NULL;
    get_part(url, CURLUPART_HOST, host, sizeof(host));
    if (host[0] == '[' || !has_part(url, CURLUPART_HOST))
        return true;
    bool ok = host_name_canonical(str_from(host), settled) == 0 && strpbrk(settled, "%:") == NULL &&
              curl_url_set(url, CURLUPART_HOST, settled, 0) == CURLUE_OK;
    bool numbers = settled[strspn(settled, "0123456789abcdefx.")] == '\0' &&
                   client_reach_of_text(settled) == 0; /* but for an address as it should be */
    if (!ok || (!numbers && str_eq_nocase(str_from(host), str_from(settled))))
        return ok;
    /* libcurl (7.88) reads numbers as an address before it has decoded percent signs, and leaves
     * other scripts to the locale: with the host in place it reads the whole again. */
    ok = curl_url_get(url, CURLUPART_URL, &whole, 0) == CURLUE_OK &&
         curl_url_set(url, CURLUPART_URL, whole, URL_FLAGS) == CURLUE_OK;
    curl_free(whole);
    return ok;
}

CURLU *client_url_parse(struct str text, struct err *err)
{
    char copy[LIMIT_TARGET_BYTES];
    if (text.len >= sizeof(copy) || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)) {
        err_set(err, -EINVAL, "URL is too long or has a zero byte");
        return NULL;
    }
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    CURLU *url = curl_url();
    CURLUcode code =
        url == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(url, CURLUPART_URL, copy, URL_FLAGS);
    if (code == CURLUE_OK && !client_url_settle(url))
        code = CURLUE_BAD_HOSTNAME;
    if (code != CURLUE_OK) {
        err_set(err, -EINVAL, "URL is not valid: %s", curl_url_strerror(code));
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

int client_url_origin(CURLU *url, struct client_url *out, char port[8], struct err *err)
{
    char scheme[16];
    char host[sizeof(out->host) + 2];
    get_part(url, CURLUPART_SCHEME, scheme, sizeof(scheme));
    get_part(url, CURLUPART_HOST, host, sizeof(host));
    get_part(url, CURLUPART_PORT, port, 8);
    out->https = strcmp(scheme, "https") == 0;
    if (!out->https && strcmp(scheme, "http") != 0)
        return err_set(err, -EINVAL, "URL must begin with http:// or https://");
    struct str name = str_from(host);
    if (name.len > 2 && name.ptr[0] == '[')
        name = (struct str){host + 1, name.len - 2};
    if (name.len == 0 || name.len >= sizeof(out->host) || has_part(url, CURLUPART_ZONEID))
        return err_set(err, -EINVAL, "URL has no usable host");
    memcpy(out->host, name.ptr, name.len);
    out->host[name.len] = '\0';
    out->loopback = client_host_is_loopback(out->host);
    return 0;
}

CURLU *client_url_admit(const struct client_rules *rules, CURLU *url, unsigned *reach, int *code,
                        struct err *err)
{
    struct client_url origin;
    char port[8];
    *code = url == NULL ? -EINVAL : client_url_origin(url, &origin, port, err);
    if (*code == 0)
        *code = client_rules_judge(rules, origin.https, origin.host, port, reach, err);
    if (*code != 0) {
        curl_url_cleanup(url);
        return NULL;
    }
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    return url;
}

int client_parse_url(struct str text, struct client_url *out, struct err *err)
{
    char port[8];
    CURLU *url = client_url_parse(text, err);
    int code = url == NULL ? -EINVAL : client_url_origin(url, out, port, err);
    curl_url_cleanup(url);
    return code;
}

/* A part as it is sent; ptr NULL when it is absent. False: no room. */
static bool take_part(struct client_url_parts *out, size_t *used, CURLU *url, CURLUPart what,
                      struct str *to)
{
    char *part = NULL;
    *to = (struct str){NULL, 0};
    if (curl_url_get(url, what, &part, 0) != CURLUE_OK)
        return true;
    size_t len = strlen(part);
    bool fits = len < out->size - *used;
    if (fits) {
        memcpy(out->text + *used, part, len);
        *to = (struct str){out->text + *used, len};
        *used += len;
    }
    curl_free(part);
    return fits;
}

int client_split_url(struct str text, struct client_url_parts *out, struct err *err)
{
    struct client_url origin;
    char port[8];
    size_t used = 0;
    struct str number;
    CURLU *url = client_url_parse(text, err);
    int code = url == NULL ? -EINVAL : client_url_origin(url, &origin, port, err);
    bool fits = code == 0 && take_part(out, &used, url, CURLUPART_SCHEME, &out->scheme) &&
                take_part(out, &used, url, CURLUPART_USER, &out->user) &&
                take_part(out, &used, url, CURLUPART_PASSWORD, &out->password) &&
                take_part(out, &used, url, CURLUPART_HOST, &out->host) &&
                take_part(out, &used, url, CURLUPART_PATH, &out->path) &&
                take_part(out, &used, url, CURLUPART_QUERY, &out->query) &&
                take_part(out, &used, url, CURLUPART_FRAGMENT, &out->fragment) &&
                take_part(out, &used, url, CURLUPART_PORT, &number);
    curl_url_cleanup(url);
    if (code != 0)
        return code;
    if (!fits)
        return err_set(err, -EINVAL, "URL is too long");
    out->port = number.ptr != NULL ? (int)strtol(port, NULL, 10) : -1;
    return 0;
}

int client_check_url(const struct client_rules *rules, struct str text, struct err *err)
{
    unsigned reach;
    int code;
    CURLU *url = client_url_admit(rules, client_url_parse(text, err), &reach, &code, err);
    curl_url_cleanup(url);
    return code;
}

bool client_url_same_origin(CURLU *a, CURLU *b)
{
    struct client_url x, y;
    char x_port[8], y_port[8];
    return client_url_origin(a, &x, x_port, NULL) == 0 &&
           client_url_origin(b, &y, y_port, NULL) == 0 && x.https == y.https &&
           strcmp(x.host, y.host) == 0 && strcmp(x_port, y_port) == 0;
}
