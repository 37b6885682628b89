/* Sets of keys. */
#include "auth/keyset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/key_internal.h"
#include "auth/shown.h"
#include "base/limits.h"
#include "json/provider.h"

struct keyset {
    unsigned refs;
    unsigned count;
    unsigned skipped;
    unsigned note_count;
    bool any_kid;       /* keyset_of a key without kid */
    struct buf notes;   /* on those that were skipped */
    struct key *keys[]; /* owned references */
};

static struct keyset *set_new(size_t capacity)
{
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what the array holds. */
    struct keyset *set = calloc(1, sizeof(*set) + capacity * sizeof(set->keys[0]));
    if (set != NULL)
        set->refs = 1;
    return set;
}

/* ---- from JSON ---- */

/* A line about a key: by its kid, or its place in the text, from 1. */
static void note(struct keyset *set, struct str kid, size_t place, const char *text)
{
    struct shown shown;
    if (++set->note_count > LIMIT_JWKS_NOTES)
        return;
    if (kid.len > 0)
        buf_printf(&set->notes, "'%.*s': %s\n", STR_ARG(shown_text(&shown, kid)), text);
    else
        buf_printf(&set->notes, "key %zu: %s\n", place, text);
}

/* OpenSSL does not always say that it was memory that it wanted; the second try tells an unusable
 * key from a bad moment, so that no key is lost in one. */
static int read_key(const json_t *jwk, struct key **out, struct err *err)
{
    int rc = jwk_read_key(jwk, out, err);
    return rc != 0 && rc != -ENOMEM ? jwk_read_key(jwk, out, err) : rc;
}

static int read_keys(struct keyset *set, const json_t *keys)
{
    size_t index;
    json_t *jwk;
    json_array_foreach(keys, index, jwk)
    {
        const json_t *kid = json_object_get(jwk, "kid");
        struct str name = {json_string_value(kid), json_string_length(kid)};
        struct err err = {""};
        if (set->count == LIMIT_JWKS_KEYS) {
            note(set, STR(""), index + 1, "there are too many: from here on they are left out");
            break;
        }
        int rc = read_key(jwk, &set->keys[set->count], &err);
        if (rc == -ENOMEM)
            return rc; /* not the key's fault: the set as a whole could not be read */
        if (rc == 0)
            set->count++;
        else
            set->skipped++;
        if (rc != 0 && rc != -ENOTSUP)
            note(set, name, index + 1, err.text);
    }
    return 0;
}

/* Removes the keys that are good for no algorithm. Returns how many. */
static unsigned drop_useless(struct keyset *set)
{
    unsigned kept = 0, all = set->count;
    for (unsigned i = 0; i < set->count; i++) {
        if (set->keys[i]->algs == 0)
            key_unref(set->keys[i]);
        else
            set->keys[kept++] = set->keys[i];
    }
    set->count = kept;
    return all - kept;
}

static bool are_namesakes(const struct key *a, const struct key *b)
{
    return key_kid(a).len > 0 && str_eq(key_kid(a), key_kid(b));
}

/* One key that is there for each of its algorithms is one. */
static void merge_same(struct keyset *set)
{
    for (unsigned i = 0; i < set->count; i++)
        for (unsigned j = i + 1; j < set->count; j++) {
            struct key *a = set->keys[i], *b = set->keys[j];
            if (b->algs != 0 && are_namesakes(a, b) && key_is_same(a, b)) {
                a->algs |= b->algs;
                b->algs = 0;
            }
        }
    drop_useless(set);
}

/* A kid that names two different keys for an algorithm names none. */
static void part_rivals(struct keyset *set)
{
    unsigned contested[LIMIT_JWKS_KEYS] = {0};
    for (unsigned i = 0; i < set->count; i++)
        for (unsigned j = i + 1; j < set->count; j++) {
            unsigned both = set->keys[i]->algs & set->keys[j]->algs;
            if (both != 0 && are_namesakes(set->keys[i], set->keys[j])) {
                contested[i] |= both;
                contested[j] |= both;
            }
        }
    for (unsigned i = 0; i < set->count; i++) {
        set->keys[i]->algs &= ~contested[i];
        if (contested[i] != 0)
            note(set, key_kid(set->keys[i]), 0,
                 "another key has the same kid and algorithm: neither is used for it");
    }
    set->skipped += drop_useless(set);
}

/* A shared secret beside public keys was published with them. */
static void drop_secrets(struct keyset *set)
{
    unsigned secrets = 0;
    for (unsigned i = 0; i < set->count; i++)
        secrets += set->keys[i]->kind == KEY_OCT;
    for (unsigned i = 0; i < set->count && secrets < set->count; i++) {
        if (set->keys[i]->kind != KEY_OCT)
            continue;
        struct str kid = key_kid(set->keys[i]);
        set->keys[i]->algs = 0;
        note(set, kid.len > 0 ? kid : STR("(no kid)"), 0,
             "a shared secret among public keys is no secret");
    }
    set->skipped += drop_useless(set);
}

