/* `login` of an issuer in functions.lua. */
#include "config/config_login.h"

#include <lauxlib.h>
#include <string.h>

#include "auth/sealed.h"

#define CALLBACK "/_luafn/callback"

static bool is_callback(struct str path)
{
    bool plain =
        path.len > 1 && path.ptr[0] == '/' && path.ptr[1] != '/' && path.ptr[path.len - 1] != '/';
    for (size_t i = 0; plain && i < path.len; i++)
        plain = path.ptr[i] > ' ' && path.ptr[i] < 127 && strchr("*?#%:\\\"", path.ptr[i]) == NULL;
    return plain && (!str_starts_with(path, STR("/_luafn/")) || str_eq(path, STR(CALLBACK)));
}

static int check_login(struct options_reader *r, const struct config *config)
{
    const struct config_login *login = &config->login;
    for (unsigned i = 0; i < login->secret_count; i++)
        if (login->secrets[i].len < SEALED_SECRET_MIN)
            return options_fault(r, "secret", "has %zu bytes, and needs %d at least",
                                 login->secrets[i].len, SEALED_SECRET_MIN);
    if (r->rc == 0 && login->callback.ptr != NULL && !is_callback(login->callback))
        return options_fault(r, "callback",
                             "must be a path as \"/signed-in\", without parameters; below "
                             "/_luafn/ it is " CALLBACK);
    if (config->dev || r->rc != 0)
        return r->rc;
    if (login->client_id.ptr == NULL)
        return options_fault(r, "client_id", "is missing: as whom the host signs users in");
    if (login->secret_count == 0)
        return options_fault(r, "secret",
                             "is missing: write secret = env.SESSION_SECRET, %d random bytes or "
                             "more, or { new, old } while it changes",
                             SEALED_SECRET_MIN);
    return 0;
}

/* login = { client_id =, client_secret =, secret = TEXT | { new, old }, scope =, callback = } */
int config_read_login(struct options_reader *r, struct config *config, unsigned index)
{
    static const char *const keys[] = {"client_id", "client_secret", "secret",
                                       "scope",     "callback",      NULL};
    struct config_login *login = &config->login;
    if (!options_get(r, "login"))
        return 0;
    if (!lua_istable(r->L, -1)) {
        options_fault(r, "login", "must be a table, not a %s", luaL_typename(r->L, -1));
        lua_pop(r->L, 1);
        return r->rc;
    }
    if (r->rc == 0 && login->on)
        options_fault(r, "login", "is of another issuer already: browsers sign in at one");
    size_t before = options_enter(r, "login", 0);
    *login = (struct config_login){.on = true, .issuer = index};
    options_check_keys(r, keys);
    options_str(r, "client_id", &login->client_id);
    options_str(r, "client_secret", &login->client_secret);
    options_str_list(r, "secret", &login->secrets, &login->secret_count);
    options_str(r, "scope", &login->scope);
    options_str(r, "callback", &login->callback);
    check_login(r, config);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

/* In `dev` browsers sign in at the first issuer, where no other is named. */
int config_complete_login(struct options_reader *r, struct config *config)
{
    struct config_login *login = &config->login;
    login->on = login->on || (config->dev && config->issuer_count > 0);
    if (login->client_id.ptr == NULL)
        login->client_id = STR("luafn-demo");
    if (login->scope.ptr == NULL)
        login->scope = STR("openid profile email");
    if (login->callback.ptr == NULL)
        login->callback = STR(CALLBACK);
    for (unsigned i = 0; i < config->issuer_count; i++) {
        const struct config_revocation *own = &config->revocations[i];
        if (str_eq(own->logout_path, login->callback) || str_eq(own->events_path, login->callback))
            return options_fault(r, "login", "has the path of auth.revocation as its callback");
    }
    return 0;
}

bool config_is_login_path(const struct config *config, struct str path)
{
    return config->login.on &&
           (str_eq(path, config->login.callback) || str_eq(path, STR(CONFIG_LOGOUT)));
}

bool config_is_login_secret(const struct config *config, const char *text)
{
    const struct config_login *login = &config->login;
    struct str value = str_from(text);
    bool found = login->client_secret.len > 0 && str_eq(login->client_secret, value);
    for (unsigned i = 0; !found && i < login->secret_count; i++)
        found = str_eq(login->secrets[i], value);
    return found;
}
