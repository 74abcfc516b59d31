// symbol.h: the name of a function, as far as the dynamic linker knows it.
#ifndef WEFT_BASE_SYMBOL_H
#define WEFT_BASE_SYMBOL_H

#include <dlfcn.h>
#include <stdio.h>

namespace weft {

// "in NAME"; else "at FILE+0xOFFSET", which addr2line -e FILE takes; else "at ADDRESS".
static inline void print_symbol(FILE *out, const void *at)
{
    Dl_info info;
    if (dladdr(at, &info) == 0)
        fprintf(out, "at %p", at);
    else if (info.dli_sname != nullptr)
        fprintf(out, "in %s", info.dli_sname);
    else
        fprintf(out, "at %s+0x%zx", info.dli_fname,
                (size_t)((const char *)at - (const char *)info.dli_fbase));
}

} // namespace weft

#endif
