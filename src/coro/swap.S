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
        .globl  swap
        .hidden swap
        .type   swap, @function
swap:
        .cfi_startproc
        _CET_ENDBR
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        movq    %rdx, %rax
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   swap, . - swap

        .p2align 4
        .globl  land
        .hidden land
        .type   land, @function
land:
        .cfi_startproc
        .cfi_undefined rip
        _CET_ENDBR
        movq    %rdi, %rsp
        movq    %rsi, %rax
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        popq    %rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   land, . - land

        .p2align 4
        .globl  coro_entry
        .hidden coro_entry
        .type   coro_entry, @function
coro_entry:
        .cfi_startproc
        .cfi_undefined rip
        xorl    %ebp, %ebp
        movq    %rax, %rdi
        call    coro_begin@PLT
        ud2
        .cfi_endproc
        .size   coro_entry, . - coro_entry

#elif defined(__aarch64__)

// Where branch targets are enforced, a plain branch may not land behind a call.
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define LEAVE ret
#define LANDING hint #34
#else
#define LEAVE br x30
#define LANDING
#endif

        .text
        .p2align 4
        .globl  swap
        .hidden swap
        .type   swap, %function
swap:
        .cfi_startproc
        LANDING
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        stp     x29, x30, [sp, #0]
        .cfi_rel_offset x29, 0
        .cfi_rel_offset x30, 8
        stp     x19, x20, [sp, #16]
        .cfi_rel_offset x19, 16
        .cfi_rel_offset x20, 24
        stp     x21, x22, [sp, #32]
        .cfi_rel_offset x21, 32
        .cfi_rel_offset x22, 40
        stp     x23, x24, [sp, #48]
        .cfi_rel_offset x23, 48
        .cfi_rel_offset x24, 56
        stp     x25, x26, [sp, #64]
        .cfi_rel_offset x25, 64
        .cfi_rel_offset x26, 72
        stp     x27, x28, [sp, #80]
        .cfi_rel_offset x27, 80
        .cfi_rel_offset x28, 88
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        mov     x0, x2
        ldp     x29, x30, [sp, #0]
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        LEAVE
        .cfi_endproc
        .size   swap, . - swap

        .p2align 4
        .globl  land
        .hidden land
        .type   land, %function
land:
        .cfi_startproc
        .cfi_undefined x30
        LANDING
        mov     sp, x0
        mov     x0, x1
        ldp     x29, x30, [sp, #0]
        ldp     x19, x20, [sp, #16]
        ldp     x21, x22, [sp, #32]
        ldp     x23, x24, [sp, #48]
        ldp     x25, x26, [sp, #64]
        ldp     x27, x28, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        add     sp, sp, #160
        LEAVE
        .cfi_endproc
        .size   land, . - land

        .p2align 4
        .globl  coro_entry
        .hidden coro_entry
        .type   coro_entry, %function
coro_entry:
        .cfi_startproc
        .cfi_undefined x30
        mov     x29, #0
        mov     x30, #0
        bl      coro_begin
        brk     #1
        .cfi_endproc
        .size   coro_entry, . - coro_entry

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
