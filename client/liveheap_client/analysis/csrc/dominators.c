#include "dominators.h"

#include <string.h>

#include "strays.h"

/* Nodes are known here by their number in depth-first order. */
enum { NOBODY = 0, SUPER_ROOT = 1, FIRST_NUMBER = 2 };

#define CLIMBS_A_NODE 4

/* A node of the forest that eval compresses; later of the tree that is climbed. */
struct link {
    union {
        uint32_t ancestor;
        uint32_t jump; /* to a dominator far above */
    };
    union {
        uint32_t least;  /* semidominator on the compressed path */
        uint32_t height; /* below the super-root */
    };
};

/* What the numbering asks of a node, in one place of memory. */
struct visit {
    uint32_t row;
    uint32_t refs; /* owning edges to it; then where its next source goes */
};

struct work {
    const struct heapgraph *graph;
    struct dominators *tree;
    uint32_t last;       /* number given */
    struct visit *visit; /* by node */
    uint32_t *above;     /* by number: parent in the depth-first tree; then the idom */
    uint32_t *stack;     /* by number: next edge of an open node; then eval's path */
    uint32_t *row;       /* by number: its first source */
    uint32_t *source;
    uint32_t *semi;
    struct link *link;
};

static inline int32_t
node_of(const struct work *work, uint32_t number)
{
    return work->tree->order[number - FIRST_NUMBER];
}

static void *
array(size_t n, size_t size)
{
    return n > SIZE_MAX / size ? NULL : malloc(n * size);
}

/* ---- the depth-first numbering, which counts the sources as well ---- */

static inline uint32_t
give_number(struct work *work, int32_t node, uint32_t parent)
{
    const struct heapgraph *graph = work->graph;
    uint32_t number = ++work->last;
    uint32_t edge = work->visit[node].row;
    uint32_t end = work->visit[node + 1].row;
    work->tree->order[number - FIRST_NUMBER] = node;
    work->above[number] = parent;
    work->stack[number] = edge;
    end = end - edge > AHEAD ? edge + AHEAD : end;
    for (; edge < end; edge++) {
        __builtin_prefetch(&work->visit[graph->target.at[edge]]);
    }
    return number;
}

static void
number_from(struct work *work, int32_t entry)
{
    const struct heapgraph *graph = work->graph;
    struct visit *visit = work->visit;
    if (visit[entry].refs++ != 0) {
        return;
    }
    uint32_t number = give_number(work, entry, SUPER_ROOT);
    while (number != SUPER_ROOT) {
        uint32_t edge = work->stack[number];
        uint32_t end = visit[node_of(work, number) + 1].row;
        uint32_t next = work->above[number];
        for (; edge < end; edge++) {
            if (!(graph->edge_kind.at[edge] & EDGE_OWNS)) {
                continue;
            }
            int32_t target = graph->target.at[edge];
            if (visit[target].refs++ == 0) {
                uint32_t given = give_number(work, target, number);
                if (visit[target].row != visit[target + 1].row) {
                    next = given;
                    edge++;
                    break;
                }
            }
        }
        work->stack[number] = edge;
        number = next;
    }
}

static int
number_strays(struct work *work, struct vec_stray *strays)
{
    size_t n = work->graph->address.n;
    uint8_t *met = malloc(n + 1);
    if (met == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t node = 0; node < n; node++) {
        met[node] = work->visit[node].refs != 0;
    }
    int rc = strays_find(strays, work->graph, met);
    free(met);
    for (size_t i = 0; rc == 0 && i < strays->n; i++) {
        number_from(work, strays->at[i].node);
    }
    return rc;
}

static int
number_nodes(struct work *work, struct vec_stray *strays)
{
    const struct heapgraph *graph = work->graph;
    work->last = SUPER_ROOT;
    for (size_t i = 0; i < graph->roots.n; i++) {
        number_from(work, graph->roots.at[i].node);
    }
    for (size_t i = 0; i < graph->modules.n; i++) {
        number_from(work, graph->modules.at[i].node);
    }
    if (work->last - SUPER_ROOT == graph->address.n) {
        return 0;
    }
    return number_strays(work, strays);
}

/* ---- the sources of each number ---- */

/* The only source of most nodes is their parent, which need not be written down. */
#define ONE_SOURCE UINT32_MAX

static uint32_t
make_rows(struct work *work)
{
    uint32_t n_sources = 0;
    for (uint32_t number = FIRST_NUMBER; number <= work->last; number++) {
        if (number + AHEAD <= work->last) {
            __builtin_prefetch(&work->visit[node_of(work, number + AHEAD)]);
        }
        uint32_t *refs = &work->visit[node_of(work, number)].refs;
        uint32_t n = *refs;
        work->row[number] = n_sources;
        *refs = n == 1 ? ONE_SOURCE : n_sources;
        n_sources += n == 1 ? 0 : n;
    }
    work->row[work->last + 1] = n_sources;
    return n_sources;
}

