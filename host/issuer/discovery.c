/* OpenID Connect Discovery 1.0 and RFC 8414. */
#include "issuer/discovery.h"

#include <errno.h>
#include <stdio.h>

#include "json/provider.h"
#include "client/client.h"

static struct str without_slash(struct str url)
{
    if (str_ends_with(url, STR("/")))
        url.len--;
    return url;
}

char *discovery_url(struct str issuer)
{
    char *url;
    int len =
        asprintf(&url, "%.*s/.well-known/openid-configuration", STR_ARG(without_slash(issuer)));
    return len < 0 ? NULL : url;
}

char *discovery_oauth_url(struct str issuer)
{
    struct str all = without_slash(issuer);
    size_t host = str_find_text(all, STR("://"));
    host = host < all.len ? host + 3 : 0;
    size_t path = host + str_find(str_skip(all, host), '/');
    char *url;
    int len = asprintf(&url, "%.*s/.well-known/oauth-authorization-server%.*s", (int)path, all.ptr,
                       STR_ARG(str_skip(all, path)));
    return len < 0 ? NULL : url;
}

int discovery_check_url(struct str url, bool allow_http, struct err *err)
{
    struct client_url parts;
    int code = client_parse_url(url, &parts, err);
    if (code != 0)
        return code;
    if (!parts.https && !(parts.loopback && allow_http)) {
        return err_set(err, -EINVAL, "'%.*s' must be https (http is for loopback only)",
                       STR_ARG(url));
    }
    return 0;
}

static int check_issuer(struct str found, struct str issuer, bool *slash, struct err *err)
{
    *slash = !str_eq(found, issuer);
    if (*slash &&
        !(found.len != issuer.len && str_eq(without_slash(found), without_slash(issuer)))) {
        return err_set(err, -EBADMSG, "The OpenID configuration is of issuer '%.*s', not of '%.*s'",
                       STR_ARG(found), STR_ARG(issuer));
    }
    return 0;
}

int discovery_read(struct str document, struct str issuer, char **jwks_uri, bool *slash,
                   struct err *err)
{
    const char *why;
    json_t *root = provider_json_load(document, &why);
    if (root == NULL)
        return err_set(err, -EBADMSG, "The OpenID configuration is not valid JSON: %s", why);
    const char *uri = json_string_value(json_object_get(root, "jwks_uri"));
    const char *found = json_string_value(json_object_get(root, "issuer"));
    int code;
    if (uri == NULL) {
        code = err_set(err, -EBADMSG,
                       "The OpenID configuration endpoint does not contain a valid jwks_uri");
    } else if (found == NULL) {
        code = err_set(err, -EBADMSG, "The OpenID configuration does not name its issuer");
    } else {
        code = check_issuer(str_from(found), issuer, slash, err);
    }
    if (code == 0) {
        bool http = str_starts_with(issuer, STR("http:"));
        code = discovery_check_url(str_from(uri), http, err);
    }
    if (code == 0) {
        *jwks_uri = strdup(uri);
        code = *jwks_uri == NULL ? err_set(err, -ENOMEM, "out of memory") : 0;
    }
    json_decref(root);
    return code;
}
