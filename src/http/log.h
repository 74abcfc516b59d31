// log.h: what the access log says of a request.
#ifndef WEFT_HTTP_LOG_H
#define WEFT_HTTP_LOG_H

#include <weft/http_files.h>

#include <stdint.h>

namespace weft {

// Texts that are not there are nullptr or empty.
struct log_line {
    const char *host, *method, *target, *referer, *agent;
    int version, status;
    uint64_t sent;
    int64_t seconds; // of the wall clock
};

enum { LOG_TEXT = 4096, LOG_LINE = 3 * LOG_TEXT + 1024 }; // bytes: of one text escaped; of a line

// Writes it to `to`, of LOG_LINE bytes, in the combined format; how many bytes, the newline too.
size_t log_format(char *to, const log_line *line, const char *date);

// The line goes out with others, later.  In weft_io_run or out of it.
void log_put(weft_http_log *l, const log_line *line);

} // namespace weft

#endif
