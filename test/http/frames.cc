// Frames as bytes, and what the handshake and texts are made of.
#include <http/sha1.h>
#include <http/websocket_state.h>

#include "framed.h"

using namespace weft;

// ---- Headers ----

static const struct header {
    const char *bytes; // of a header
    int opcode;
    bool fin, masked;
    uint64_t length;
} HEADERS[] = {
    {"%81%00", 1, true, false, 0},
    {"%81%05", 1, true, false, 5},
    {"%01%7d", 1, false, false, 125},
    {"%82%85%01%02%03%04", 2, true, true, 5},
    {"%80%80%00%00%00%00", 0, true, true, 0},
    {"%00%7e%00%7e", 0, false, false, 126},
    {"%82%7e%ff%ff", 2, true, false, 65535},
    {"%82%fe%01%00%ff%fe%fd%fc", 2, true, true, 256},
    {"%82%7f%00%00%00%00%00%01%00%00", 2, true, false, 65536},
    {"%02%ff%7f%ff%ff%ff%ff%ff%ff%ff%01%02%03%04", 2, false, true, INT64_MAX},
    {"%88%02", 8, true, false, 2},
    {"%89%7d", 9, true, false, 125},
    {"%8a%80%09%08%07%06", 10, true, true, 0},
};

CASE(test_frame_parse)
{
    for (const header &h : HEADERS) {
        char bytes[WEFT_WEBSOCKET_HEADER + 1];
        unsigned char built[WEFT_WEBSOCKET_HEADER];
        weft_websocket_frame f;
        size_t n = unescape(bytes, h.bytes);
        for (size_t part = 0; part < n; part++)
            assert_int_equal(weft_websocket_frame_parse(&f, bytes, part), 0);
        bytes[n] = 'x'; // the payload
        for (size_t more = 0; more < 2; more++)
            assert_int_equal(weft_websocket_frame_parse(&f, bytes, n + more), n);
        assert_int_equal(f.opcode, h.opcode);
        assert_int_equal(f.fin, h.fin);
        assert_int_equal(f.masked, h.masked);
        assert_true(f.length == h.length);
        if (h.masked)
            assert_memory_equal(f.mask, bytes + n - 4, 4);
        assert_int_equal(weft_websocket_frame_build(&f, built), n);
        assert_memory_equal(built, bytes, n);
    }
}

// Each from so many bytes on.
static const struct bad {
    const char *bytes;
    size_t needed;
} BAD[] = {
    {"%c1%00", 1},                          // reserved bits
    {"%a1%00", 1},                          //
    {"%91%00", 1},                          //
    {"%83%00", 1},                          // opcodes
    {"%87%00", 1},                          //
    {"%8b%00", 1},                          //
    {"%8f%00", 1},                          //
    {"%08%00", 2},                          // a control frame in parts
    {"%09%00", 2},                          //
    {"%0a%00", 2},                          //
    {"%89%7e%00%7e", 2},                    // or too long
    {"%88%7f%00%00%00%00%00%00%00%01", 2},  //
    {"%82%7e%00%7d", 4},                    // a length not in its shortest form
    {"%82%7e%00%00", 4},                    //
    {"%82%7f%00%00%00%00%00%00%ff%ff", 10}, //
    {"%82%7f%00%00%00%00%00%00%00%00", 10}, //
    {"%82%7f%80%00%00%00%00%00%00%00", 10}, // or beyond 63 bits
    {"%82%7f%ff%ff%ff%ff%ff%ff%ff%ff", 10}, //
    {"%82%fe%00%7d%01%02%03%04", 8},        //
};

CASE(test_frame_parse_bad)
{
    for (const bad &b : BAD) {
        char bytes[WEFT_WEBSOCKET_HEADER];
        weft_websocket_frame f;
        size_t n = unescape(bytes, b.bytes);
        for (size_t part = 0; part <= n; part++) {
            if (part < b.needed)
                assert_int_equal(weft_websocket_frame_parse(&f, bytes, part), 0);
            else
                assert_errno(weft_websocket_frame_parse(&f, bytes, part), EBADMSG);
        }
    }
    weft_websocket_frame f;
    assert_errno(weft_websocket_frame_parse(&f, nullptr, 1), EINVAL);
    assert_int_equal(weft_websocket_frame_parse(&f, nullptr, 0), 0);
}

CASE(test_frame_build_bad)
{
    static const weft_websocket_frame bad[] = {
        {0, 3, true, false, {}},  {0, 11, true, false, {}},         {0, 16, true, false, {}},
        {0, -1, true, false, {}}, {126, 9, true, false, {}},        {1, 8, false, false, {}},
        {0, 10, false, true, {}}, {1ull << 63, 2, true, false, {}},
    };
    unsigned char header[WEFT_WEBSOCKET_HEADER];
    for (const weft_websocket_frame &f : bad)
        assert_errno(weft_websocket_frame_build(&f, header), EINVAL);
    assert_errno(weft_websocket_frame_build(nullptr, header), EINVAL);
    assert_errno(weft_websocket_frame_build(&bad[0], nullptr), EINVAL);
}

// Each length and place, from each offset, and nothing beside it.
CASE(test_mask)
{
    static const unsigned char mask[4] = {0xde, 0xad, 0xbe, 0xef};
    unsigned char bytes[64];
    for (size_t at = 0; at < 9; at++) {
        for (size_t n = 0; n < 40; n++) {
            uint64_t offset = n * 7 + at + ((uint64_t)1 << 40);
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (unsigned char)(i * 5);
            weft_websocket_mask(bytes + at, n, mask, offset);
            for (size_t i = 0; i < sizeof bytes; i++) {
                bool inside = i >= at && i < at + n;
                unsigned char turned = mask[(offset + i - at) & 3];
                assert_int_equal(bytes[i], (unsigned char)(i * 5) ^ (inside ? turned : 0));
            }
        }
    }
}

