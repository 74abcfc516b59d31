// Files in tasklets: what is in the page cache, and what is not.
#include "bench.h"

#include <weft/file.h>
#include <weft/io.h>

#include <fcntl.h>
#include <unistd.h>

namespace {

constexpr int BLOCK = 4096, BLOCKS = 4096, AT_ONCE = 32;

int file, next_block;
void *(*reader)(void *);
int readers;

bool read_block(int i)
{
    static char text[BLOCK];
    // Not in order, so that the kernel reads none ahead.
    off_t at = off_t(i * 1237 % BLOCKS) * BLOCK;
    return weft_file_pread(file, text, BLOCK, at, WEFT_FOREVER) == BLOCK;
}

void *read_blocks(void *)
{
    while (next_block < BLOCKS)
        if (!read_block(next_block++))
            std::abort();
    return nullptr;
}

int run(void *)
{
    weft_scope all;
    weft_tasklet_options in{};
    in.scope = &all;
    weft_scope_open(&all);
    for (int i = 0; i < readers; i++)
        weft_tasklet_spawn(read_blocks, nullptr, &in);
    return weft_scope_join(&all, WEFT_FOREVER);
}

double us_each(int at_once, bool cached)
{
    readers = at_once;
    next_block = 0;
    if (!cached) {
        fsync(file);
        posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    }
    double s = bench::seconds([at_once] {
        if (at_once == 0)
            read_blocks(nullptr);
        else
            weft_io_run(run, nullptr);
    });
    return s * 1e6 / BLOCKS;
}

void compare(const char *title, bool cached)
{
    bench::Table t(title, "us each");
    t.add("outside of weft_io_run", [cached] { return us_each(0, cached); });
    t.add("one tasklet", [cached] { return us_each(1, cached); });
    t.add("32 tasklets", [cached] { return us_each(AT_ONCE, cached); });
    t.run(9);
    if (cached)
        t.figure_at_most("one tasklet", 5);
    else
        t.at_most("32 tasklets", "one tasklet", 0.5);
}

} // namespace

int main()
{
    static char block[BLOCK];
    char path[] = "/var/tmp/weft-bench-XXXXXX";
    file = mkstemp(path);
    unlink(path);
    for (int i = 0; i < BLOCKS; i++)
        if (write(file, block, BLOCK) != BLOCK)
            return 1;
    posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
    compare("4 KiB of a file that is in the page cache", true);
    compare("4 KiB of a file that is not", false);
}
