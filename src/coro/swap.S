// swap.S: void *swap(void **from, void *to, void *value)
//
// Saves what the ABI says a call preserves on the stack, puts the stack pointer into *from,
// takes `to` as the stack pointer and leaves with `value` in the return register.
// It leaves by a jump, never by a return: the processor's return stack would predict another
// place, 5 ns a switch.  The control words of the floating-point unit and the signal mask
// stay as they are.
//
// void land(void *to, void *value) is the second half alone, for a coroutine that
// ends and never comes back.
//
// coro_entry is where a new coroutine starts, with the first value in the return
// register.  Backtraces end there.

// The names as the C++ compiler writes them.
#define swap _ZN4weft4swapEPPvS0_S0_
#define land _ZN4weft4landEPvS0_
#define coro_entry _ZN4weft10coro_entryEv
#define coro_begin _ZN4weft10coro_beginEPv

        .macro  function name
        .globl  \name
        .hidden \name
        .type   \name, STT_FUNC
\name:
        .cfi_startproc
        .endm

        .macro  end name
        .cfi_endproc
        .size   \name, . - \name
        .p2align 4
        .endm

#if defined(__x86_64__)

#ifdef __CET__
#include <cet.h>
#else
#define _CET_ENDBR
#endif

// Half a cache line in: measured, at its beginning a generator's next takes a sixth longer.
        .text
        .p2align 6
        .skip   32, 0xcc
        function swap
        _CET_ENDBR
        .irp    register, rbp, rbx, r12, r13, r14, r15
        pushq   %\register
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset \register, 0
        .endr
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        movq    %rdx, %rax
        .irp    register, r15, r14, r13, r12, rbx, rbp
        popq    %\register
        .cfi_adjust_cfa_offset -8
        .cfi_restore \register
        .endr
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        end     swap

        function land
        .cfi_undefined rip
        _CET_ENDBR
        movq    %rdi, %rsp
        movq    %rsi, %rax
        .irp    register, r15, r14, r13, r12, rbx, rbp, rcx
        popq    %\register
        .endr
        notrack jmp *%rcx
        end     land

        function coro_entry
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %rax, %rdi
        call    coro_begin@PLT
        ud2
        end     coro_entry

#elif defined(__aarch64__)

// Where branch targets are enforced, a plain branch may not land behind a call.
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define LEAVE ret
#define LANDING hint #34
#else
#define LEAVE br x30
#define LANDING
#endif

        .macro  each_pair operation
        \operation x29, x30, [sp, #0]
        \operation x19, x20, [sp, #16]
        \operation x21, x22, [sp, #32]
        \operation x23, x24, [sp, #48]
        \operation x25, x26, [sp, #64]
        \operation x27, x28, [sp, #80]
        \operation d8, d9, [sp, #96]
        \operation d10, d11, [sp, #112]
        \operation d12, d13, [sp, #128]
        \operation d14, d15, [sp, #144]
        .endm

        .text
        .p2align 4
        function swap
        LANDING
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        each_pair stp
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        mov     x0, x2
        each_pair ldp
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        .irp    register, x29, x30, x19, x20, x21, x22, x23, x24, x25, x26, x27, x28
        .cfi_restore \register
        .endr
        LEAVE
        end     swap

        function land
        .cfi_undefined x30
        LANDING
        mov     sp, x0
        mov     x0, x1
        each_pair ldp
        add     sp, sp, #160
        LEAVE
        end     land

        function coro_entry
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        bl      coro_begin
        brk     #1
        end     coro_entry

// The note that this object has its landing pads: GNU_PROPERTY_AARCH64_FEATURE_1_AND, BTI.
#ifdef __ARM_FEATURE_BTI_DEFAULT
        .pushsection .note.gnu.property, "a"
        .p2align 3
        .word   4, 16, 5
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0
        .popsection
#endif

#endif

        .section .note.GNU-stack, "", %progbits
