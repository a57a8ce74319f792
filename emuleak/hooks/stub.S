# The code to which hooked calls jump: malloc, calloc and free served in the guest, everything else by a trap.
#
# It is copied, unchanged, to a page near whatever is hooked; its data lies at one fixed address (stub.py names the
# offsets). `tests/test_stub.py` assembles this file and compares it with the bytes in stub.py:
#
#     as -o stub.o stub.S && objcopy -O binary -j .text stub.o stub.bin
#
# On entry [rsp] is the return address. rax, rcx, rdx, rsi, rdi and r8-r11 may be used (x86-64 psABI, 3.2.1); rdi, rsi
# and rdx are put away first, for a trap has to see the call as it was made. r11 holds the data's address throughout.
#
# A small malloc pops an address from the list of its size class, a free only takes note: both write a record of four
# words (operation, thread and size, address, where its stack starts and ends) and the return addresses of all callers, by the
# rules of the call-frame information that the table holds. Whatever is out of the ordinary - a size without a list, an
# empty list, a full ring, a return address that the table does not know, an unknown stack - goes to `slow`, before
# anything was changed.

        .intel_syntax noprefix
        .text

        .equ DATA, 0x600000000000
        # header
        .equ OP, 0                      # which operation traps
        .equ S_RDI, 8
        .equ S_RSI, 16
        .equ S_RDX, 24
        .equ S_RSP, 32
        .equ S_RBP, 40
        .equ S_RBX, 48                    # then r12-r15
        .equ RESULT, 88
        .equ ERRNO, 96
        .equ ERRNO_LOCATION, 104
        .equ RING, 112                  # next record
        .equ RING_END, 120
        .equ STACKS, 128                # next free word for return addresses
        .equ STACKS_END, 136            # no new stack from here on
        .equ STACK_LOW, 144             # the running thread's stack
        .equ STACK_HIGH, 152
        .equ THREAD, 160                # the running thread's number << 40
        .equ LISTS, 0x1000              # by size class: address of the next entry of its list
        .equ RULES, 0x2000              # hash table: return address, rule

        .equ LARGEST, 1000              # bytes; beyond it a call traps
        .equ MAX_FRAMES, 128
        .equ RULE_MASK, 0xfff

        .macro entry op
        movabs  r11, DATA
        mov     qword ptr [r11+OP], \op
        mov     [r11+S_RDI], rdi
        mov     [r11+S_RSI], rsi
        mov     [r11+S_RDX], rdx
        .endm

        .macro entry_trap op
        .balign 64
        entry   \op
        jmp     slow
        .endm

        # Write the callers of [rsp] to the stack area; r9 ends up behind the last one. Clobbers all but rax, r8, r11.
        .macro walk
        mov     r8, [r11+RING]
        cmp     r8, [r11+RING_END]
        jae     slow
        mov     r9, [r11+STACKS]
        cmp     r9, [r11+STACKS_END]
        jae     slow
        lea     r10, [r9+MAX_FRAMES*8]
        cmp     rsp, [r11+STACK_LOW]
        jb      slow
        mov     rsi, rsp
        cmp     rsi, [r11+STACK_HIGH]
        jae     slow
        mov     rdi, rbp
        mov     rdx, [rsi]              # return address
        add     rsi, 8                  # CFA
1:      mov     [r9], rdx
        add     r9, 8
        cmp     r9, r10
        jae     9f
        mov     ecx, edx
        shr     ecx, 13
        xor     ecx, edx
        and     ecx, RULE_MASK
        shl     ecx, 4
        add     rcx, r11
        cmp     [rcx+RULES], rdx
        je      2f
        add     rcx, 16
        cmp     [rcx+RULES], rdx
        jne     slow
2:      mov     rcx, [rcx+RULES+8]      # bits 0-31 CFA offset, 32-47 offset of the saved rbp, 62 CFA is from rbp
        test    rcx, rcx
        js      8f
        movsxd  rdx, ecx
        bt      rcx, 62
        jc      3f
        add     rdx, rsi
        jmp     4f
3:      add     rdx, rdi
4:      cmp     rdx, rsi                # the stack grows down and frames are aligned, or something is wrong
        jbe     slow
        cmp     rdx, [r11+STACK_HIGH]
        ja      slow
        test    dl, 7
        jnz     slow
        shr     rcx, 32
        movsx   rcx, cx
        test    rcx, rcx
        jz      5f
        mov     rdi, [rdx+rcx]
5:      mov     rsi, rdx
        mov     rdx, [rdx-8]
        test    rdx, rdx
        jz      9f
        jmp     1b
8:      cmp     rcx, -1                 # the outermost frame
        jne     slow
9:
        .endm

        # r8 record, r9 end of the stack, rax operation and size, rsi address
        .macro record
        or      rax, [r11+THREAD]
        mov     [r8], rax
        mov     [r8+8], rsi
        mov     rdx, [r11+STACKS]
        mov     [r8+16], rdx
        mov     [r8+24], r9
        mov     [r11+STACKS], r9
        add     r8, 32
        mov     [r11+RING], r8
        .endm

        .macro leave_clean
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        ret
        .endm

malloc: entry   0
        mov     rax, rdi
allocate:
        cmp     rax, LARGEST
        ja      slow
        walk
        lea     rcx, [rax+23]           # the chunk's size in 16 bytes, as in glibc's malloc.c
        shr     rcx, 4
        cmp     ecx, 2
        jae     1f
        mov     ecx, 2
1:      mov     rdx, [r11+LISTS+rcx*8]
        mov     rsi, [rdx]
        test    rsi, rsi
        jz      slow
        add     rdx, 8
        mov     [r11+LISTS+rcx*8], rdx
        mov     rdx, [r11+OP]
        shl     rdx, 56
        or      rax, rdx
        record
        mov     rdi, rsi
        lea     ecx, [rcx+rcx-1]        # its words without the last one, which stays as a gap
        xor     eax, eax
        rep     stosq
        mov     rax, rsi
        leave_clean

        .balign 64
free:   test    rdi, rdi
        jz      free_null
        entry   1
        movabs  rax, 1 << 56
        walk
        mov     rsi, [r11+S_RDI]
        record
free_null:
        xor     eax, eax
        leave_clean

        .balign 64
calloc: entry   2
        mov     rax, rdi
        mul     rsi
        jc      slow
        jmp     allocate

        entry_trap 3
        entry_trap 4
        entry_trap 5
        entry_trap 6
        entry_trap 7
        entry_trap 8
        entry_trap 9
        entry_trap 10

        .balign 64
slow:   mov     [r11+S_RSP], rsp
        mov     [r11+S_RBP], rbp
        mov     [r11+S_RBX], rbx
        mov     [r11+S_RBX+8], r12
        mov     [r11+S_RBX+16], r13
        mov     [r11+S_RBX+24], r14
        mov     [r11+S_RBX+32], r15
        int     0x81
        mov     rax, [r11+RESULT]
        cmp     dword ptr [r11+ERRNO], 0
        jne     1f
        leave_clean
1:      push    rax                     # errno is the thread's own: libc knows where
        call    [r11+ERRNO_LOCATION]
        movabs  r11, DATA
        mov     ecx, [r11+ERRNO]
        mov     [rax], ecx
        mov     dword ptr [r11+ERRNO], 0
        pop     rax
        leave_clean
