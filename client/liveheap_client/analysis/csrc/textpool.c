#include "textpool.h"

#include <string.h>

static uint64_t
text_hash(const uint8_t *text, size_t length)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ text[i]) * 0x100000001b3u;
    }
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 32);
}

int
textpool_init(struct textpool *pool)
{
    pool->n_slots = 1024;
    pool->slots = calloc(pool->n_slots, sizeof(*pool->slots));
    if (pool->slots == NULL || vec_u64_push(&pool->end, 0) < 0 ||
        vec_u64_push(&pool->hash, text_hash(NULL, 0)) < 0) {
        return TEXTPOOL_NO_MEMORY;
    }
    return 0;
}

void
textpool_clear(struct textpool *pool)
{
    free(pool->bytes.at);
    free(pool->end.at);
    free(pool->hash.at);
    free(pool->slots);
    memset(pool, 0, sizeof(*pool));
}

const uint8_t *
textpool_get(const struct textpool *pool, uint32_t name, size_t *length)
{
    if (name == 0 || name >= pool->end.n) {
        *length = 0;
        return (const uint8_t *)"";
    }
    uint64_t begin = pool->end.at[name - 1];
    *length = pool->end.at[name] - begin;
    return pool->bytes.at + begin;
}

/* The slot that holds the text or, if none does, the free one where it belongs. */
static uint32_t *
find_slot(const struct textpool *pool, struct probes *probes, const uint8_t *text,
          size_t length, uint64_t hash)
{
    size_t i = hash & (pool->n_slots - 1);
    probes->lookups++;
    for (;; probes->steps++) {
        uint32_t name = pool->slots[i];
        if (name == 0) {
            return &pool->slots[i];
        }
        if (pool->hash.at[name] == hash) {
            size_t n;
            const uint8_t *other = textpool_get(pool, name, &n);
            if (n == length && memcmp(other, text, n) == 0) {
                return &pool->slots[i];
            }
        }
        i = (i + 1) & (pool->n_slots - 1);
    }
}

static int
grow(struct textpool *pool)
{
    size_t n_slots = pool->n_slots * 2;
    uint32_t *slots = calloc(n_slots, sizeof(*slots));
    if (slots == NULL) {
        return TEXTPOOL_NO_MEMORY;
    }
    for (uint32_t name = 1; name < pool->end.n; name++) {
        size_t i = pool->hash.at[name] & (n_slots - 1);
        for (; slots[i] != 0; pool->probes.steps++) {
            i = (i + 1) & (n_slots - 1);
        }
        slots[i] = name;
    }
    free(pool->slots);
    pool->slots = slots;
    pool->n_slots = n_slots;
    return 0;
}

static int
append_bytes(struct vec_u8 *bytes, const uint8_t *text, size_t length)
{
    if (bytes->capacity - bytes->n < length) {
        size_t capacity = vec_grown(bytes->capacity);
        if (capacity < bytes->n + length) {
            capacity = bytes->n + length;
        }
        uint8_t *at = realloc(bytes->at, capacity);
        if (at == NULL) {
            return TEXTPOOL_NO_MEMORY;
        }
        bytes->at = at;
        bytes->capacity = capacity;
    }
    memcpy(bytes->at + bytes->n, text, length);
    bytes->n += length;
    return 0;
}

int
textpool_add(struct textpool *pool, const uint8_t *text, size_t length, uint32_t *name)
{
    *name = 0;
    if (length == 0) {
        return 0;
    }
    if (pool->end.n * 2 > pool->n_slots && grow(pool) < 0) {
        return TEXTPOOL_NO_MEMORY;
    }
    uint64_t hash = text_hash(text, length);
    uint32_t *slot = find_slot(pool, &pool->probes, text, length, hash);
    if (probes_too_many(&pool->probes) || pool->end.n >= UINT32_MAX) {
        return TEXTPOOL_CROWDED;
    }
    if (*slot == 0) {
        if (append_bytes(&pool->bytes, text, length) < 0 ||
            vec_u64_push(&pool->hash, hash) < 0 ||
            vec_u64_push(&pool->end, pool->bytes.n) < 0) {
            return TEXTPOOL_NO_MEMORY;
        }
        *slot = (uint32_t)(pool->end.n - 1);
    }
    *name = *slot;
    return 0;
}

uint32_t
textpool_find(const struct textpool *pool, const char *text)
{
    size_t length = strlen(text);
    const uint8_t *bytes = (const uint8_t *)text;
    struct probes probes = {0};
    return *find_slot(pool, &probes, bytes, length, text_hash(bytes, length));
}
