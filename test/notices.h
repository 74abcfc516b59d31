// notices.h: what a program says to systemd by NOTIFY_SOCKET.
#ifndef WEFT_TEST_NOTICES_H
#define WEFT_TEST_NOTICES_H

#include "runner.h"

#include <sys/socket.h>
#include <sys/un.h>

// Where systemd would listen; what is started from now on is to notify it.
static inline int listen_to_notices(void)
{
    struct sockaddr_un a = {};
    a.sun_family = AF_UNIX;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int n = snprintf(a.sun_path, sizeof a.sun_path, "@weft-notices-%d", (int)getpid());
    setenv("NOTIFY_SOCKET", a.sun_path, 1);
    a.sun_path[0] = 0;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, size), 0);
    return fd;
}

static inline void assert_notice(int fd, const char *expected)
{
    char text[128] = "";
    assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
    assert_memory_equal(text, expected, strlen(expected));
}

static inline void assert_reloads(int fd)
{
    assert_notice(fd, "RELOADING=1");
    assert_notice(fd, "READY=1");
}

#endif
