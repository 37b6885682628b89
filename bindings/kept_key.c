#include "bindings/kept_key.h"

#include "base/buf.h"

enum { KEPT = 4 };

/* A process has them once: a worker has one thread. */
static struct kept {
    struct buf text;
    bool is_secret;
    struct key *key; /* NULL: nothing is kept here */
} all[KEPT];
static unsigned oldest;

static struct key *keep(struct kept *place, struct key *key, struct str text, bool is_secret,
                        struct err *err)
{
    key_unref(place->key);
    place->key = NULL;
    place->is_secret = is_secret;
    buf_clear(&place->text);
    buf_add_str(&place->text, text);
    if (buf_failed(&place->text)) {
        key_unref(key);
        err_set(err, 0, "out of memory");
        return NULL;
    }
    place->key = key;
    return key;
}

struct key *kept_key_get(struct str text, bool is_secret, struct err *err)
{
    struct key *key = NULL;
    for (unsigned i = 0; i < KEPT; i++) {
        const struct kept *k = &all[i];
        if (k->key != NULL && k->is_secret == is_secret && str_eq(buf_str(&k->text), text))
            return k->key;
    }
    if ((is_secret ? key_from_secret(text, &key, err) : key_from_pem(text, &key, err)) != 0)
        return NULL;
    oldest = (oldest + 1) % KEPT;
    return keep(&all[oldest], key, text, is_secret, err);
}
