# The code to which hooked calls jump: what makes or frees a small block is served in the guest, all else by a trap.
#
# It is copied, unchanged, to a page near whatever is hooked; its data lies at one fixed address (stub.py names the
# offsets). `tests/test_stub.py` assembles this file and compares it with the bytes in stub.py:
#
#     as -o stub.o stub.S && objcopy -O binary -j .text stub.o stub.bin
#
# On entry [rsp] is the return address. rax, rcx, rdx, rsi, rdi and r8-r11 may be used (x86-64 psABI, 3.2.1); rdi, rsi
# and rdx are put away first, for a trap has to see the call as it was made. r11 holds the data's address throughout.
#
# A small malloc pops an address from the list of its size class and writes the block's header and red zone; a free
# checks both and takes a copy of what the block holds. Both write a record of four words (operation, thread and size;
# address; by how much the heap grows; half a word each where in their area its stack ends, which starts where the last
# record's ended, and which multiple of 16 the address is) and the return addresses of all callers, by the rules of the call-frame
# information that the table holds. Whatever is out of the ordinary - a size without a list, an empty list, a full ring, a return address that the table does not know, an unknown
# stack, a damaged block, one that another family of functions made or of another size than is told - goes to `slow`,
# before anything was changed.
#
# A branch not taken costs the emulator as much as six other instructions, since its blocks of code end there. So
# several tests are made one wherever arithmetic allows it.

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
        .equ S_RBX, 48                  # then r12-r15
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
        .equ STACK_WORDS, 168           # (STACK_HIGH - STACK_LOW) / 8
        .equ CHUNK, 176                 # of the block that is being freed
        .equ SITE, 184                  # which operator new is called (gate.py)
        .equ FAMILY, 192                # which functions go with this one, << 16 (events.py)
        .equ LISTS, 0x1000              # by size class: address of the next entry of its list
        .equ RECORDS, 0x20000           # the ring
        .equ AREA, 0x40000              # the return addresses
        .equ RELEASES, 0x66002          # a bit for each operation that is served and frees
        .equ RULES, 0x2000              # hash table: return address, rule

        .equ LARGEST, 1000              # bytes; beyond it a call traps
        .equ MAX_FRAMES, 128
        .equ RULE_MASK, 0xfff
        .equ HEAP, 0x600000400000
        .equ HEAP_UNITS, 0x7fffffff     # of 16 bytes: its first half, where small blocks lie
        .equ MAGIC, 0x5ea1b10c5ea1b10c
        .equ RED, 0xfdfdfdfdfdfdfdfd
        .equ FREED, 0xdddddddddddddddd
        .equ C, 1 << 16                 # families
        .equ SINGLE, 2 << 16
        .equ ARRAY, 3 << 16

        .macro entry op
        movabs  r11, DATA
        mov     qword ptr [r11+OP], \op
        mov     [r11+S_RDI], rdi
        mov     [r11+S_RSI], rsi
        mov     [r11+S_RDX], rdx
        .endm

        .macro entry_trap op
        .balign 64
op_\op:
        entry   \op
        jmp     slow
        .endm

        .macro entry_new op family
        .balign 64
op_\op:
        entry   \op
        mov     qword ptr [r11+FAMILY], \family
        mov     rax, rdi
        jmp     allocate
        .endm

        .macro entry_delete op family
        .balign 64
op_\op:
        test    rdi, rdi
        jz      free_null
        entry   \op
        mov     qword ptr [r11+FAMILY], \family
        xor     eax, eax
        jmp     release
        .endm

        .macro entry_sized_delete op family
        .balign 64
op_\op:
        test    rdi, rdi
        jz      free_null
        entry   \op
        mov     qword ptr [r11+FAMILY], \family
        mov     rax, rsi
        jmp     release
        .endm

        # Write the callers of [rsp] to the stack area; r9 ends up behind the last one. Clobbers all but rax, r11.
        # rsi: CFA of the frame at hand, rdi: its rbp, rdx: its return address.
        .macro walk
        mov     r8, [r11+RING]
        cmp     r8, [r11+RING_END]
        jae     slow
        mov     r9, [r11+STACKS]
        cmp     r9, [r11+STACKS_END]
        jae     slow
        mov     rcx, rsp                # inside the stack, and aligned: a remainder becomes the upper bits
        sub     rcx, [r11+STACK_LOW]
        ror     rcx, 3
        cmp     rcx, [r11+STACK_WORDS]
        jae     slow
        lea     r10, [r9+MAX_FRAMES*8]
        mov     rdi, rbp
        mov     rdx, [rsp]
        lea     rsi, [rsp+8]
