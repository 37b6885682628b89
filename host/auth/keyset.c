/* Sets of keys. */
#include "auth/keyset.h"

#include <errno.h>
#include <stdlib.h>

#include "auth/key_internal.h"
#include "json/provider.h"
#include "base/limits.h"

struct keyset {
    unsigned refs;
    unsigned count;
    unsigned skipped;
    bool any_kid;       /* keyset_of a key without kid */
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

/* OpenSSL does not always say that it was memory that it wanted; the second try tells an unusable
 * key from a bad moment, so that no key is lost in one. */
static int read_key(const json_t *jwk, struct key **out)
{
    int rc = key_from_jwk(jwk, out, NULL);
    return rc != 0 && rc != -ENOMEM ? key_from_jwk(jwk, out, NULL) : rc;
}

/* unread[i]: the i-th key of the text could not be used. */
static int read_keys(struct keyset *set, const json_t *keys, bool *unread)
{
    size_t index;
    json_t *jwk;
    json_array_foreach(keys, index, jwk)
    {
        struct key *key;
        int rc = read_key(jwk, &key);
        if (rc == -ENOMEM)
            return rc; /* not the key's fault: the set as a whole could not be read */
        unread[index] = rc != 0;
        if (rc == 0)
            set->keys[set->count++] = key;
        else
            set->skipped++;
    }
    return 0;
}

/* Removes the keys that are marked. */
static void drop(struct keyset *set, const bool *marked)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < set->count; i++) {
        if (marked[i]) {
            key_unref(set->keys[i]);
            set->skipped++;
        } else {
            set->keys[kept++] = set->keys[i];
        }
    }
    set->count = kept;
}

/* A kid that names two different keys names none; the same key twice is one. */
static void mark_same_kids(const struct keyset *set, bool *marked)
{
    for (unsigned i = 0; i < set->count; i++)
        for (unsigned j = i + 1; j < set->count; j++) {
            const struct key *a = set->keys[i], *b = set->keys[j];
            if (key_kid(a).len == 0 || !str_eq(key_kid(a), key_kid(b)))
                continue;
            marked[j] = true;
            marked[i] = marked[i] || !key_equal(a, b);
        }
}

static bool is_for_signatures(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use");
    const char *text = json_string_value(use);
    return use == NULL || json_is_null(use) || (text != NULL && strcmp(text, "sig") == 0);
}

/* A signature key that could not be used still has a claim to its kid. (An encryption key has
 * none: some providers give both of a pair one kid.) */
static void mark_contested_kids(const struct keyset *set, const json_t *keys, const bool *unread,
                                bool *marked)
{
    size_t index;
    json_t *jwk;
    json_array_foreach(keys, index, jwk)
    {
        struct str kid = str_from(json_string_value(json_object_get(jwk, "kid")));
        if (!unread[index] || kid.len == 0 || !is_for_signatures(jwk))
            continue;
        for (unsigned i = 0; i < set->count; i++)
            marked[i] = marked[i] || str_eq(key_kid(set->keys[i]), kid);
    }
}

/* A shared secret beside public keys was published with them. */
static void mark_published_secrets(const struct keyset *set, bool *marked)
{
    unsigned secrets = 0;
    for (unsigned i = 0; i < set->count; i++)
        secrets += set->keys[i]->kind == KEY_OCT;
    for (unsigned i = 0; i < set->count && secrets < set->count; i++)
        marked[i] = marked[i] || set->keys[i]->kind == KEY_OCT;
}

static int set_from_array(const json_t *keys, struct keyset **out, struct err *err)
{
    bool unread[LIMIT_JWKS_KEYS] = {false}, marked[LIMIT_JWKS_KEYS] = {false};
    struct keyset *set;
    int rc;
    if (json_array_size(keys) > LIMIT_JWKS_KEYS)
        return err_set(err, -EINVAL, "The JSON Web Key Set has more than %d keys", LIMIT_JWKS_KEYS);
    set = set_new(json_array_size(keys));
    rc = set != NULL ? read_keys(set, keys, unread) : -ENOMEM;
    if (rc != 0) {
        keyset_unref(set);
        return err_set(err, rc, "out of memory");
    }
    mark_same_kids(set, marked);
    mark_contested_kids(set, keys, unread, marked);
    mark_published_secrets(set, marked);
    drop(set, marked);
    if (set->count == 0) {
        keyset_unref(set);
        return err_set(err, -ENOENT, "Unable to find key any usable keys in the JSON Web Key Set");
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

struct key *keyset_at(const struct keyset *set, unsigned index)
{
    return index < set->count ? set->keys[index] : NULL;
}

struct key *keyset_find(const struct keyset *set, struct str kid)
{
    if (set->any_kid)
        return set->keys[0];
    for (unsigned i = 0; i < set->count && kid.len > 0; i++)
        if (str_eq(key_kid(set->keys[i]), kid))
            return set->keys[i];
    return NULL;
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

void key_source_init(struct key_source *source)
{
    static uint32_t last_id; /* cached verdicts name their source by it */
    *source = (struct key_source){.id = ++last_id};
}

void key_source_set(struct key_source *source, struct keyset *set)
{
    if (source->keys != NULL && keyset_equal(source->keys, set))
        return;
    keyset_ref(set);
    keyset_unref(source->keys);
    source->keys = set;
    source->generation++;
}

void key_source_clear(struct key_source *source)
{
    if (source->keys == NULL)
        return;
    keyset_unref(source->keys);
    source->keys = NULL;
    source->generation++;
}
