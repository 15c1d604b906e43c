/* The engine's files that know no Python, tested alone.  Each check prints its place on
 * failure; exit 0 says that all held.  Built and run by test_walker_pure.py. */
#define _GNU_SOURCE
#include "bitmap.h"
#include "sha256.h"
#include "sink.h"
#include "walker_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                        \
        }                                                                   \
    } while (0)

static uint64_t random_state = 0x2545F4914F6CDD1Du;

static uint64_t
next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void
check_bits(void)
{
    struct bitmap bitmap;
    CHECK(bitmap_init(&bitmap) == 0);
    CHECK(!bitmap_contains(&bitmap, 0x1000));
    CHECK(bitmap_add_listed(&bitmap, 0x1000));
    CHECK(!bitmap_add_listed(&bitmap, 0x1000));
    CHECK(!bitmap_add_reached(&bitmap, 0x1000));
    CHECK(bitmap_is_listed(&bitmap, 0x1000));
    CHECK(!bitmap_contains(&bitmap, 0x1010));
    CHECK(bitmap_add_reached(&bitmap, 0x1018));
    CHECK(!bitmap_add_reached(&bitmap, 0x1018));
    CHECK(bitmap_add_reached(&bitmap, 0x1028));
    CHECK(!bitmap_is_listed(&bitmap, 0x1018));
    CHECK(!bitmap_take_flag(&bitmap, 0x1000));
    bitmap_flag(&bitmap, 0x1000);
    CHECK(bitmap_take_flag(&bitmap, 0x1000));
    CHECK(!bitmap_take_flag(&bitmap, 0x1000));
    CHECK(bitmap_is_listed(&bitmap, 0x1000));
    bitmap_free(&bitmap);
}

#define REGIONS 5000

static void
check_regions(void)
{
    struct bitmap bitmap;
    static struct region sorted[REGIONS];
    CHECK(bitmap_init(&bitmap) == 0);
    for (uintptr_t i = 0; i < REGIONS; i++) {
        uintptr_t address =
            ((i * 7919 % REGIONS) << (REGION_SHIFT + 5)) + i * 16 % 4096;
        CHECK(bitmap_add_listed(&bitmap, address));
    }
    CHECK(bitmap.n_regions == REGIONS);
    bitmap_sorted_regions(&bitmap, sorted);
    for (uintptr_t i = 0; i < REGIONS; i++) {
        CHECK(region_base(&sorted[i]) == i << (REGION_SHIFT + 5));
        size_t bits = 0;
        for (size_t w = 0; w < REGION_WORDS; w++) {
            bits += (size_t)__builtin_popcountll(sorted[i].words[2 * w]);
            CHECK(sorted[i].words[2 * w + 1] == 0);
        }
        CHECK(bits == 1);
    }
    CHECK(!bitmap.failed);
    bitmap_free(&bitmap);
}

static void
check_sort(void)
{
    static uintptr_t items[20000], room[20000];
    const size_t n = sizeof(items) / sizeof(items[0]);
    for (size_t i = 0; i < n; i++) {
        items[i] = next_random() >> (i % 3 == 0 ? 0 : 17);
    }
    memory_sort(items, room, n);
    for (size_t i = 1; i < n; i++) {
        CHECK(items[i - 1] <= items[i]);
    }
    memory_sort(items, room, 0);
}

static void
check_vector(void)
{
    struct memory memory = {0};
    struct vector vector;
    CHECK(vector_init(&vector, &memory, 512) == 0);
    for (uintptr_t i = 0; i < 100000; i++) {
        vector_push(&vector, i * 3);
    }
    CHECK(vector.n == 100000);
    for (uintptr_t i = 0; i < 100000; i++) {
        CHECK(vector.items[i] == i * 3);
    }
    CHECK(memory.mapped == vector.capacity * sizeof(uintptr_t));
    vector_free(&vector);
    CHECK(memory.mapped == 0);
}

static uint64_t
read_varint(const uint8_t *bytes, size_t *at)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return value;
        }
    }
}

