/* A bad disk, for LD_PRELOAD; compiled by the scripts that use it.
 *   DISK_FSYNC_MS=300           every fsync takes that long
 *   DISK_FAULT=write:28:NAME    write (or fsync) of files whose path holds NAME fails with that errno
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int fails(const char *call, int fd) {
    const char *fault = getenv("DISK_FAULT");
    size_t length = strlen(call);
    if (!fault || strncmp(fault, call, length) || fault[length] != ':') return 0;
    char *needle = NULL, link[64], path[4096];
    long number = strtol(fault + length + 1, &needle, 10);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0 || *needle != ':') return 0;
    path[n] = 0;
    return strstr(path, needle + 1) ? (int)number : 0;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    int error = fails("write", fd);
    if (error) { errno = error; return -1; }
    return real(fd, bytes, size);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    const char *ms = getenv("DISK_FSYNC_MS");
    if (ms) {
        struct timespec time = {atol(ms) / 1000, atol(ms) % 1000 * 1000000};
        nanosleep(&time, NULL);
    }
    int error = fails("fsync", fd);
    if (error) { errno = error; return -1; }
    return real(fd);
}
