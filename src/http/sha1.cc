// sha1.cc: SHA-1 and base64, each as its standard has it.  A handshake hashes sixty bytes once, so
// they are plain rather than fast.
#include "sha1.h"

#include <stdint.h>
#include <string.h>

using namespace weft;

// ---- SHA-1 ----

static const size_t BLOCK = 64;

static uint32_t turn_left(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static uint32_t read_word(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_word(unsigned char *p, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(x >> (24 - 8 * i));
}

// The function and the constant of round t.
static uint32_t mix(int t, uint32_t b, uint32_t c, uint32_t d)
{
    if (t < 20)
        return ((b & c) | (~b & d)) + 0x5a827999;
    if (t < 40)
        return (b ^ c ^ d) + 0x6ed9eba1;
    if (t < 60)
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    return (b ^ c ^ d) + 0xca62c1d6;
}

static void take_block(uint32_t h[5], const unsigned char *block)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t t = 0; t < 16; t++)
        w[t] = read_word(block + 4 * t);
    for (int t = 16; t < 80; t++)
        w[t] = turn_left(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    for (int t = 0; t < 80; t++) {
        uint32_t next = turn_left(a, 5) + mix(t, b, c, d) + e + w[t];
        e = d;
        d = c;
        c = turn_left(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void weft::sha1(const void *data, size_t n, unsigned char digest[SHA1_SIZE])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *p = (const unsigned char *)data;
    unsigned char last[2 * BLOCK] = {};
    size_t left = n;
    for (; left >= BLOCK; left -= BLOCK, p += BLOCK)
        take_block(h, p);
    if (left > 0)
        memcpy(last, p, left);
    last[left] = 0x80;
    size_t end = left + 9 <= BLOCK ? BLOCK : 2 * BLOCK;
    write_word(last + end - 8, (uint32_t)((uint64_t)n >> 29));
    write_word(last + end - 4, (uint32_t)(n << 3));
    for (size_t at = 0; at < end; at += BLOCK)
        take_block(h, last + at);
    for (size_t i = 0; i < 5; i++)
        write_word(digest + 4 * i, h[i]);
}

// ---- base64 ----

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t weft::base64_encode(char *text, const void *data, size_t n)
{
    const unsigned char *p = (const unsigned char *)data;
    char *to = text;
    for (; n > 0; p += 3) {
        size_t count = n < 3 ? n : 3;
        uint32_t group = (uint32_t)p[0] << 16;
        group |= count > 1 ? (uint32_t)p[1] << 8 : 0;
        group |= count > 2 ? p[2] : 0;
        for (size_t i = 0; i < 4; i++)
            *to++ = i <= count ? DIGITS[group >> (18 - 6 * i) & 63] : '=';
        n -= count;
    }
    return (size_t)(to - text);
}

// -1: it is none.
static int digit_value(char c)
{
    const char *at = c != 0 ? strchr(DIGITS, c) : nullptr;
    return at != nullptr ? (int)(at - DIGITS) : -1;
}

ssize_t weft::base64_decode(void *data, size_t room, const char *text, size_t n)
{
    unsigned char *to = (unsigned char *)data;
    size_t fill = n > 0 && text[n - 1] == '=' ? 1 + (n > 1 && text[n - 2] == '=') : 0;
    size_t size = n / 4 * 3 - fill;
    if (n % 4 != 0 || size > room)
        return -1;
    uint32_t group = 0;
    for (size_t i = 0, done = 0; i < n; i++) {
        int value = i < n - fill ? digit_value(text[i]) : 0;
        if (value < 0)
            return -1;
        group = group << 6 | (uint32_t)value;
        if (i % 4 != 3)
            continue;
        for (int shift = 16; shift >= 0 && done < size; shift -= 8)
            to[done++] = (unsigned char)(group >> shift);
        group = 0;
    }
    return (ssize_t)size;
}

// ---- The handshake ----

void weft::websocket_proof(char proof[WEBSOCKET_PROOF], const char key[WEBSOCKET_KEY])
{
    static const char protocol[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[WEBSOCKET_KEY + sizeof protocol - 1];
    unsigned char digest[SHA1_SIZE];
    memcpy(text, key, WEBSOCKET_KEY);
    memcpy(text + WEBSOCKET_KEY, protocol, sizeof protocol - 1);
    sha1(text, sizeof text, digest);
    base64_encode(proof, digest, sizeof digest);
}
