/* URLs, read by libcurl's own parser and handed to it in parsed form: what is judged is what is
 * fetched. */
#include "client/client_internal.h"

#include <ctype.h>
#include <errno.h>

#include "base/limits.h"
#include "client/client_rules.h"

CURLU *client_url_parse(struct str text, struct err *err)
{
    char copy[LIMIT_TARGET_BYTES];
    if (text.len >= sizeof(copy) || (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)) {
        err_set(err, -EINVAL, "URL is too long or has a zero byte");
        return NULL;
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    CURLU *url = curl_url();
    CURLUcode code =
        url == NULL ? CURLUE_OUT_OF_MEMORY
                    : curl_url_set(url, CURLUPART_URL, copy, CURLU_ALLOW_SPACE | CURLU_URLENCODE);
    if (code != CURLUE_OK) {
        err_set(err, -EINVAL, "URL is not valid: %s", curl_url_strerror(code));
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

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
    if (curl_url_get(url, what, &part, CURLU_DEFAULT_PORT) == CURLUE_OK && strlen(part) < size) {
        memcpy(out, part, strlen(part) + 1);
    }
    curl_free(part);
}

static int get_origin(CURLU *url, struct client_url *out, char port[8], struct err *err)
{
    char scheme[16];
    char host[sizeof(out->host) + 2];
    get_part(url, CURLUPART_SCHEME, scheme, sizeof(scheme));
    get_part(url, CURLUPART_HOST, host, sizeof(host));
    get_part(url, CURLUPART_PORT, port, 8);
    out->https = strcmp(scheme, "https") == 0;
    if (!out->https && strcmp(scheme, "http") != 0) {
        return err_set(err, -EINVAL, "URL must begin with http:// or https://");
    }
    struct str name = str_from(host);
    if (name.len > 2 && name.ptr[0] == '[') {
        name = (struct str){host + 1, name.len - 2};
    } else if (str_ends_with(name, STR("."))) {
        name.len--;
    }
    if (name.len == 0 || name.len >= sizeof(out->host) || has_part(url, CURLUPART_ZONEID)) {
        return err_set(err, -EINVAL, "URL has no usable host");
    }
    for (size_t i = 0; i < name.len; i++) {
        out->host[i] = (char)tolower((unsigned char)name.ptr[i]);
    }
    out->host[name.len] = '\0';
    out->loopback = client_host_is_loopback(out->host);
    return 0;
}

CURLU *client_url_admit(const struct client_rules *rules, CURLU *url, unsigned *reach, int *code,
                        struct err *err)
{
    struct client_url origin;
    char port[8];
    *code = url == NULL ? -EINVAL : get_origin(url, &origin, port, err);
    if (*code == 0) {
        *code = client_rules_judge(rules, origin.https, origin.host, port, reach, err);
    }
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
    int code = url == NULL ? -EINVAL : get_origin(url, out, port, err);
    curl_url_cleanup(url);
    return code;
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
    return get_origin(a, &x, x_port, NULL) == 0 && get_origin(b, &y, y_port, NULL) == 0 &&
           x.https == y.https && strcmp(x.host, y.host) == 0 && strcmp(x_port, y_port) == 0;
}
