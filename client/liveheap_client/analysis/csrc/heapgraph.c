#include "heapgraph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
heapgraph_clear(struct heapgraph *graph)
{
    free(graph->address.at);
    free(graph->type.at);
    free(graph->size.at);
    free(graph->refcount.at);
    free(graph->record.at);
    free(graph->row.at);
    free(graph->flags.at);
    free(graph->target_address.at);
    free(graph->target.at);
    free(graph->edge_kind.at);
    free(graph->edge_name.at);
    free(graph->types.at);
    free(graph->fields.at);
    free(graph->codes.at);
    free(graph->locals.at);
    free(graph->frames.at);
    free(graph->roots.at);
    free(graph->modules.at);
    free(graph->strings.at);
    free(graph->warnings.at);
    free(graph->content_node.at);
    free(graph->content_kind.at);
    free(graph->content_length.at);
    free(graph->content_hash.at);
    free(graph->previews.at);
    free(graph->preview_node.at);
    free(graph->preview_kind.at);
    free(graph->preview_length.at);
    free(graph->preview_name.at);
    free(graph->code_of_node.at);
    free(graph->type_of_node.at);
    textpool_clear(&graph->names);
    memset(graph, 0, sizeof(*graph));
}

int
heapgraph_corrupt(struct heapgraph *graph, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(graph->why, sizeof(graph->why), format, arguments);
    va_end(arguments);
    return GRAPH_CORRUPT;
}

const struct frame_info *
heapgraph_frame(const struct heapgraph *graph, int32_t node)
{
    size_t low = 0;
    size_t high = graph->frames.n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (graph->frames.at[middle].node < node) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    if (low < graph->frames.n && graph->frames.at[low].node == node) {
        return &graph->frames.at[low];
    }
    return NULL;
}

static int
compare_node_index(const void *left, const void *right)
{
    const struct node_index *a = left;
    const struct node_index *b = right;
    if (a->node != b->node) {
        return a->node < b->node ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

void
node_index_sort(struct vec_node_index *vec)
{
    if (vec->n > 0) {
        qsort(vec->at, vec->n, sizeof(*vec->at), compare_node_index);
    }
}

static int32_t
node_index_find(const struct vec_node_index *vec, int32_t node)
{
    size_t low = 0;
    size_t high = vec->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (vec->at[middle].node < node) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    return low < vec->n && vec->at[low].node == node ? vec->at[low].index : -1;
}

const struct code_info *
heapgraph_code(const struct heapgraph *graph, int32_t node)
{
    int32_t index = node_index_find(&graph->code_of_node, node);
    return index < 0 ? NULL : &graph->codes.at[index];
}

const struct type_info *
heapgraph_type(const struct heapgraph *graph, int32_t node)
{
    int32_t index = node_index_find(&graph->type_of_node, node);
    return index < 0 ? NULL : &graph->types.at[index];
}

int64_t
heapgraph_internal(const struct heapgraph *graph, int32_t node, uint32_t name)
{
    /* Internal fields stand among the first; a row made to cost time is cut. */
    enum { MAX_FIELDS = 256 };
    uint32_t begin = graph->row.at[node];
    uint32_t end = graph->row.at[node + 1];
    if (end - begin > MAX_FIELDS) {
        end = begin + MAX_FIELDS;
    }
    for (uint32_t edge = begin; edge < end; edge++) {
        if (graph->edge_kind.at[edge] % EDGE_OWNS == EDGE_INTERNAL &&
            graph->edge_name.at[edge] == name) {
            return edge;
        }
    }
    return -1;
}
