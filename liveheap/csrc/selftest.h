/* Whether the definitions of compat.h fit the interpreter at hand. */
#ifndef LIVEHEAP_SELFTEST_H
#define LIVEHEAP_SELFTEST_H

/* Needs the GIL.  Returns 0, or -1 with a RuntimeError that says what does not fit. */
int selftest_run(void);

/* Python code that defines `cases`, a list of (object, referent, its name or index),
 * `sized`, a list of objects whose size sys.getsizeof() knows, and `hold`. */
extern const char selftest_source[];

#endif
