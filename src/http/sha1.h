// sha1.h: what the handshake of WebSockets is made of (RFC 6455, section 4.2.2).  It shows that the
// other end speaks the protocol, and is no secret.
#ifndef WEFT_HTTP_SHA1_H
#define WEFT_HTTP_SHA1_H

#include <stddef.h>
#include <sys/types.h>

namespace weft {

enum { SHA1_SIZE = 20 };

// FIPS 180-4, section 6.1.
void sha1(const void *data, size_t n, unsigned char digest[SHA1_SIZE]);

// RFC 4648, section 4.  How many characters: 4 for each 3 bytes begun.  No 0 behind.
size_t base64_encode(char *text, const void *data, size_t n);

// How many bytes; -1: it is none, or there are more than `room`.
ssize_t base64_decode(void *data, size_t room, const char *text, size_t n);

enum { WEBSOCKET_KEY = 24, WEBSOCKET_PROOF = 28 };

// What is answered to a key.
void websocket_proof(char proof[WEBSOCKET_PROOF], const char key[WEBSOCKET_KEY]);

} // namespace weft

#endif
