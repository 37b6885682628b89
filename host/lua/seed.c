/* Setting a state's seed while it is made. */
#include "lua/seed.h"

#include <stdint.h>
#include <string.h>
#include <sys/random.h>

/* The beginning of struct global_State of Lua 5.4, in words of eight bytes. */
enum {
    WORD_ALLOC,       /* frealloc */
    WORD_ARG,         /* ud */
    WORD_STRINGS = 6, /* after four counts: strt, no strings yet: two words of zero */
    WORD_NIL = 10, /* after l_registry: nilvalue, the integer 0 until the state is complete, ... */
    WORD_NIL_TAG,  /* ... which this tag says */
    WORD_SEED,     /* an unsigned int */
    WORDS,
    TAG_INTEGER = 3
};

struct making {
    lua_Alloc alloc;
    void *arg;
    char *block; /* of the first allocation; NULL: none, or it is over */
    size_t size;
    unsigned seed;
    bool done;
};

static unsigned wanted;

void seed_set(unsigned seed)
{
    wanted = seed;
}

static void *on_alloc(void *arg, void *block, size_t old_size, size_t size);

static bool is_global_state(const struct making *m, const char *at)
{
    uint64_t words[WORDS], alloc, self;
    lua_Alloc function = on_alloc;
    memcpy(words, at, sizeof(words));
    memcpy(&alloc, (const void *)&function, sizeof(alloc));
    memcpy(&self, (const void *)&m, sizeof(self));
    return words[WORD_ALLOC] == alloc && words[WORD_ARG] == self && words[WORD_STRINGS] == 0 &&
           words[WORD_STRINGS + 1] == 0 && words[WORD_NIL] == 0 &&
           (words[WORD_NIL_TAG] & 0xff) == TAG_INTEGER;
}

static void set_in_block(struct making *m)
{
    for (size_t at = 0; at + WORDS * sizeof(uint64_t) <= m->size; at += sizeof(uint64_t)) {
        if (!is_global_state(m, m->block + at))
            continue;
        memcpy(m->block + at + WORD_SEED * sizeof(uint64_t), &m->seed, sizeof(m->seed));
        m->done = true;
        return;
    }
}

static void *on_alloc(void *arg, void *block, size_t old_size, size_t size)
{
    struct making *m = arg;
    if (m->block != NULL) {
        set_in_block(m);
        m->block = NULL;
    }
    void *result = m->alloc(m->arg, block, old_size, size);
    if (m->size == 0) {
        if (result != NULL)
            memset(result, 0, size); /* it is looked at before Lua has written all of it */
        m->block = result;
        m->size = size;
    }
    return result;
}

lua_State *seed_newstate(lua_Alloc alloc, void *arg, unsigned *seed)
{
    struct making m = {.alloc = alloc, .arg = arg, .seed = wanted};
    *seed = 0;
    while (m.seed == 0) {
        if (getrandom(&m.seed, sizeof(m.seed), 0) != (ssize_t)sizeof(m.seed))
            return lua_newstate(alloc, arg);
    }
    lua_State *L = lua_newstate(on_alloc, &m);
    if (L == NULL)
        return NULL;
    lua_setallocf(L, alloc, arg);
    *seed = m.done ? m.seed : 0;
    return L;
}
