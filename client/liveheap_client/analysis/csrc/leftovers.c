#include "pathsearch.h"

static int
claim_stray(struct search *search, const struct stray *stray)
{
    const struct heapgraph *graph = search->graph;
    struct child_key key = {
        .parent = (int32_t)search->plan->leftovers[stray->kind],
        .label = LABEL_ROOT,
        .type = graph->types.at[graph->type.at[stray->node]].class_id,
        .code = NO_CODE,
    };
    int32_t path = pathtree_child(search, &key);
    if (path < 0) {
        return GRAPH_NO_MEMORY;
    }
    pathnodes_claim(search, stray->node, path, NO_EDGE);
    search->queue[search->n_queue++] = stray->node;
    return 0;
}

/* Those of one kind that are in no cycle are searched from together, level by level. */
static int
run_strays(struct search *search, const struct vec_stray *strays)
{
    for (size_t i = 0; i < strays->n;) {
        size_t begin = search->n_queue;
        const struct stray *first = &strays->at[i];
        do {
            int rc = claim_stray(search, &strays->at[i++]);
            if (rc < 0) {
                return rc;
            }
        } while (!first->cycle && i < strays->n && !strays->at[i].cycle &&
                 strays->at[i].kind == first->kind);
        int rc = pathnodes_run(search, begin);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

int
leftovers_run(struct search *search)
{
    size_t n = search->graph->address.n;
    struct vec_stray strays = {0};
    uint8_t *met = malloc(n + 1);
    if (met == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t node = 0; node < n; node++) {
        met[node] = search->out->node_path[node] >= 0;
    }
    int rc = strays_find(&strays, search->graph, met);
    free(met);
    if (rc == 0) {
        rc = run_strays(search, &strays);
    }
    free(strays.at);
    return rc;
}
