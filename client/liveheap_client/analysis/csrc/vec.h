/* Growable arrays of one element type. Pure.
 *
 * VEC(name, type) makes `struct name` { at, n, capacity } and name_push, which
 * returns 0, or -1 if there is no memory. The arrays belong to whoever holds the
 * struct; free(v.at) ends them. Growth is by half, so that a column of 10 M
 * elements wastes at most a third of itself.
 */
#ifndef LIVEHEAP_GRAPH_VEC_H
#define LIVEHEAP_GRAPH_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline size_t
vec_grown(size_t capacity)
{
    return capacity < 64 ? 64 : capacity + capacity / 2;
}

#define VEC(name, type)                                           \
    struct name {                                                 \
        type *at;                                                 \
        size_t n;                                                 \
        size_t capacity;                                          \
    };                                                            \
    static inline int name##_push(struct name *vec, type element) \
    {                                                             \
        if (vec->n == vec->capacity) {                            \
            size_t capacity = vec_grown(vec->capacity);           \
            if (capacity > SIZE_MAX / sizeof(type)) {             \
                return -1;                                        \
            }                                                     \
            type *at = realloc(vec->at, capacity * sizeof(type)); \
            if (at == NULL) {                                     \
                return -1;                                        \
            }                                                     \
            vec->at = at;                                         \
            vec->capacity = capacity;                             \
        }                                                         \
        vec->at[vec->n++] = element;                              \
        return 0;                                                 \
    }

VEC(vec_u8, uint8_t)
VEC(vec_u16, uint16_t)
VEC(vec_u32, uint32_t)
VEC(vec_i32, int32_t)
VEC(vec_u64, uint64_t)

#endif
