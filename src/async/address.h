// address.h: addresses as text.
#ifndef WEFT_ASYNC_ADDRESS_H
#define WEFT_ASYNC_ADDRESS_H

#include <weft/deadline.h>

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>

struct addrinfo;

namespace weft {

enum { ADDRESS_TCP, ADDRESS_UDP, ADDRESS_UNIX, ADDRESS_FD, ADDRESS_SYSTEMD };

struct endpoint {
    int kind;
    char host[256];
    char port[32];
    const char *rest; // of unix, fd and systemd; in the text
    struct sockaddr_un un;
    socklen_t un_size;
};

// Takes a text apart.  EINVAL, ENAMETOOLONG.
int endpoint_parse(endpoint *a, const char *text);

// The addresses of host and port, to be freed by freeaddrinfo.  Numbers need no thread.
int endpoint_resolve(const endpoint *a, int flags, struct addrinfo **list, weft_deadline d);

// Whether accept(2) failed with an error of the connection that was next, which has gone with it
// ("Error handling" there), and not of the listener.
bool is_of_connection(int error);

} // namespace weft

#endif