static void
check_sink(const char *path)
{
    static const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
    const size_t n_values = sizeof(values) / sizeof(values[0]);
    static uint8_t bytes[4 << 20];
    struct sink sink;
    int fd = open(path, O_RDWR | O_TRUNC | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK(sink_open(&sink, fd) == 0);
    for (size_t i = 0; i < 100000; i++) {
        uint8_t *p = sink_reserve(&sink, VARINT_MAX);
        sink_commit(&sink, put_varint(p, values[i % n_values]));
    }
    memset(bytes, 'x', sizeof(bytes));
    sink_bytes(&sink, bytes, 1 << 20);
    CHECK(sink_flush(&sink) == 0);
    uint64_t total = sink_total(&sink);
    sink_close(&sink);
    CHECK(pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)total);
    size_t at = 0;
    for (size_t i = 0; i < 100000; i++) {
        CHECK(read_varint(bytes, &at) == values[i % n_values]);
    }
    CHECK(total - at == 1 << 20);
    CHECK(bytes[total - 1] == 'x');
    close(fd);
    CHECK(zigzag(0) == 0 && zigzag(-1) == 1 && zigzag(1) == 2);
    CHECK(zigzag(INT64_MIN) == UINT64_MAX);
}

static void
check_sink_errors(void)
{
    struct sink sink;
    int full = open("/dev/full", O_WRONLY);
    CHECK(sink_open(&sink, full) == 0);
    sink_bytes(&sink, "text", 4);
    CHECK(sink.error == 0);
    CHECK(sink_flush(&sink) == -1);
    CHECK(sink.error == ENOSPC);
    for (size_t i = 0; i < SINK_CAPACITY; i++) {
        sink_bytes(&sink, "text", 4);
    }
    CHECK(sink.error == ENOSPC);
    CHECK(sink.flushed == 0);
    sink_close(&sink);
    close(full);
    CHECK(sink_open(&sink, -1) == 0);
    for (size_t i = 0; i < SINK_CAPACITY; i++) {
        sink_bytes(&sink, "text", 4);
    }
    CHECK(sink_flush(&sink) == 0);
    CHECK(sink_total(&sink) == 4 * SINK_CAPACITY);
    sink_close(&sink);
}

/* Last: there is no memory afterwards. */
static void
check_lack_of_memory(void)
{
    struct memory memory = {0};
    struct vector vector;
    struct bitmap bitmap;
    struct sink sink;
    CHECK(bitmap_init(&bitmap) == 0);
    CHECK(vector_init(&vector, &memory, 512) == 0);
    const struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    for (uintptr_t i = 0; i < 100000; i++) {
        vector_push(&vector, i);
        (void)bitmap_add_reached(&bitmap, i << REGION_SHIFT);
    }
    CHECK(memory.failed && memory.error == ENOMEM);
    CHECK(vector.n <= vector.capacity);
    CHECK(bitmap.failed);
    CHECK(sink_open(&sink, -1) == -1 && sink.error == ENOMEM);
    sink_close(&sink);
    bitmap_free(&bitmap);
    vector_free(&vector);
}

/* The digest of bytes hashed in pieces of random lengths. */
static void
digest_in_pieces(const uint8_t *bytes, size_t length, uint8_t digest[SHA256_DIGEST])
{
    struct sha256 hash;
    sha256_begin(&hash);
    while (length > 0) {
        size_t piece = 1 + next_random() % (length < 200 ? length : 200);
        sha256_update(&hash, bytes, piece);
        bytes += piece;
        length -= piece;
    }
    sha256_digest(&hash, digest);
}

static void
check_hash(void)
{
    static const uint8_t of_abc[4] = {0xba, 0x78, 0x16, 0xbf};
    uint8_t bytes[1000], portable[SHA256_DIGEST], native[SHA256_DIGEST];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)next_random();
    }
    sha256_use_native(0);
    digest_in_pieces((const uint8_t *)"abc", 3, portable);
    CHECK(memcmp(portable, of_abc, sizeof(of_abc)) == 0);
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        sha256_use_native(0);
        digest_in_pieces(bytes, length, portable);
        sha256_use_native(1);
        digest_in_pieces(bytes, length, native);
        CHECK(memcmp(portable, native, sizeof(portable)) == 0);
    }
}

int
main(int argc, char **argv)
{
    CHECK(argc == 2);
    check_bits();
    check_regions();
    check_sort();
    check_vector();
    check_hash();
    check_sink(argv[1]);
    check_sink_errors();
    check_lack_of_memory();
    return 0;
}
