// scripts.cc: the .lua files, each with a 0 behind it (scripts.h).  The assembler reads them, from
// the root of the source tree.
#include "scripts.h"

#define BEGIN(name)                                                                                \
    ".pushsection .rodata\n.globl _ZN4weft3lua_" #name "\n.hidden _ZN4weft3lua_" #name             \
    "\n_ZN4weft3lua_" #name ":\n"
#define TEXT(name) ".incbin \"src/manager/redis/" #name ".lua\"\n"
#define END ".byte 0\n.popsection\n"

#define ALONE(name) __asm__(BEGIN(name) TEXT(name) END);
#define AFTER(begin, name) __asm__(BEGIN(name) TEXT(begin) TEXT(name) END);
#define AFTER_TWO(name, begin, end) __asm__(BEGIN(name) TEXT(name) TEXT(begin) TEXT(end) END);

WEFT_SCRIPTS(ALONE, AFTER, AFTER_TWO)
