// crc.cc: CRC-64 of ECMA-182, the low bit first: eight bytes at a time.
#include "crc.h"

using namespace weft;

static uint64_t crc_table[8][256];

static void crc_open(void)
{
    if (crc_table[0][1] != 0)
        return;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0xc96c5795d7870f42 : c >> 1;
        crc_table[0][i] = c;
    }
    for (unsigned i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 255];
}

uint64_t weft::crc(uint64_t c, const char *p, size_t n)
{
    crc_open();
    const unsigned char *at = (const unsigned char *)p;
    c = ~c;
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t sum = 0;
        for (int k = 0; k < 8; k++)
            sum ^= crc_table[7 - k][at[k] ^ (c >> 8 * k & 255)];
        c = sum;
    }
    for (; n > 0; n--)
        c = c >> 8 ^ crc_table[0][(*at++ ^ c) & 255];
    return ~c;
}