/* The text of the original, and the first lines of what is wrong. */
static int refuse_useless(const struct keyset *set, struct err *err)
{
    struct str notes = keyset_notes(set), line;
    int rc = err_set(err, -ENOENT, "Unable to find key any usable keys in the JSON Web Key Set");
    for (unsigned i = 0;
         err != NULL && i < 3 && str_split_next(&notes, '\n', &line) && line.len > 0; i++) {
        size_t at = strlen(err->text);
        snprintf(err->text + at, sizeof(err->text) - at, "%s %.*s", i == 0 ? ":" : ";",
                 STR_ARG(line));
    }
    return rc;
}

static int set_from_array(const json_t *keys, struct keyset **out, struct err *err)
{
    size_t most = json_array_size(keys);
    struct keyset *set = set_new(most < LIMIT_JWKS_KEYS ? most : LIMIT_JWKS_KEYS);
    int rc = set != NULL ? read_keys(set, keys) : -ENOMEM;
    if (rc == 0) {
        merge_same(set);
        part_rivals(set);
        drop_secrets(set);
        rc = buf_failed(&set->notes) ? -ENOMEM : 0;
    }
    if (rc == -ENOMEM)
        err_set(err, rc, "out of memory");
    else if (set->count == 0)
        rc = refuse_useless(set, err);
    if (rc != 0) {
        keyset_unref(set);
        return rc;
    }
    *out = set;
    return 0;
}

int keyset_parse(struct str json, struct keyset **out, struct err *err)
{
    const char *why;
    const json_t *keys;
    json_t *root;
    int rc;
    *out = NULL;
    if (json.len > LIMIT_JWKS_BYTES)
        return err_set(err, -EINVAL, "The JSON Web Key Set is over %d bytes long",
                       LIMIT_JWKS_BYTES);
    root = provider_json_load(json, &why);
    if (root == NULL)
        return err_set(err, errno == ENOMEM ? -ENOMEM : -EINVAL,
                       "The JSON Web Key Set cannot be read: %s", why);
    keys = json_object_get(root, "keys");
    rc = json_is_array(keys)
             ? set_from_array(keys, out, err)
             : err_set(err, -EINVAL, "The JSON Web Key Set does not contain any keys");
    json_decref(root);
    return rc;
}

/* ---- life and look-up ---- */

struct keyset *keyset_of(struct key *key)
{
    struct keyset *set = set_new(1);
    if (set == NULL)
        return NULL;
    set->keys[0] = key_ref(key);
    set->count = 1;
    set->any_kid = key_kid(key).len == 0;
    return set;
}

struct keyset *keyset_ref(struct keyset *set)
{
    set->refs++;
    return set;
}

void keyset_unref(struct keyset *set)
{
    if (set == NULL || --set->refs > 0)
        return;
    for (unsigned i = 0; i < set->count; i++)
        key_unref(set->keys[i]);
    buf_free(&set->notes);
    free(set);
}

unsigned keyset_size(const struct keyset *set)
{
    return set->count;
}

unsigned keyset_skipped(const struct keyset *set)
{
    return set->skipped;
}

struct str keyset_notes(const struct keyset *set)
{
    return buf_str(&set->notes);
}

struct key *keyset_at(const struct keyset *set, unsigned index)
{
    return index < set->count ? set->keys[index] : NULL;
}

struct key *keyset_find(const struct keyset *set, struct str kid, enum alg alg)
{
    struct key *found = NULL;
    if (set->any_kid)
        return set->keys[0];
    for (unsigned i = 0; i < set->count && kid.len > 0; i++) {
        if (!str_eq(key_kid(set->keys[i]), kid))
            continue;
        if (key_fits(set->keys[i], alg))
            return set->keys[i];
        found = found != NULL ? found : set->keys[i];
    }
    return found;
}

static bool has_equal(const struct keyset *set, const struct key *key)
{
    for (unsigned i = 0; i < set->count; i++)
        if (key_equal(set->keys[i], key))
            return true;
    return false;
}

bool keyset_equal(const struct keyset *a, const struct keyset *b)
{
    if (a->count != b->count || a->any_kid != b->any_kid)
        return false;
    for (unsigned i = 0; i < a->count; i++)
        if (!has_equal(b, a->keys[i]) || !has_equal(a, b->keys[i]))
            return false;
    return true;
}

/* ---- sources ---- */

void keyset_source_init(struct key_source *source)
{
    static uint32_t last_id; /* cached verdicts name their source by it */
    *source = (struct key_source){.id = ++last_id};
}

void keyset_source_set(struct key_source *source, struct keyset *set)
{
    bool same = source->keys != NULL && keyset_equal(source->keys, set);
    if (same && str_eq(keyset_notes(source->keys), keyset_notes(set)))
        return; /* what the old one has made ready stays in use */
    keyset_ref(set);
    keyset_unref(source->keys);
    source->keys = set;
    source->generation += !same;
}

void keyset_source_clear(struct key_source *source)
{
    if (source->keys == NULL)
        return;
    keyset_unref(source->keys);
    source->keys = NULL;
    source->generation++;
}