static inline void
add_source(struct work *work, int32_t node, uint32_t source)
{
    uint32_t *place = &work->visit[node].refs;
    if (*place != ONE_SOURCE) {
        work->source[(*place)++] = source;
    }
}

static inline void
want_edges(const struct work *work, uint32_t number)
{
    const struct heapgraph *graph = work->graph;
    if (number + AHEAD <= work->last) {
        __builtin_prefetch(&work->visit[node_of(work, number + AHEAD)]);
    }
    if (number + AHEAD / 2 <= work->last) {
        uint32_t edge = work->visit[node_of(work, number + AHEAD / 2)].row;
        __builtin_prefetch(&graph->target.at[edge]);
        __builtin_prefetch(&graph->edge_kind.at[edge]);
    }
    if (number + AHEAD / 4 <= work->last) {
        int32_t node = node_of(work, number + AHEAD / 4);
        uint32_t edge = work->visit[node].row;
        uint32_t end = work->visit[node + 1].row;
        end = end - edge > AHEAD ? edge + AHEAD : end;
        for (; edge < end; edge++) {
            __builtin_prefetch(&work->visit[graph->target.at[edge]]);
        }
    }
}

static int
list_sources(struct work *work, const struct vec_stray *strays)
{
    const struct heapgraph *graph = work->graph;
    if (graph->target.n + graph->roots.n + graph->modules.n + strays->n >= ONE_SOURCE) {
        return GRAPH_TOO_LARGE;
    }
    work->source = array((size_t)make_rows(work) + 1, sizeof(*work->source));
    if (work->source == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (size_t i = 0; i < graph->roots.n; i++) {
        add_source(work, graph->roots.at[i].node, SUPER_ROOT);
    }
    for (size_t i = 0; i < graph->modules.n; i++) {
        add_source(work, graph->modules.at[i].node, SUPER_ROOT);
    }
    for (size_t i = 0; i < strays->n; i++) {
        add_source(work, strays->at[i].node, SUPER_ROOT);
    }
    for (uint32_t number = FIRST_NUMBER; number <= work->last; number++) {
        int32_t node = node_of(work, number);
        uint32_t end = work->visit[node + 1].row;
        want_edges(work, number);
        for (uint32_t edge = work->visit[node].row; edge < end; edge++) {
            if (graph->edge_kind.at[edge] & EDGE_OWNS) {
                add_source(work, graph->target.at[edge], number);
            }
        }
    }
    return 0;
}

/* ---- semidominators ---- */

/* The least semidominator on the path from `number` up to where the forest, which holds
 * the numbers from `limit` on, ends. Compresses the path. */
static inline uint32_t
eval(struct link *link, uint32_t *stack, uint32_t number, uint32_t limit)
{
    size_t depth = 0;
    uint32_t top = number;
    while (link[top].ancestor >= limit) {
        stack[depth++] = top;
        top = link[top].ancestor;
    }
    uint32_t least = link[top].least;
    uint32_t ancestor = link[top].ancestor;
    while (depth > 0) {
        struct link *step = &link[stack[--depth]];
        step->ancestor = ancestor;
        if (step->least > least) {
            step->least = least;
        }
        else {
            least = step->least;
        }
    }
    return least;
}

static int
find_semidominators(struct work *work)
{
    size_t n = (size_t)work->last + 1;
    work->semi = array(n, sizeof(*work->semi));
    work->link = array(n, sizeof(*work->link));
    if (work->semi == NULL || work->link == NULL) {
        return GRAPH_NO_MEMORY;
    }
    for (uint32_t number = SUPER_ROOT; number <= work->last; number++) {
        work->link[number] = (struct link){{work->above[number]}, {number}};
    }
    for (uint32_t number = work->last; number >= FIRST_NUMBER; number--) {
        uint32_t semi = work->above[number];
        uint32_t end = work->row[number + 1];
        for (uint32_t i = work->row[number]; i < end; i++) {
            if (i >= AHEAD) {
                /* Rows are read from the last to the first. */
                __builtin_prefetch(&work->link[work->source[i - AHEAD]]);
            }
            uint32_t found = work->source[i];
            if (found > number) {
                found = eval(work->link, work->stack, found, number + 1);
            }
            semi = found < semi ? found : semi;
        }
        work->semi[number] = semi;
        work->link[number].least = semi;
    }
    return 0;
}

/* ---- from semidominators to dominators ---- */

/* Skip pointers as in Myers' random-access stack (1983): a node jumps over as many as
 * both its parent and the one its parent jumps to. */
static inline void
add_jump(const struct work *work, uint32_t number)
{
    struct link *link = work->link;
    uint32_t idom = work->above[number];
    uint32_t jump = link[idom].jump;
    uint32_t far = link[jump].jump;
    int even =
        link[idom].height - link[jump].height == link[jump].height - link[far].height;
    link[number].jump = even ? far : idom;
    link[number].height = link[idom].height + 1;
}

static void
climb_by_jumps(struct work *work, uint32_t from)
{
    const struct link *link = work->link;
    work->link[SUPER_ROOT] = (struct link){{SUPER_ROOT}, {0}};
    for (uint32_t number = FIRST_NUMBER; number < from; number++) {
        add_jump(work, number);
    }
    for (uint32_t number = from; number <= work->last; number++) {
        uint32_t semi = work->semi[number];
        uint32_t idom = work->above[number];
        while (idom > semi) {
            idom = link[idom].jump > semi ? link[idom].jump : work->above[idom];
        }
        work->above[number] = idom;
        add_jump(work, number);
    }
}

/* Those above come first, so that a climb goes up a finished tree. */
static void
climb(struct work *work)
{
    uint32_t *above = work->above;
    uint64_t steps_left = CLIMBS_A_NODE * ((uint64_t)work->last + 1);
    above[SUPER_ROOT] = NOBODY;
    for (uint32_t number = FIRST_NUMBER; number <= work->last; number++) {
        uint32_t semi = work->semi[number];
        uint32_t idom = above[number];
        for (; idom > semi; idom = above[idom]) {
            if (steps_left-- == 0) {
                climb_by_jumps(work, number);
                return;
            }
        }
        above[number] = idom;
    }
}

/* ---- the result ---- */

static int
write_tree(struct work *work)
{
    const struct heapgraph *graph = work->graph;
    struct dominators *tree = work->tree;
    size_t n = graph->address.n;
    tree->idom = array(n + 1, sizeof(*tree->idom));
    tree->retained = array(n + 1, sizeof(*tree->retained));
    if (tree->idom == NULL || tree->retained == NULL) {
        return GRAPH_NO_MEMORY;
    }
    if (n > 0) {
        memcpy(tree->retained, graph->size.at, n * sizeof(*tree->retained));
    }
    for (uint32_t number = FIRST_NUMBER; number <= work->last; number++) {
        if (number + AHEAD <= work->last) {
            __builtin_prefetch(&tree->idom[node_of(work, number + AHEAD)]);
        }
        uint32_t above = work->above[number];
        int32_t idom = above == SUPER_ROOT ? NO_NODE : node_of(work, above);
        if (idom >= 0 && (graph->flags.at[idom] & NODE_FOLDED) &&
            tree->idom[idom] >= 0) {
            idom = tree->idom[idom];
        }
        tree->idom[node_of(work, number)] = idom;
    }
    for (uint32_t number = work->last; number >= FIRST_NUMBER; number--) {
        if (number >= FIRST_NUMBER + AHEAD) {
            __builtin_prefetch(&tree->idom[node_of(work, number - AHEAD)]);
            __builtin_prefetch(&tree->retained[node_of(work, number - AHEAD)]);
        }
        int32_t node = node_of(work, number);
        int32_t idom = tree->idom[node];
        if (idom >= 0) {
            tree->retained[idom] += tree->retained[node];
        }
    }
    return 0;
}

static void
work_clear(struct work *work)
{
    free(work->visit);
    free(work->above);
    free(work->stack);
    free(work->row);
    free(work->source);
    free(work->semi);
    free(work->link);
}

int
dominators_find(struct dominators *tree, const struct heapgraph *graph)
{
    size_t n = graph->address.n + FIRST_NUMBER + 1;
    struct work work = {.graph = graph, .tree = tree};
    struct vec_stray strays = {0};
    tree->order = array(n, sizeof(*tree->order));
    work.visit = array(n, sizeof(*work.visit));
    work.above = array(n, sizeof(*work.above));
    work.stack = array(n, sizeof(*work.stack));
    work.row = array(n, sizeof(*work.row));
    int rc = tree->order == NULL || work.visit == NULL || work.above == NULL ||
                     work.stack == NULL || work.row == NULL
                 ? GRAPH_NO_MEMORY
                 : 0;
    if (rc == 0) {
        for (size_t node = 0; node <= graph->address.n; node++) {
            work.visit[node] = (struct visit){graph->row.at[node], 0};
        }
        rc = number_nodes(&work, &strays);
    }
    if (rc == 0) {
        rc = list_sources(&work, &strays);
    }
    free(strays.at);
    free(work.visit);
    work.visit = NULL;
    if (rc == 0) {
        rc = find_semidominators(&work);
    }
    free(work.source);
    work.source = NULL;
    if (rc == 0) {
        climb(&work);
        rc = write_tree(&work);
    }
    work_clear(&work);
    return rc;
}

void
dominators_clear(struct dominators *tree)
{
    free(tree->idom);
    free(tree->retained);
    free(tree->order);
    memset(tree, 0, sizeof(*tree));
}