// ---- SHA-1, base64 ----

static void is_digest(const char *text, size_t n, const char *expected)
{
    unsigned char digest[SHA1_SIZE];
    char hex[2 * SHA1_SIZE + 1];
    sha1(text, n, digest);
    for (size_t i = 0; i < SHA1_SIZE; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(hex, expected);
}

// FIPS 180's examples, and lengths around a block, by sha1sum(1).
CASE(test_sha1)
{
    static char many[1000000];
    memset(many, 'a', sizeof many);
    is_digest("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    is_digest("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    is_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
              "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    is_digest(many, sizeof many, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    is_digest(many, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    is_digest(many, 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    is_digest(many, 63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5");
    is_digest(many, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
    is_digest(many, 65, "11655326c708d70319be2610e8a57d9a5b959d3b");
}

CASE(test_base64)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xfb\xff\xbf", "+/+/"}};
    static const char *const bad[] = {"Z",    "Zg",    "Zg=",  "Zg=a", "=g==", "Z===",
                                      "====", "Zm9v=", "Zm-v", "Zm_v", "Z 9v", "Zm9\xc3"};
    char text[32], bytes[16];
    for (const char *const(&p)[2] : pairs) {
        size_t n = base64_encode(text, p[0], strlen(p[0]));
        assert_int_equal(n, strlen(p[1]));
        assert_memory_equal(text, p[1], n);
        assert_int_equal(base64_decode(bytes, strlen(p[0]), text, n), strlen(p[0]));
        assert_memory_equal(bytes, p[0], strlen(p[0]));
        if (n > 0)
            assert_int_equal(base64_decode(bytes, strlen(p[0]) - 1, text, n), -1);
    }
    for (const char *b : bad)
        assert_int_equal(base64_decode(bytes, sizeof bytes, b, strlen(b)), -1);
}

// RFC 6455, section 1.3.
CASE(test_proof)
{
    char proof[WEBSOCKET_PROOF];
    websocket_proof(proof, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_memory_equal(proof, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof proof);
}

// ---- Text ----

static const struct text {
    const char *bytes;
    bool good;
} TEXTS[] = {
    {"", true},
    {"Hello, world, of eight bytes and more", true},
    {"%ce%ba%e1%bd%b9%cf%83%ce%bc%ce%b5", true},
    {"%00%7f", true},
    {"%c2%80", true},
    {"%df%bf", true},
    {"%e0%a0%80", true},
    {"%ed%9f%bf", true},
    {"%ee%80%80", true},
    {"%ef%bf%bf", true},
    {"%f0%90%80%80", true},
    {"%f4%8f%bf%bf", true},
    {"12345678%f0%9f%98%8012345678", true},
    {"%80", false},                // no first byte
    {"%bf", false},                //
    {"1234567%80", false},         //
    {"12345678%80", false},        //
    {"%c0%80", false},             // longer than need be
    {"%c0%af", false},             //
    {"%c1%bf", false},             //
    {"%e0%80%80", false},          //
    {"%e0%9f%bf", false},          //
    {"%f0%80%80%80", false},       //
    {"%f0%8f%bf%bf", false},       //
    {"%ed%a0%80", false},          // surrogates
    {"%ed%bf%bf", false},          //
    {"%ed%a0%bd%ed%b8%80", false}, //
    {"%f4%90%80%80", false},       // beyond U+10FFFF
    {"%f5%80%80%80", false},       //
    {"%f8%88%80%80%80", false},    //
    {"%fc%84%80%80%80%80", false}, //
    {"%fe", false},                //
    {"%ff", false},                //
    {"%c2", false},                // cut
    {"%e1%80", false},             //
    {"%f1%80%80", false},          //
    {"%c2a", false},               //
    {"%e1%80a", false},            //
    {"%f1%80%80a", false},         //
    {"%c2%c2%80", false},          //
    {"%e1%80%e1%80%80", false},    //
};

static bool is_text(const char *bytes, size_t n, size_t split)
{
    utf8_state u = {};
    return utf8_take(&u, bytes, split) && utf8_take(&u, bytes + split, n - split) && u.left == 0;
}

CASE(test_utf8_at_every_split)
{
    for (const text &t : TEXTS) {
        char bytes[64];
        size_t n = unescape(bytes, t.bytes);
        for (size_t split = 0; split <= n; split++)
            assert_int_equal(is_text(bytes, n, split), t.good);
    }
}

// All characters, written by the rule of RFC 3629.
CASE(test_utf8_all_characters)
{
    for (unsigned c = 0; c < 0x120000; c++) {
        char b[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1, rest = c; i > 0; i--, rest >>= 6)
            b[i] = (char)(0x80 | (rest & 0x3f));
        b[0] = (char)(n == 1 ? c : (0xf00u >> n & 0xff) | c >> 6 * (n - 1));
        bool good = c < 0xd800 || (c >= 0xe000 && c < 0x110000);
        if (is_text(b, n, n / 2) != good)
            fail_msg("U+%04X", c);
    }
}

CASE(test_close_codes)
{
    static const int good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                               1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    static const int bad[] = {-1,   0,    1,    999,  1004, 1005, 1006,
                              1015, 1016, 1100, 2000, 2999, 5000, 65535};
    for (int code : good)
        assert_true(is_close_code(code));
    for (int code : bad)
        assert_false(is_close_code(code));
}

RUN_CASES()
