#include "sha256.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

_Alignas(16) static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

static uint32_t
load_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void
store_big(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        p[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static uint32_t
rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* ---- Portable ---- */

static void
expand(uint32_t words[64], const uint8_t *block)
{
    for (int t = 0; t < 16; t++) {
        words[t] = load_big(block + 4 * t);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t x = words[t - 15], y = words[t - 2];
        words[t] = words[t - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
                   words[t - 7] + (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
}

static void
blocks_portable(uint32_t state[8], const uint8_t *bytes, size_t n_blocks)
{
    for (; n_blocks > 0; n_blocks--, bytes += SHA256_BLOCK) {
        uint32_t words[64], s[8];
        expand(words, bytes);
        memcpy(s, state, sizeof(s));
        for (int t = 0; t < 64; t++) {
            uint32_t e = s[4], a = s[0];
            uint32_t one = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                           ((e & s[5]) ^ (~e & s[6])) + constants[t] + words[t];
            uint32_t two = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                           ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof(*s));
            s[4] += one;
            s[0] = one + two;
        }
        for (int i = 0; i < 8; i++) {
            state[i] += s[i];
        }
    }
}

/* ---- With the processor's own instructions ---- */

#if defined(__x86_64__)

static int
has_native(void)
{
    const unsigned int ssse3 = 1U << 9, sse41 = 1U << 19, sha = 1U << 29;
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & ssse3) == 0 || (c & sse41) == 0) {
        return 0;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & sha) != 0;
}

/* The instructions want the eight words as (a b e f) and (c d g h), highest first, and
 * do two rounds each; four words of the schedule come from the sixteen before them. */
__attribute__((target("sha,ssse3,sse4.1"))) static void
blocks_native(uint32_t state[8], const uint8_t *bytes, size_t n_blocks)
{
    const __m128i big = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)state), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(badc, hgfe, 8);
    __m128i cdgh = _mm_blend_epi16(hgfe, badc, 0xF0);
    for (; n_blocks > 0; n_blocks--, bytes += SHA256_BLOCK) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_loadu_si128((const __m128i *)(bytes + 16 * i));
            w[i] = _mm_shuffle_epi8(w[i], big);
        }
#pragma GCC unroll 16
        for (int t = 0; t < 16; t++) {
            const __m128i *k = (const __m128i *)constants + t;
            __m128i sum = _mm_add_epi32(w[t & 3], _mm_load_si128(k));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
            if (t < 12) {
                __m128i last = w[(t + 3) & 3];
                __m128i next = _mm_sha256msg1_epu32(w[t & 3], w[(t + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(last, w[(t + 2) & 3], 4));
                w[t & 3] = _mm_sha256msg2_epu32(next, last);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

#else

static int
has_native(void)
{
    return 0;
}
#define blocks_native blocks_portable

#endif

/* ---- The hash ---- */

static int native = -1;

int
sha256_use_native(int use)
{
    int has = has_native();
    native = use && has;
    return has;
}

static void
add_blocks(struct sha256 *hash, const uint8_t *bytes, size_t n_blocks)
{
    if (native < 0) {
        sha256_use_native(1);
    }
    (native ? blocks_native : blocks_portable)(hash->state, bytes, n_blocks);
}

void
sha256_begin(struct sha256 *hash)
{
    *hash = (struct sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                  0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
    };
}

void
sha256_update(struct sha256 *hash, const uint8_t *bytes, size_t length)
{
    size_t kept = hash->length % SHA256_BLOCK;
    hash->length += length;
    if (kept > 0) {
        size_t room = SHA256_BLOCK - kept, piece = length < room ? length : room;
        memcpy(hash->rest + kept, bytes, piece);
        bytes += piece;
        length -= piece;
        if (piece == room) {
            add_blocks(hash, hash->rest, 1);
        }
    }
    add_blocks(hash, bytes, length / SHA256_BLOCK);
    if (length % SHA256_BLOCK > 0) {
        size_t left = length % SHA256_BLOCK;
        memcpy(hash->rest, bytes + length - left, left);
    }
}

void
sha256_digest(const struct sha256 *hash, uint8_t digest[SHA256_DIGEST])
{
    static const uint8_t padding[SHA256_BLOCK] = {0x80};
    struct sha256 last = *hash;
    uint8_t bits[8];
    store_big(bits, (uint32_t)(hash->length >> 29));
    store_big(bits + 4, (uint32_t)(hash->length << 3));
    size_t kept = hash->length % SHA256_BLOCK;
    size_t pad = (kept < 56 ? 56 : 120) - kept;
    sha256_update(&last, padding, pad);
    sha256_update(&last, bits, sizeof(bits));
    for (int i = 0; i < 8; i++) {
        store_big(digest + 4 * i, last.state[i]);
    }
}
