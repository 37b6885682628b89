/* A configuration: which file it is, its .env files and netlify.toml, and its life. Running
 * functions.lua is in config_run.c, its members in config_members.c. */
#include "config/config.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/place.h"
#include "config/config_internal.h"
#include "config/config_protect.h"
#include "config/config_rule_files.h"
#include "config/config_toml.h"
#include "lua/script.h"
#include "lua/source_line.h"
#include "store/redis_tls.h"

/* A Netlify project may have no functions.lua: its netlify.toml stands for it. */
static int find_toml(struct origin *origin, char *path, size_t size)
{
    struct str file = str_from(path);
    if (!str_ends_with(file, STR("/functions.lua")))
        return -ENOENT;
    size_t folder = file.len - strlen("functions.lua");
    snprintf(path + folder, size - folder, "netlify.toml");
    return origin_is_file(origin, path) ? 0 : -ENOENT;
}

/* As it was named: links are followed anew each time. */
static int make_absolute(const char *file, char *path, size_t size)
{
    char folder[PATH_MAX] = "";
    while (strncmp(file, "./", 2) == 0)
        file += 2;
    if (file[0] != '/' && getcwd(folder, sizeof(folder)) == NULL)
        return -errno;
    int len = snprintf(path, size, "%s%s%s", folder, file[0] != '/' ? "/" : "", file);
    return len > 0 && (size_t)len < size ? 0 : -ENAMETOOLONG;
}

/* What functions.lua would say there: the issuer, where the environment names one. */
static const char toml_only[] =
    "return { auth = env.JWT_ISSUER and { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE } }";

static bool is_toml(const struct config *config)
{
    return str_ends_with(config->file, STR("/netlify.toml"));
}

static int find_file(struct config *config, const char *file, struct err *err)
{
    char path[PATH_MAX], real[PATH_MAX];
    int rc = make_absolute(file, path, sizeof(path));
    if (rc == 0 && !origin_is_file(config->origin, path)) {
        rc = origin_resolve(config->origin, path, real);
        rc = rc == -ENOENT ? find_toml(config->origin, path, sizeof(path)) : rc != 0 ? rc : -EISDIR;
    }
    if (rc != 0)
        return err_set(err, rc, "%s: %s; `luafn new hello` writes a first one", file,
                       strerror(-rc));
    config->file = arena_copy(&config->arena, str_from(path));
    char *slash = strrchr(path, '/');
    config->folder =
        arena_copy(&config->arena, (struct str){path, slash == path ? 1 : (size_t)(slash - path)});
    if (config->file.ptr == NULL || config->folder.ptr == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    rc = origin_resolve(config->origin, config->folder.ptr, real);
    if (rc != 0)
        return err_set(err, rc, "%s: %s", file, strerror(-rc));
    config->real_folder = arena_copy(&config->arena, str_from(real));
    return config->real_folder.ptr != NULL ? 0 : err_set(err, -ENOMEM, "out of memory");
}

/* What Netlify's own `dev` says of itself: NETLIFY_DEV over all, the others below all. */
static int set_netlify(struct env *env)
{
    int rc = env_set(env, "NETLIFY_DEV", "true");
    if (rc == 0)
        rc = env_set_default(env, "NETLIFY_LOCAL", "true");
    return rc == 0 ? env_set_default(env, "CONTEXT", "dev") : rc;
}

/* What is wrong with its files is told here. Who takes another's place goes on with what serves. */
static int read_kv_url(struct config *config, bool goes_on, struct err *err)
{
    struct redis_address *address = &config->kv_address;
    const char *url = env_get(config->env, "KV_URL");
    if (url == NULL || url[0] == '\0')
        return 0;
    int rc = redis_url_parse(str_from(url), place_of(config->real_folder), address, err);
    bool has_files = address->ca[0] != '\0' || address->cert[0] != '\0';
    return rc == 0 && has_files && !goes_on ? redis_tls_check(address, err) : rc;
}

static int load_env(struct config *config, const struct config_options *options, struct err *err)
{
    const char *const *defaults = options->defaults;
    config->env = env_load_files(config->origin, config->folder.ptr, config->dev,
                                 config_toml_env_files(config), err);
    if (config->env == NULL)
        return -EINVAL;
    if (config_toml_env(config) != 0 || (config->dev && set_netlify(config->env) != 0))
        return err_set(err, -ENOMEM, "out of memory");
    if (read_kv_url(config, options->earlier != NULL, err) != 0)
        return -EINVAL;
    for (; defaults != NULL && defaults[0] != NULL; defaults += 2) {
        if (env_set_default(config->env, defaults[0], defaults[1]) != 0)
            return err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

struct config *config_load(const struct config_options *options, struct err *err)
{
    struct config *config = calloc(1, sizeof(*config));
    struct origin *origin = origin_new(options->earlier);
    if (options->seen != NULL)
        *options->seen = origin_ref(origin);
    if (config == NULL || origin == NULL) {
        free(config);
        origin_unref(origin);
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    arena_init(&config->arena);
    config->origin = origin;
    config->dev = options->dev;
    struct buf source = BUF_INIT;
    struct err reason;
    int rc = find_file(config, options->file, err);
    if (rc == 0)
        rc = config_toml_open(config, err);
    if (rc == 0 && is_toml(config))
        buf_add_str(&source, str_from(toml_only));
    else if (rc == 0 && origin_read(origin, config->file.ptr, &source, &reason) != 0)
        rc = err_set(err, -EIO, "%s: %s", options->file, reason.text);
    if (rc == 0)
        rc = load_env(config, options, err);
    const char *shown = config->file.ptr != NULL
                            ? script_display_name(config->file.ptr, config->folder)
                            : options->file;
    if (rc == 0)
        rc = config_run(config, buf_str(&source), shown, err);
    if (rc == 0 && config_rule_files_read(config) != 0)
        rc = err_set(err, -ENOMEM, "out of memory");
    config->source = arena_copy(&config->arena, buf_str(&source));
    buf_free(&source);
    config->hash = origin_hash(origin);
    if (rc == 0 && config->source.ptr != NULL && origin_settle(origin) == 0)
        return config;
    if (rc == 0)
        err_set(err, -ENOMEM, "out of memory");
    config_free(config);
    return NULL;
}

static void free_issuers(struct verifier_spec *specs, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        keyset_source_clear(&specs[i].own_keys);
}

void config_drop_functions(struct config *config)
{
    for (unsigned i = 0; i < config->function_count; i++) {
        struct policy *policy = &config->functions[i].policy;
        json_decref(policy->claims);
        free_issuers(policy->own, policy->own_count);
    }
    config->function_count = 0;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    config_drop_functions(config);
    config_drop_protect(config);
    free_issuers(config->issuers, config->issuer_count);
    env_free(config->env);
    origin_unref(config->origin);
    arena_free(&config->arena);
    free(config);
}

int config_fault(const struct config *config, struct err *err, const char *path, const char *format,
                 ...)
{
    char message[768];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return err_set(err, -EINVAL, "%s:%u: %s: %s",
                   script_display_name(config->file.ptr, config->folder),
                   source_line(config->source, str_from(path)), path, message);
}
