/* The visitors that write the record stream of FORMAT.md. */
#ifndef LIVEHEAP_GRAPH_WRITER_H
#define LIVEHEAP_GRAPH_WRITER_H

#include "walker_state.h"

#define TAG_BITS 3
#define TAG_ROOT 6
#define TAG_META 7

/* META records, shared by all writers. */
enum meta_kind {
    META_END = 0,
    META_TYPE = 1,
    META_TEXT = 2,
    META_STRING = 3,
    META_CODE = 4,
    META_WARNING = 5,
    META_COUNT = 6,   /* histograms only */
    META_HASH = 7,    /* only where a key was given */
    META_PREVIEW = 8, /* only under scope values */
};

extern const struct visitor graph_writer;
extern const struct visitor graph_writer_hashing; /* with HASH records */
extern const struct visitor graph_writer_valued;  /* with PREVIEW, HASH if asked for */
extern const struct visitor histogram_writer;

uint8_t *writer_begin_meta(struct walk *walk, enum meta_kind kind, size_t room);

/* Ids of texts; a TEXT record is written at the first use.  0 is no text. */
uint32_t writer_text(struct walk *walk, PyObject *text);
uint32_t writer_c_text(struct walk *walk, const char *text);

/* A TYPE record, with the names of its fields or without. */
void writer_type(struct walk *walk, struct type_entry *entry, bool with_fields);
void writer_warning(struct walk *walk, const char *text);
/* A CODE record, once for each code object. */
void writer_code(struct walk *walk, PyCodeObject *code);

/* STRING records for all strs whose text may leave the process. */
void writer_strings(struct walk *walk);

/* A HASH record, if the node that was just written is a str or bytes. */
void writer_hash(struct walk *walk, const struct node *node);

/* graph_writer_values.c: writer_values_open() returns 0, or -1 if there is no memory;
 * the close is due either way, and if there was no open.  Each type and each node that
 * was just written is to be noted; PREVIEW records come after the STRINGs. */
int writer_values_open(struct walk *walk);
void writer_values_close(struct walk *walk);
void writer_values_type(struct walk *walk, const struct type_entry *entry);
void writer_note_values(struct walk *walk, const struct node *node);
void writer_values(struct walk *walk);

void writer_end(struct walk *walk);

#endif
