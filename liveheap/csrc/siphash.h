/* SipHash-1-3 (Aumasson and Bernstein) of a number and some bytes.  No Python.h, no
 * state.  Without the key its values say nothing but which messages were equal. */
#ifndef LIVEHEAP_SIPHASH_H
#define LIVEHEAP_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY 16 /* bytes */

/* The message is `first`, as eight bytes with the low one first, and then `bytes`. */
uint64_t siphash(const uint8_t key[SIPHASH_KEY], uint64_t first, const void *bytes,
                 size_t length);

#endif
