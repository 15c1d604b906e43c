#include "discretion.h"

#include <string.h>

static bool
begins_with(const uint8_t *text, size_t length, const char *word)
{
    size_t n = strlen(word);
    if (length < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if ((text[i] | 0x20) != (uint8_t)word[i]) {
            return false;
        }
    }
    return true;
}

/* Where the first such word begins; `length` if there is none. */
static size_t
find_word(const uint8_t *text, size_t length)
{
    static const char *const words[] = {"pass", "secret", "token",   "key",
                                        "auth", "cookie", "session", "cred"};
    for (size_t i = 0; i < length; i++) {
        switch (text[i] | 0x20) {
        case 'p':
        case 's':
        case 't':
        case 'k':
        case 'a':
        case 'c':
            for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
                if (begins_with(text + i, length - i, words[w])) {
                    return i;
                }
            }
            break;
        default:
            break;
        }
    }
    return length;
}

bool
discreet_name(const uint8_t *name, size_t length)
{
    return find_word(name, length) < length;
}

static bool
has_credentials(const uint8_t *text, size_t length)
{
    for (size_t i = 0; i + 3 <= length; i++) {
        if (memcmp(text + i, "://", 3) == 0) {
            return memchr(text + i, '@', length - i) != NULL;
        }
    }
    return false;
}

bool
discreet_text(const uint8_t *text, size_t length)
{
    size_t at = find_word(text, length);
    return memchr(text + at, '=', length - at) != NULL ||
           memchr(text + at, ':', length - at) != NULL || has_credentials(text, length);
}
