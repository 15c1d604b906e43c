/* How long searches in a hash table may take. Pure.
 *
 * What is hashed here comes from a file: addresses, texts, pairs of them. A file made
 * for it can let all of them fall into one place, and a million look-ups of a million
 * steps each would never end. An honest table takes about two steps a look-up; so each
 * table counts, and whoever owns it gives up when far more were taken.
 */
#ifndef LIVEHEAP_GRAPH_PROBES_H
#define LIVEHEAP_GRAPH_PROBES_H

#include <stdint.h>

struct probes {
    uint64_t lookups;
    uint64_t steps;
};

enum { PROBES_A_LOOKUP = 64, PROBES_TO_BEGIN_WITH = 1 << 20 };

static inline int
probes_too_many(const struct probes *probes)
{
    return probes->steps > probes->lookups * PROBES_A_LOOKUP + PROBES_TO_BEGIN_WITH;
}

#endif
