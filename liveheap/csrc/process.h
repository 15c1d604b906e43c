/* What takes several system calls, in one: facts about this process, a line of a log.
 *
 * Python gives the GIL away for each call of the kernel.  Beside code that computes it
 * takes five milliseconds to get it back, and a dozen calls add up.
 */
#ifndef LIVEHEAP_PROCESS_H
#define LIVEHEAP_PROCESS_H

#include "compat.h"

extern PyMethodDef process_methods[];

#endif
