// asked.h: what the fields of a GET request say about how a file is to be answered.
#ifndef WEFT_HTTP_ASKED_H
#define WEFT_HTTP_ASKED_H

#include <weft/http_parse.h>

namespace weft {

// Values that are not there have no `at`; what may stand once and stands twice is empty.
struct asked {
    const weft_http_head *head;
    weft_http_text range, if_range, if_modified_since, if_unmodified_since;
    bool if_match, if_none_match, accept_encoding; // there are such fields
};

// In one look over the fields.
void asked_read(asked *a, const weft_http_head *head);

static inline bool asked_is_conditional(const asked *a)
{
    return a->if_match || a->if_none_match || a->if_modified_since.at != nullptr ||
           a->if_unmodified_since.at != nullptr;
}

// What a file says of its state (RFC 9110 8.8).  The tag is a strong one, with its quotes.
struct validators {
    const char *etag;
    size_t etag_size;
    int64_t modified; // seconds
};

// The conditions, in the order of RFC 9110 13.2.2, for a file that is there: 0: go on; 304; 412.
// now: of the wall clock, in seconds.
int asked_condition(const asked *a, const validators *v, int64_t now);

// Whether the field Range is to be looked at: there is one, and no If-Range against it.
bool asked_ranges(const asked *a, const validators *v, int64_t now);

enum coding { IDENTITY, BR, ZSTD, GZIP, CODINGS }; // of equals the first, but for IDENTITY

// Their names, and the ends of files that have them.
extern const char *const CODING_NAMES[CODINGS], *const CODING_ENDS[CODINGS];

// The best of those in `have`, a bit for each, by Accept-Encoding (RFC 9110 12.5.3); IDENTITY if
// none will do.
coding asked_coding(const asked *a, unsigned have);

} // namespace weft

#endif
