#include "leakshare.h"

#include <stdlib.h>
#include <string.h>

struct share_search {
    const struct heapgraph *graph;
    const uint8_t *member;
    uint8_t *free; /* found without entering a suspect */
    uint64_t *led; /* bit k: suspect k + 1 leads there */
    int32_t *queue;
    size_t n_queue;
};

static void
mark_free(struct share_search *search, int32_t node)
{
    if (!search->free[node] && search->member[node] == 0) {
        search->free[node] = 1;
        search->queue[search->n_queue++] = node;
    }
}

static void
mark_led(struct share_search *search, int32_t node, uint64_t bit)
{
    if (!search->free[node] && !(search->led[node] & bit)) {
        search->led[node] |= bit;
        search->queue[search->n_queue++] = node;
    }
}

/* Follow all owning edges from the queue on; `bit` 0 marks what is free. */
static void
follow_all(struct share_search *search, uint64_t bit)
{
    const struct heapgraph *graph = search->graph;
    for (size_t i = 0; i < search->n_queue; i++) {
        int32_t node = search->queue[i];
        uint32_t end = graph->row.at[node + 1];
        for (uint32_t edge = graph->row.at[node]; edge < end; edge++) {
            if (!(graph->edge_kind.at[edge] & EDGE_OWNS)) {
                continue;
            }
            if (bit == 0) {
                mark_free(search, graph->target.at[edge]);
            }
            else {
                mark_led(search, graph->target.at[edge], bit);
            }
        }
    }
    search->n_queue = 0;
}

static void
credit(const struct share_search *search, unsigned n_suspects, double *share)
{
    const struct heapgraph *graph = search->graph;
    memset(share, 0, n_suspects * sizeof(*share));
    for (size_t node = 0; node < graph->address.n; node++) {
        uint64_t led = search->led[node];
        if (led == 0) {
            continue;
        }
        unsigned n = 0;
        for (uint64_t rest = led; rest != 0; rest &= rest - 1) {
            n++;
        }
        double part = (double)graph->size.at[node] / n;
        for (unsigned k = 0; k < n_suspects; k++) {
            if (led >> k & 1) {
                share[k] += part;
            }
        }
    }
}

int
leakshare_find(const struct heapgraph *graph, const uint8_t *member,
               unsigned n_suspects, const int32_t *starts, size_t n_starts,
               double *share)
{
    size_t n = graph->address.n;
    struct share_search search = {
        .graph = graph,
        .member = member,
        .free = calloc(n + 1, sizeof(*search.free)),
        .led = calloc(n + 1, sizeof(*search.led)),
        .queue = malloc((n + 1) * sizeof(*search.queue)),
    };
    int rc = GRAPH_NO_MEMORY;
    if (search.free != NULL && search.led != NULL && search.queue != NULL) {
        for (size_t i = 0; i < n_starts; i++) {
            if (starts[i] >= 0 && (size_t)starts[i] < n) {
                mark_free(&search, starts[i]);
            }
        }
        follow_all(&search, 0);
        for (unsigned k = 0; k < n_suspects; k++) {
            uint64_t bit = (uint64_t)1 << k;
            for (size_t node = 0; node < n; node++) {
                if (member[node] == k + 1) {
                    mark_led(&search, (int32_t)node, bit);
                }
            }
            follow_all(&search, bit);
        }
        credit(&search, n_suspects, share);
        rc = 0;
    }
    free(search.free);
    free(search.led);
    free(search.queue);
    return rc;
}
