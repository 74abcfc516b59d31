// scan.h: how far a text goes: to the first control of a line, the first byte that may not be in a
// target, the end of a field's name.
//
// Here every byte of a head is looked at: 16 at a time where there is SSE2, else one at a time, and
// of lines 8 at a time in a word.
#ifndef WEFT_HTTP_SCAN_H
#define WEFT_HTTP_SCAN_H

#include "text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace weft {

// ---- In words ----

// Not 0 if a byte is a control or a tab.  Of those that are marked only the first is sure.
static inline uint64_t controls_in(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t del = word ^ (ones * 127);
    return (((word - ones * 32) & ~word) | ((del - ones) & ~del)) & tops;
}

// How many of the first bytes are text, as span_of(at, n, IS_TEXT) counts them.
static inline size_t text_span_words(const char *at, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, sizeof word);
        size_t few = controls_in(word) != 0 ? span_of(at + i, 8, IS_TEXT) : 8;
        if (few < 8)
            return i + few;
    }
    return i + span_of(at + i, n - i, IS_TEXT);
}

// ---- 16 at a time ----

#ifdef __SSE2__
// Which of the bytes are between two that are below 128.
static inline __m128i bytes_between(__m128i bytes, char low, char high)
{
    return _mm_and_si128(_mm_cmpgt_epi8(bytes, _mm_set1_epi8((char)(low - 1))),
                         _mm_cmplt_epi8(bytes, _mm_set1_epi8((char)(high + 1))));
}

static inline __m128i bytes_that_are(__m128i bytes, char c)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c));
}

// These mark what ends a text, a target and, too soon for the rarer ones, a name.
static inline __m128i end_of_text(__m128i bytes)
{
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(31)), bytes);
    return _mm_or_si128(_mm_andnot_si128(bytes_that_are(bytes, '\t'), low),
                        bytes_that_are(bytes, 127));
}

static inline __m128i end_of_target(__m128i bytes)
{
    __m128i not_visible = _mm_cmplt_epi8(bytes, _mm_set1_epi8('!')); // those above 127 are negative
    return _mm_or_si128(not_visible,
                        _mm_or_si128(bytes_that_are(bytes, '#'), bytes_that_are(bytes, 127)));
}

static inline __m128i end_of_name(__m128i bytes)
{
    __m128i letter = bytes_between(_mm_or_si128(bytes, _mm_set1_epi8(32)), 'a', 'z');
    __m128i other = _mm_or_si128(bytes_between(bytes, '0', '9'), bytes_that_are(bytes, '-'));
    return _mm_cmpeq_epi8(_mm_or_si128(letter, other), _mm_setzero_si128());
}

template <__m128i mark(__m128i)> static inline unsigned marked(const char *at)
{
    return (unsigned)_mm_movemask_epi8(mark(_mm_loadu_si128((const __m128i *)at)));
}

// How many of n >= 16 there are before the first that is marked; those at the end may be looked at
// twice.  Two by two, as most lines have no more than 32.
template <__m128i mark(__m128i)> static inline size_t span_16(const char *at, size_t n)
{
    size_t i = 0;
    for (unsigned found; n - i >= 32; i += 32)
        if ((found = marked<mark>(at + i) | marked<mark>(at + i + 16) << 16) != 0)
            return i + (size_t)__builtin_ctz(found);
    for (; i < n; i += 16) {
        i = i > n - 16 ? n - 16 : i;
        if (unsigned found = marked<mark>(at + i))
            return i + (size_t)__builtin_ctz(found);
    }
    return n;
}

// The same, if they are in the first 16, as those of a name mostly are; else 16.
template <__m128i mark(__m128i)> static inline size_t span_once(const char *at)
{
    return (size_t)__builtin_ctz(marked<mark>(at) | 1 << 16);
}
#endif

// ---- The best of them ----

static inline size_t text_span(const char *at, size_t n)
{
#ifdef __SSE2__
    if (n >= 16)
        return span_16<end_of_text>(at, n);
#endif
    return text_span_words(at, n);
}

static inline size_t target_span(const char *at, size_t n)
{
#ifdef __SSE2__
    if (n >= 16)
        return span_16<end_of_target>(at, n);
#endif
    return span_of(at, n, IS_TARGET);
}

static inline size_t name_span(const char *at, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    if (n >= 16)
        i = span_once<end_of_name>(at);
#endif
    return i + span_of(at + i, n - i, IS_TOKEN);
}

} // namespace weft

#endif
