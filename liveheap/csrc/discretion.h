/* Which names say that what they lead to is nobody's business.  No Python.h, no state.
 *
 * Only asked under scope values, where other texts and numbers may leave; see FORMAT.md,
 * section 3.  Text is UTF-8 or Latin-1: what is looked for is ASCII, and occurs within
 * no character of either. */
#ifndef LIVEHEAP_DISCRETION_H
#define LIVEHEAP_DISCRETION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether pass, secret, token, key, auth, cookie, session or cred is part of the name,
 * whatever its case. */
bool discreet_name(const uint8_t *name, size_t length);

/* Whether a text tells such a name and then a value (`password=...`, `"token": ...`),
 * or is a URL with credentials. */
bool discreet_text(const uint8_t *text, size_t length);

#endif