1:      mov     [r9], rdx
        add     r9, 8
        mov     ecx, edx
        shr     ecx, 13
        xor     ecx, edx
        and     ecx, RULE_MASK
        shl     ecx, 4
        add     rcx, r11
        cmp     [rcx+RULES], rdx
        jne     6f
2:      mov     rcx, [rcx+RULES+8]      # bits 0-30 CFA offset from rsp, 32-47 offset of the saved rbp or 0
        movsxd  rdx, ecx
        add     rdx, rsi
        cmp     rdx, [r11+STACK_HIGH]   # any other rule has an offset that leads out of every stack
        jae     7f
3:      shr     rcx, 32
        movsx   rcx, cx
        mov     r8, [rdx+rcx]
        test    rcx, rcx
        cmovnz  rdi, r8
        mov     rsi, rdx
        mov     rdx, [rdx-8]
        cmp     r9, r10
        jb      1b
        jmp     9f
6:      add     rcx, 16                 # the rule's second place
        cmp     [rcx+RULES], rdx
        je      2b
        sub     r9, 8                   # 0 is no return address: the stack ends before it
        test    rdx, rdx
        jz      9f
        jmp     slow
7:      test    rcx, rcx                # 62: CFA from rbp, its offset in bits 48-61; 63: end, with 62: not for us
        js      8f
        bt      rcx, 62
        jnc     slow
        mov     rdx, rcx
        shr     rdx, 48
        and     edx, 0x3fff
        add     rdx, rdi
        mov     r8, rdx                 # higher than the last one by a multiple of 8 but zero, or something is wrong
        sub     r8, rsi
        ror     r8, 3
        dec     r8
        shr     r8, 28
        jnz     slow
        cmp     rdx, [r11+STACK_HIGH]
        jb      3b
        jmp     slow
8:      bt      rcx, 62
        jc      slow
9:
        .endm

        # r9 end of the stack, rax operation and size, rsi address, rdi by how much the heap grows
        .macro record
        or      rax, [r11+THREAD]
        mov     r8, [r11+RING]
        mov     [r8], rax
        mov     [r8+8], rsi
        mov     [r8+16], rdi
        lea     edx, [r9-AREA]
        mov     [r8+24], edx
        mov     rdx, rsi
        shr     rdx, 4
        mov     [r8+28], edx
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

        # ecx: from the chunk's size as glibc's malloc.c has it, before rounding and minimum, to the chunk's size
        .macro chunk_size
        and     ecx, -16
        mov     edx, 32
        cmp     ecx, edx
        cmovb   ecx, edx
        .endm

malloc: entry   0
        mov     qword ptr [r11+FAMILY], C
        mov     rax, rdi
allocate:
        cmp     rax, LARGEST
        ja      slow
        walk
        lea     rcx, [rax+23]
        chunk_size
        shr     ecx, 1
        mov     rdx, [r11+LISTS+rcx]
        mov     rsi, [rdx]
        test    rsi, rsi
        jz      slow
        add     rdx, 8
        mov     [r11+LISTS+rcx], rdx
        mov     rdi, rax
        mov     rcx, rax                # header: size << 48 | family << 16 | size, disguised by the address
        ror     rcx, 16
        or      rcx, rax
        or      rcx, [r11+FAMILY]
        xor     rcx, rsi
        movabs  rdx, MAGIC
        xor     rcx, rdx
        mov     [rsi-8], rcx
        movabs  rdx, RED                # the list's blocks have a red zone from their usable size on
        mov     [rsi+rax], rdx
        mov     [rsi+rax+8], rdx
        mov     [rsi+rax+16], rdx
        mov     rdx, [r11+OP]
        shl     rdx, 56
        or      rax, rdx
        record
        mov     rax, rsi
        leave_clean

        .balign 64
free:   test    rdi, rdi
        jz      free_null
        entry   1
        mov     qword ptr [r11+FAMILY], C
        xor     eax, eax
