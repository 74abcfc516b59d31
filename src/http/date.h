// date.h: dates of HTTP (RFC 9110 5.6.7), in seconds since 1970; no locale, no memory.
#ifndef WEFT_HTTP_DATE_H
#define WEFT_HTTP_DATE_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

enum { DATE_SIZE = 29, DATE_ROOM };

// "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL.  Years go from 0 to 9999: what is beyond that is the
// first or last second of them.
void date_print(char text[DATE_ROOM], int64_t seconds);

// Reads any of the three forms.  A year of two digits is the one that is at most 50 years later
// than `now`.  false: it is none, or there is no such day; *seconds stays.
bool date_parse(const char *text, size_t n, int64_t now, int64_t *seconds);

enum { LOG_DATE_SIZE = 26, LOG_DATE_ROOM };

// "06/Nov/1994:09:49:37 +0100" and a NUL, in the process's time zone.
void date_print_log(char text[LOG_DATE_ROOM], int64_t seconds);

} // namespace weft

#endif
