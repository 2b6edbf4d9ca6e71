/* LD_PRELOAD: each sync of a file takes SLOWSYNC_US microseconds longer, as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

static void wait(void) {
	const char *text = getenv("SLOWSYNC_US");
	long us = text ? atol(text) : 0;
	struct timespec left = {us / 1000000, us % 1000000 * 1000};
	while (nanosleep(&left, &left) != 0)
		;
}

#define SLOW(name, parameters, arguments)                                                                              \
	int name parameters {                                                                                          \
		static int(*real) parameters;                                                                          \
		if (!real)                                                                                             \
			real = (int(*) parameters)dlsym(RTLD_NEXT, #name);                                             \
		int result = real arguments;                                                                           \
		wait();                                                                                                \
		return result;                                                                                         \
	}

SLOW(fsync, (int fd), (fd))
SLOW(fdatasync, (int fd), (fd))
SLOW(msync, (void *at, size_t length, int flags), (at, length, flags))
