// address.h: addresses as text.
#ifndef WEFT_ASYNC_ADDRESS_H
#define WEFT_ASYNC_ADDRESS_H

#include <weft/deadline.h>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    WEFT_ADDRESS_TCP,
    WEFT_ADDRESS_UDP,
    WEFT_ADDRESS_UNIX,
    WEFT_ADDRESS_FD,
    WEFT_ADDRESS_SYSTEMD
};

typedef struct weft_private_address {
    int kind;
    char host[256];
    char port[32];
    const char *rest; // of unix, fd and systemd; in the text
    struct sockaddr_un un;
    socklen_t un_size;
} weft_private_address;

#ifdef __cplusplus
extern "C" {
#endif

// Takes a text apart.  EINVAL, ENAMETOOLONG.
int weft_private_address_parse(weft_private_address *a, const char *text);

// The addresses of host and port, to be freed by freeaddrinfo.  Numbers need no thread.
int weft_private_address_resolve(const weft_private_address *a, int flags, struct addrinfo **list,
                                 weft_deadline d);

#ifdef __cplusplus
}
#endif

#endif
