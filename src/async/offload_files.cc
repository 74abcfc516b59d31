// offload_files.cc: the calls for files that belong in weft_io_run; file.h has those that need not.
#include "descriptor.h"

#include <weft/file.h>
#include <weft/offload.h>

using namespace weft;

int weft_offload_open(const char *path, int flags, mode_t mode, weft_deadline d)
{
    return io_here != nullptr ? weft_file_open(path, flags, mode, d) : fail_with(EPERM);
}

int weft_offload_stat(const char *path, struct stat *s, weft_deadline d)
{
    return io_here != nullptr ? weft_file_stat(path, s, d) : fail_with(EPERM);
}

int weft_offload_fsync(int fd, weft_deadline d)
{
    return io_here != nullptr ? weft_file_fsync(fd, d) : fail_with(EPERM);
}

ssize_t weft_offload_pread(int fd, void *buf, size_t n, off_t offset, weft_deadline d)
{
    return io_here != nullptr ? weft_file_pread(fd, buf, n, offset, d) : fail_with(EPERM);
}

ssize_t weft_offload_pwrite(int fd, const void *buf, size_t n, off_t offset, weft_deadline d)
{
    return io_here != nullptr ? weft_file_pwrite(fd, buf, n, offset, d) : fail_with(EPERM);
}
