// client_like.cc: another connection to where a client is connected.
#include "client.h"

#include <stdlib.h>

using namespace weft;

// Out of the command that begins a connection: its last word, of five.  NULL: there is none.
static char *password_of(const weft_client *c)
{
    static const char before[] = "\r\ndefault\r\n$";
    const char *end = c->hello + c->hello_size;
    const char *at = (const char *)memmem(c->hello, c->hello_size, before, sizeof before - 1);
    if (at == nullptr)
        return nullptr;
    at = (const char *)memchr(at + sizeof before - 1, '\n', (size_t)(end - at) - sizeof before + 1);
    return strndup(at + 1, (size_t)(end - at) - 3); // without its line's end
}

weft_client *weft::client_like(const weft_client *c, weft_deadline d)
{
    char *password = password_of(c);
    weft_client *other = weft_client_connect(c->address, password, d);
    int saved = errno;
    if (password != nullptr)
        explicit_bzero(password, strlen(password));
    free(password);
    errno = saved;
    return other;
}
