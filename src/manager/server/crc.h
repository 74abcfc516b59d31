// crc.h: whether bytes are what they were.
#ifndef WEFT_MANAGER_CRC_H
#define WEFT_MANAGER_CRC_H

#include <stddef.h>
#include <stdint.h>

namespace weft {

// That of all bytes so far, `c` being that of those before; 0 of none.
uint64_t crc(uint64_t c, const char *p, size_t n);

} // namespace weft

#endif
