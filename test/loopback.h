// loopback.h: a port of this machine that nobody has.
#ifndef WEFT_TEST_LOOPBACK_H
#define WEFT_TEST_LOOPBACK_H

#include "runner.h"

#include <netinet/in.h>
#include <sys/socket.h>

// A TCP socket that is bound to one, which `a` tells.
static inline int loopback_socket(struct sockaddr_in *a)
{
    socklen_t size = sizeof *a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *a = {};
    a->sin_family = AF_INET;
    a->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)a, size), 0);
    getsockname(fd, (struct sockaddr *)a, &size);
    return fd;
}

#endif
