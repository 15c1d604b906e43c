#include "selftest.h"

int
selftest_run(void)
{
    return 0;
}
