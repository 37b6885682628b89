/* Calls to the issuer at which browsers sign in: at the address that its name or its document says,
 * and nowhere else. */
#include <errno.h>

#include "app/app.h"
#include "base/limits.h"
#include "issuer/client_auth.h"

int app_login_call(struct app *app, struct client_request *req, struct str *host,
                   struct arena *arena, client_done_fn done, void *arg, struct client_call **call,
                   struct err *err)
{
    struct client_url parts;
    if (app->login.calls >= LIMIT_LOGIN_CALLS)
        return err_set(err, -EAGAIN, "too many are signing in at once");
    if (client_parse_url(req->url, &parts, err) != 0)
        return -EINVAL;
    *host = arena_copy(arena, str_from(parts.host));
    if (host->ptr == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    req->timeout = LIMIT_KEYS_FETCH_TIMEOUT;
    req->no_redirect = true;
    req->max_bytes = LIMIT_DISCOVERY_BYTES;
    req->rules = (struct client_rules){.hosts = host,
                                       .host_count = 1,
                                       .any_public = true,
                                       .allow_loopback = parts.loopback,
                                       .https_only = true};
    int rc = client_start(app->client, req, done, arg, call, err);
    app->login.calls += rc == 0;
    return rc;
}

int app_login_post(struct app *app, const struct config_login *login, struct str url,
                   struct buf *form, struct str *host, struct arena *arena, client_done_fn done,
                   void *arg, struct client_call **call, struct err *err)
{
    struct buf basic = BUF_INIT;
    bool secret = login->client_secret.len > 0;
    if (secret) {
        client_auth_add_basic(&basic, login->client_id, login->client_secret);
    } else {
        buf_add_str(form, STR("&client_id="));
        client_auth_add_form(form, login->client_id);
    }
    const struct header headers[] = {
        {STR("Accept"), STR("application/json")},
        {STR("Content-Type"), STR("application/x-www-form-urlencoded")},
        {STR("Authorization"), buf_str(&basic)},
    };
    struct client_request req = {
        .method = STR("POST"),
        .url = url,
        .headers = headers,
        .header_count = secret ? 3 : 2,
        .body = buf_str(form),
        .fresh = true, /* what is in it is good once */
    };
    int rc = buf_failed(form) || buf_failed(&basic)
                 ? err_set(err, -ENOMEM, "out of memory")
                 : app_login_call(app, &req, host, arena, done, arg, call, err);
    buf_free(&basic);
    return rc;
}
