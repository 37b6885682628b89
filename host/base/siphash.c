/* SipHash-2-4-128 (Aumasson and Bernstein): words are read little-endian. */
#include "base/siphash.h"

#include <endian.h>

struct state {
    uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void run(struct state *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->a += s->b;
        s->c += s->d;
        s->b = rotate(s->b, 13) ^ s->a;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a = rotate(s->a, 32);
        s->c += s->b;
        s->a += s->d;
        s->b = rotate(s->b, 17) ^ s->c;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c = rotate(s->c, 32);
    }
}

static inline void absorb(struct state *s, uint64_t word)
{
    s->d ^= word;
    run(s, 2);
    s->a ^= word;
}

struct siphash siphash(const uint64_t key[2], struct str s)
{
    struct state state = {
        .a = key[0] ^ 0x736f6d6570736575u,
        .b = key[1] ^ 0x646f72616e646f6du ^ 0xee, /* 0xee: the variant of 128 bits */
        .c = key[0] ^ 0x6c7967656e657261u,
        .d = key[1] ^ 0x7465646279746573u,
    };
    size_t at = 0;
    uint64_t word;
    for (; s.len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, s.ptr + at, sizeof(word));
        absorb(&state, le64toh(word));
    }
    word = 0;
    if (at < s.len)
        memcpy(&word, s.ptr + at, s.len - at);
    absorb(&state, le64toh(word) | (uint64_t)s.len << 56);
    struct siphash out;
    state.c ^= 0xee;
    run(&state, 4);
    out.low = state.a ^ state.b ^ state.c ^ state.d;
    state.b ^= 0xdd;
    run(&state, 4);
    out.high = state.a ^ state.b ^ state.c ^ state.d;
    return out;
}
