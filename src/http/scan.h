// scan.h: finds where a line's text ends: the first control that is no tab.
//
// Most of a head is text, so this is where its bytes are looked at: 16 at a time where there is
// SSE2, else 8 at a time in a word.
#ifndef WEFT_HTTP_SCAN_H
#define WEFT_HTTP_SCAN_H

#include "text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace weft {

static inline const char *scan_bytes(const char *p, const char *end)
{
    while (p < end && byte_is(*p, IS_TEXT))
        p++;
    return p;
}

// Not 0 if a byte is a control or a tab.  Of those that are marked only the first is sure.
static inline uint64_t controls_in(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t del = word ^ (ones * 127);
    return (((word - ones * 32) & ~word) | ((del - ones) & ~del)) & tops;
}

static inline const char *scan_words(const char *p, const char *end)
{
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        if (controls_in(word) != 0) {
            const char *found = scan_bytes(p, p + 8);
            if (found < p + 8)
                return found;
        }
        p += 8;
    }
    return scan_bytes(p, end);
}

#ifdef __SSE2__
static inline const char *scan_sse2(const char *p, const char *end)
{
    const __m128i last = _mm_set1_epi8(31), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(127);
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last), bytes);
        low = _mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low);
        int found = _mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(bytes, del)));
        if (found != 0)
            return p + __builtin_ctz((unsigned)found);
        p += 16;
    }
    return scan_bytes(p, end);
}
#endif

// `end` if there is none before.
static inline const char *scan_text(const char *p, const char *end)
{
#ifdef __SSE2__
    return scan_sse2(p, end);
#else
    return scan_words(p, end);
#endif
}

} // namespace weft

#endif
