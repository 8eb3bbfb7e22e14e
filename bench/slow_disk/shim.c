/* Makes every call that waits for the disk take longer, and counts it: a disk as slow as real ones are.
 *
 * LD_PRELOAD this, with SLOW_DISK_DELAY_US microseconds added to each call and SLOW_DISK_COUNTS the name of a file of
 * KINDS 64-bit counters, which all processes share. Counted: fsync, fdatasync, any write to a descriptor opened with
 * O_DSYNC or O_SYNC, and the rarer ways to the disk (msync, sync, syncfs, sync_file_range) together. calls.py reads it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { FSYNC, FDATASYNC, SYNC_WRITE, OTHER, KINDS };

static uint64_t *counts;
static long delay_us;

__attribute__((constructor)) static void begin(void) {
    const char *delay = getenv("SLOW_DISK_DELAY_US"), *path = getenv("SLOW_DISK_COUNTS");
    delay_us = delay ? atol(delay) : 0;
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, KINDS * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) counts = map;
}

static void waited(enum kind kind) {
    if (counts) __atomic_fetch_add(&counts[kind], 1, __ATOMIC_RELAXED);
    if (delay_us <= 0) return;
    struct timespec left = {delay_us / 1000000, delay_us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left)) continue;
}

static int is_sync(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & (O_DSYNC | O_SYNC));
}

#define WRAP(result, name, kind, when, parameters, arguments)                                                          \
    result name parameters {                                                                                           \
        static result(*real) parameters;                                                                               \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                               \
        result done = real arguments;                                                                                  \
        if (when) waited(kind);                                                                                        \
        return done;                                                                                                   \
    }

WRAP(int, fsync, FSYNC, 1, (int fd), (fd))
WRAP(int, fdatasync, FDATASYNC, 1, (int fd), (fd))
WRAP(int, syncfs, OTHER, 1, (int fd), (fd))
WRAP(int, msync, OTHER, flags & MS_SYNC, (void *at, size_t size, int flags), (at, size, flags))
WRAP(int, sync_file_range, OTHER, flags, (int fd, off64_t at, off64_t size, unsigned flags), (fd, at, size, flags))

void sync(void) {
    static void (*real)(void);
    if (!real) real = (void (*)(void))dlsym(RTLD_NEXT, "sync");
    real();
    waited(OTHER);
}

#define VECTOR const struct iovec *parts, int number
WRAP(ssize_t, write, SYNC_WRITE, is_sync(fd), (int fd, const void *from, size_t size), (fd, from, size))
WRAP(ssize_t, writev, SYNC_WRITE, is_sync(fd), (int fd, VECTOR), (fd, parts, number))
WRAP(ssize_t, pwrite, SYNC_WRITE, is_sync(fd), (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
WRAP(ssize_t, pwrite64, SYNC_WRITE, is_sync(fd), (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
WRAP(ssize_t, pwritev, SYNC_WRITE, is_sync(fd), (int fd, VECTOR, off_t at), (fd, parts, number, at))
WRAP(ssize_t, pwritev64, SYNC_WRITE, is_sync(fd), (int fd, VECTOR, off64_t at), (fd, parts, number, at))
WRAP(ssize_t, pwritev2, SYNC_WRITE, (flags & (RWF_DSYNC | RWF_SYNC)) || is_sync(fd), (int fd, VECTOR, off_t at, int flags), (fd, parts, number, at, flags))
WRAP(ssize_t, pwritev64v2, SYNC_WRITE, (flags & (RWF_DSYNC | RWF_SYNC)) || is_sync(fd), (int fd, VECTOR, off64_t at, int flags), (fd, parts, number, at, flags))
