#include "siphash.h"

#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void
turn(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline void
absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    turn(s);
    s->v0 ^= word;
}

static inline uint64_t
word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof(word));
    return word;
}

uint64_t
siphash(const uint8_t key[SIPHASH_KEY], uint64_t first, const void *bytes,
        size_t length)
{
    uint64_t k0 = word_at(key), k1 = word_at(key + 8);
    struct state s = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
                      k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
    absorb(&s, first);
    const uint8_t *at = bytes;
    const uint8_t *end = at + length / 8 * 8;
    for (; at < end; at += 8) {
        absorb(&s, word_at(at));
    }
    uint64_t last = (uint64_t)(8 + length) << 56;
    for (size_t i = 0; i < length % 8; i++) {
        last |= (uint64_t)at[i] << (8 * i);
    }
    absorb(&s, last);
    s.v2 ^= 0xff;
    for (int i = 0; i < 3; i++) {
        turn(&s);
    }
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
