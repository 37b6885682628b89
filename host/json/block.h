/* Some bytes of text at once: sixteen where every processor of the kind can (SSE2, NEON), else
 * eight in a word.
 *
 * Marks are a number in which BLOCK_BITS bits stand for each byte, the lowest for the first. All
 * pointers are to BLOCK bytes that may be read. Special are the bytes that do not stand for
 * themselves in a JSON string (json/text.h). BLOCK_WORDS: by words, for the test of those. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

/* Eight bytes, the first of the text as the lowest. */
static inline uint64_t block_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return le64toh(word);
}

/* The highest bits of the special ones. A mark above the lowest one may be wrong: a borrow runs
 * upwards. */
static inline uint64_t block_special_word(uint64_t word)
{
    const uint64_t every = STR_EACH_BYTE(1);
    uint64_t quotes = word ^ every * '"', slashes = word ^ every * '\\';
    return (word | (word - every * 0x20) | (quotes - every) | (slashes - every)) & every * 0x80;
}

#if defined(__SSE2__) && !defined(BLOCK_WORDS)

#include <emmintrin.h>

enum { BLOCK = 16, BLOCK_BITS = 1 };

static inline __m128i block_at(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline uint64_t block_special(const char *p)
{
    __m128i bytes = block_at(p);
    __m128i quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i others = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* those over 0x7f are negative */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, slashes), others));
}

static inline uint64_t block_differences(const char *p, const char *q)
{
    __m128i same = _mm_cmpeq_epi8(block_at(p), block_at(q));
    return (unsigned)_mm_movemask_epi8(same) ^ 0xffffu;
}

#elif defined(__aarch64__) && !defined(BLOCK_WORDS)

#include <arm_neon.h>

enum { BLOCK = 16, BLOCK_BITS = 4 };

static inline uint64_t block_marks(uint8x16_t bytes)
{
    uint8x8_t halves = vshrn_n_u16(vreinterpretq_u16_u8(bytes), 4);
    return vget_lane_u64(vreinterpret_u64_u8(halves), 0);
}

static inline uint64_t block_special(const char *p)
{
    uint8x16_t bytes = vld1q_u8((const uint8_t *)p);
    uint8x16_t quotes = vceqq_u8(bytes, vdupq_n_u8('"'));
    uint8x16_t slashes = vceqq_u8(bytes, vdupq_n_u8('\\'));
    uint8x16_t others = vcltq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(0x20));
    return block_marks(vorrq_u8(vorrq_u8(quotes, slashes), others));
}

static inline uint64_t block_differences(const char *p, const char *q)
{
    uint8x16_t same = vceqq_u8(vld1q_u8((const uint8_t *)p), vld1q_u8((const uint8_t *)q));
    return ~block_marks(same);
}

#else

enum { BLOCK = 8, BLOCK_BITS = 8 };

static inline uint64_t block_special(const char *p)
{
    return block_special_word(block_word(p));
}

static inline uint64_t block_differences(const char *p, const char *q)
{
    return block_word(p) ^ block_word(q);
}

#endif

/* Offset of the first byte that is marked; there is one. */
static inline size_t block_first(uint64_t marks)
{
    return (size_t)__builtin_ctzll(marks) / BLOCK_BITS;
}

/* The same, or BLOCK where none is. */
static inline size_t block_run(uint64_t marks)
{
    if (BLOCK * BLOCK_BITS < 64)
        return block_first(marks | UINT64_C(1) << (BLOCK * BLOCK_BITS) % 64);
    return marks != 0 ? block_first(marks) : BLOCK;
}

/* All that may be set for the first `len` bytes, 1 to BLOCK. */
static inline uint64_t block_marks_of(size_t len)
{
    return UINT64_MAX >> (64 - len * BLOCK_BITS);
}
