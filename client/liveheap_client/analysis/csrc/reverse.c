#include "reverse.h"

int
reverse_owning(struct reversed *reversed, const struct heapgraph *graph)
{
    size_t n = graph->address.n;
    size_t n_edges = graph->target.n;
    uint32_t *row = calloc(n + 2, sizeof(*row));
    uint32_t *edge = malloc((n_edges + 1) * sizeof(*edge));
    if (row == NULL || edge == NULL) {
        free(row);
        free(edge);
        return GRAPH_NO_MEMORY;
    }
    /* Counts go one place further than the rows, so that filling the rows moves each
     * start to where the next one begins. */
    for (size_t i = 0; i < n_edges; i++) {
        if (graph->edge_kind.at[i] & EDGE_OWNS) {
            row[graph->target.at[i] + 2]++;
        }
    }
    for (size_t node = 0; node < n; node++) {
        row[node + 2] += row[node + 1];
    }
    for (size_t i = 0; i < n_edges; i++) {
        if (graph->edge_kind.at[i] & EDGE_OWNS) {
            edge[row[graph->target.at[i] + 1]++] = (uint32_t)i;
        }
    }
    *reversed = (struct reversed){row, edge, row[n]};
    return 0;
}
