/* What the files of a Netlify site add to a configuration: rules and notes. */
#include "config/config_site.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/limits.h"

/* ---- notes ---- */

void config_add_note(struct config *config, bool fault, const char *file, unsigned line,
                     const char *format, ...)
{
    char message[768];
    struct arena *arena = &config->arena;
    if (config->notes == NULL)
        config->notes = arena_zalloc(arena, (LIMIT_CONFIG_NOTES + 1) * sizeof(*config->notes));
    if (config->notes == NULL || config->note_count > LIMIT_CONFIG_NOTES)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    struct config_note note = {.fault = fault};
    if (config->note_count == LIMIT_CONFIG_NOTES)
        note.text = STR("more of the same; they are not told");
    else if (line > 0)
        note.text = arena_printf(arena, "%s:%u: %s", file, line, message);
    else
        note.text = arena_printf(arena, "%s: %s", file, message);
    if (note.text.ptr != NULL)
        config->notes[config->note_count++] = note;
}

/* ---- rules ---- */

static bool is_known(const struct config *config, const struct redirect_rule *rule)
{
    for (unsigned i = 0; i < config->redirect_count; i++) {
        if (redirect_equal(&config->redirects[i], rule))
            return true;
    }
    return false;
}

int config_add_redirects(struct config *config, const char *file, const struct redirect_rule *rules,
                         unsigned count)
{
    unsigned before = config->redirect_count;
    if (count == 0)
        return 0;
    struct redirect_rule *all =
        arena_zalloc(&config->arena, ((size_t)before + count) * sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < before; i++)
        all[i] = config->redirects[i];
    config->redirects = all;
    for (unsigned i = 0; i < count; i++) {
        if (is_known(config, &rules[i]))
            continue;
        if (config->redirect_count == LIMIT_SITE_RULES) {
            config_add_note(config, true, file, 0,
                            "there are more than %d redirects; the rest is left out",
                            LIMIT_SITE_RULES);
            break;
        }
        all[config->redirect_count++] = rules[i];
    }
    return 0;
}

int config_add_headers(struct config *config, const struct header_rule *rules, unsigned count)
{
    if (count == 0)
        return 0;
    unsigned before = config->header_count;
    struct header_rule *all = arena_zalloc(&config->arena, ((size_t)before + count) * sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++)
        all[i] = rules[i];
    for (unsigned i = 0; i < before; i++)
        all[count + i] = config->headers[i];
    config->headers = all;
    config->header_count = before + count;
    return 0;
}
