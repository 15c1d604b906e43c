/* Memory for whatever in the child asks Python for some.
 *
 * Another thread of the worker may have held malloc's lock, or tracemalloc's, at the
 * moment of the clone; in the child nobody will ever give it back.  The walk itself
 * asks for nothing, but C code of others that it has to call does: greenlet's getter of
 * gr_frame makes frame objects.  So all of Python's allocators are replaced here by one
 * that takes pages from the kernel, hands them out in order and takes nothing back.
 */
#ifndef LIVEHEAP_CHILD_MEMORY_H
#define LIVEHEAP_CHILD_MEMORY_H

/* In a child only: the worker's blocks could not be freed after it. */
void child_memory_replace(void);

#endif
