/* Time, for C without the GIL: the monotonic clock, and a sleep. No Python.h. */
#ifndef LIVEHEAP_CLOCK_H
#define LIVEHEAP_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static inline uint64_t
clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline double
clock_s(void)
{
    return (double)clock_ns() / (double)NS_PER_S;
}

static inline struct timespec
clock_span(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
}

/* May be cut short by a signal. */
static inline void
clock_sleep(uint64_t ns)
{
    struct timespec span = clock_span(ns);
    nanosleep(&span, NULL);
}

#endif