release:                                # rax: the block's size as far as it is told, or 0
        mov     rcx, rdi                # inside the heap, and aligned
        movabs  rdx, HEAP+16
        sub     rcx, rdx
        ror     rcx, 4
        cmp     rcx, HEAP_UNITS
        jae     slow
        mov     rcx, [rdi-8]            # the header of a small block that lives
        movabs  rdx, MAGIC
        xor     rcx, rdi
        xor     rcx, rdx
        rol     rcx, 16
        movzx   edx, cx
        imul    r8, rdx, 0x10001        # its size is told twice, or somebody wrote there
        xor     r8, rcx
        mov     r9, [r11+FAMILY]
        shl     r9, 16
        xor     r8, r9
        test    rax, rax
        cmovz   rax, rdx
        mov     r9, rax
        xor     r9, rdx
        or      r8, r9
        mov     ecx, edx
        cmp     ecx, LARGEST
        ja      slow
        lea     rdx, [rdi+rcx]          # its red zones: 24 bytes from its end, 24 from its usable size, 8 before
        movabs  r10, RED
        mov     r9, [rdx]
        xor     r9, r10
        or      r8, r9
        mov     r9, [rdx+8]
        xor     r9, r10
        or      r8, r9
        mov     r9, [rdx+16]
        xor     r9, r10
        or      r8, r9
        add     ecx, 23
        chunk_size
        mov     r9, [rdi+rcx-8]
        xor     r9, r10
        or      r8, r9
        mov     r9, [rdi+rcx]
        xor     r9, r10
        or      r8, r9
        mov     r9, [rdi+rcx+8]
        xor     r9, r10
        or      r8, r9
        mov     r9, [rdi-16]
        xor     r9, r10
        or      r8, r9
        jnz     slow
        mov     [r11+CHUNK], rcx
        mov     rdx, [r11+OP]
        shl     rdx, 56
        or      rax, rdx
        walk
        mov     rsi, [r11+S_RDI]
        mov     rcx, [r11+CHUNK]
        movabs  rdx, FREED
        mov     [rsi-8], rdx
        mov     rdi, rsi                # what it holds, to its usable size: chunk - 8 bytes, three words and pairs
        sub     ecx, 32
        mov     rdx, [rdi]
        mov     r8, [rdi+8]
        mov     r10, [rdi+16]
        mov     [r9], rdx
        mov     [r9+8], r8
        mov     [r9+16], r10
        lea     r9, [r9+24]             # leaves the flags of sub
        jz      2f
1:      mov     rdx, [rdi+24]
        mov     r8, [rdi+32]
        add     rdi, 16
        mov     [r9], rdx
        mov     [r9+8], r8
        add     r9, 16
        sub     ecx, 16
        jnz     1b
2:      movzx   edi, ax
        neg     rdi
        record
free_null:
        xor     eax, eax
        leave_clean

        .balign 64
calloc: entry   2
        mov     qword ptr [r11+FAMILY], C
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
        entry_new 11 SINGLE
        entry_new 12 ARRAY
        entry_delete 13 SINGLE
        entry_delete 14 ARRAY
        entry_trap 15
        entry_trap 16
        entry_sized_delete 17 SINGLE
        entry_sized_delete 18 ARRAY
        entry_trap 19
        entry_trap 20
        entry_trap 21
        entry_trap 22

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

        # Not a part of the stub: at the end it looks at blocks that were freed (inspection.py), from a page that no guest
        # could write to. The ring holds the records of their batch again. r8 tells how far it came: to the first record
        # whose block was changed since, or to the end of all.
        .balign 64
inspect:
        movabs  r11, DATA
        lea     r8, [r11+RECORDS]
1:      cmp     r8, [r11+RING]
        jae     9f
        movzx   ecx, byte ptr [r8+7]
        mov     eax, RELEASES
        bt      eax, ecx
        jnc     5f
        mov     rdi, [r8+8]
        mov     esi, [r8+24]            # what it held ends there
        lea     rsi, [r11+rsi+AREA]
        movzx   ecx, word ptr [r8]
        add     ecx, 23
        chunk_size
        sub     rsi, rcx
        movabs  r10, RED
        movabs  r9, FREED
        xor     r9, [rdi-8]
        mov     rdx, [rdi-16]
        xor     rdx, r10
        or      r9, rdx
        mov     rdx, [rdi+rcx-8]
        xor     rdx, r10
        or      r9, rdx
        mov     rdx, [rdi+rcx]
        xor     rdx, r10
        or      r9, rdx
        mov     rdx, [rdi+rcx+8]
        xor     rdx, r10
        or      r9, rdx
        mov     rdx, [rdi]
        xor     rdx, [rsi+8]
        or      r9, rdx
        sub     ecx, 16
2:      mov     rdx, [rdi+8]
        xor     rdx, [rsi+16]
        or      r9, rdx
        mov     rdx, [rdi+16]
        xor     rdx, [rsi+24]
        or      r9, rdx
        add     rdi, 16
        add     rsi, 16
        sub     ecx, 16
        jnz     2b
        test    r9, r9
        jnz     9f
5:      add     r8, 32
        jmp     1b
9:      int     0x82
