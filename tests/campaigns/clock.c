/* A clock of the day that runs too fast or too slow: built as a library, and loaded into a server by LD_PRELOAD.

   The file that SLEWED_CLOCK names holds three doubles: seconds at which the speed began, what the clock was ahead by
   then, and what it gains in each second. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile double *slewed;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SLEWED_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return;
    void *found = mmap(0, 3 * sizeof(double), PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) slewed = found;
    close(file);
}

int clock_gettime(clockid_t which, struct timespec *at) {
    int status = syscall(SYS_clock_gettime, which, at);
    if (status || which != CLOCK_REALTIME || !slewed) return status;
    double ahead = slewed[1] + (at->tv_sec + at->tv_nsec / 1e9 - slewed[0]) * slewed[2];
    double whole = floor(ahead);
    at->tv_sec += (time_t)whole;
    at->tv_nsec += (long)((ahead - whole) * 1e9);
    if (at->tv_nsec >= 1000000000) { at->tv_sec++; at->tv_nsec -= 1000000000; }
    return 0;
}

int gettimeofday(struct timeval *at, void *zone) {
    (void)zone;
    struct timespec now;
    int status = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return status;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
