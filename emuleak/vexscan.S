# Looks through a block of guest code, just translated and not run yet, for instructions with a VEX prefix.
#
# void translated(uc_engine *uc, const uc_tb *block, const uc_tb *before, struct scan *scan)
#
# Called by Unicorn on the host (System V ABI) once for each block it translates. It walks from instruction to
# instruction: all it must know of each is its length, which two tables tell (vexscan.py makes them). The block was
# translated, so its instructions are valid but for the last. At a VEX prefix that is not of BMI1 or BMI2 it calls
# `found(block's address)`, as it does where the block is in none of the arenas.
#
#     as -o vexscan.o vexscan.S && objcopy -O binary -j .text vexscan.o vexscan.bin
#
# rcx: scan; rax: next byte; r9: end; edi: 1 operand size 66, 2 REX.W, 4 address size 67; esi: the table's entry.

        .intel_syntax noprefix
        .text

        .equ FOUND, 0
        .equ ARENAS, 8                  # first address, bytes, where it is on the host; a size of 0 ends the list
        .equ ONE, 256                   # table of the one-byte opcodes
        .equ TWO, 512                   # and of those behind 0F
        # an entry
        .equ MODRM, 1
        .equ IMMEDIATE, 0x1E            # kinds, doubled
        .equ PREFIX, 0x20
        .equ SPECIAL, 0x80

        mov r8, [rsi]                   # uc_tb: address; two 16-bit numbers: instructions, bytes
        movzx r9d, word ptr [rsi + 10]
        lea rdx, [rcx + ARENAS]
arena:  cmp qword ptr [rdx + 8], 0
        je found
        mov rax, r8
        sub rax, [rdx]
        cmp rax, [rdx + 8]
        jb inside
        add rdx, 24
        jmp arena
inside: add rax, [rdx + 16]
        add r9, rax

next:   cmp rax, r9
        jae done
        xor edi, edi
prefix: movzx edx, byte ptr [rax]
        inc rax
        movzx esi, byte ptr [rcx + rdx + ONE]
        test sil, PREFIX
        jz opcode
        cmp dl, 0x66
        jne 1f
        or edi, 1
1:      cmp dl, 0x67
        jne 2f
        or edi, 4
2:      and edx, 0xF8
        cmp edx, 0x48
        jne prefix
        or edi, 2
        jmp prefix

opcode: test sil, sil
        jns modrm
        cmp dl, 0x0F
        jne vex
        movzx edx, byte ptr [rax]
        inc rax
        movzx esi, byte ptr [rcx + rdx + TWO]
        test sil, sil
        jns modrm
        inc rax                         # 0F 38 and 0F 3A, whose tables are all alike
        and esi, 0x7F
        jmp modrm

vex:    mov esi, MODRM
        cmp dl, 0xC4
        jne maybe
        movzx edx, byte ptr [rax]
        movzx r10d, byte ptr [rax + 2]
        add rax, 3
        and edx, 0x1F
        cmp edx, 2                      # 0F 38 F2-F7: andn, blsr, bzhi, mulx, bextr, ...
        jne 3f
        sub r10d, 0xF2
        cmp r10d, 5
        jbe modrm
        jmp found
3:      cmp edx, 3                      # 0F 3A F0: rorx
        jne found
        mov esi, MODRM + 2
        cmp r10d, 0xF0
        je modrm
        jmp found
maybe:  cmp dl, 0xC5
        je found
done:   ret                             # 62: EVEX, which the CPU refuses itself
found:  mov rdi, r8
        jmp qword ptr [rcx + FOUND]

modrm:  test sil, MODRM
        jz immediate
        movzx edx, byte ptr [rax]
        inc rax
        mov r10d, edx
        shr r10d, 6
        cmp r10d, 3
        je immediate
        mov r11d, edx
        and r11d, 7
        cmp r11d, 4
        jne 1f
        movzx r11d, byte ptr [rax]      # SIB
        inc rax
        and r11d, 7
1:      cmp r10d, 1
        je 2f
        cmp r10d, 2
        je 3f
        cmp r11d, 5
        jne immediate
3:      add rax, 3
2:      inc rax

immediate:
        and esi, IMMEDIATE
        jz next
        cmp esi, 2 * 2
        jb add1
        je add2
        cmp esi, 2 * 4
        jb addz
        je addv
        cmp esi, 2 * 6
        jb moffs
        cmp esi, 2 * 8
        je add3
        test dl, 0x38 - 8               # F6, F7: of the group only TEST, /0 and /1, has an immediate
        jnz next
        cmp esi, 2 * 6
        je add1
addz:   test edi, 2
        jnz add4
        test edi, 1
        jnz add2
add4:   add rax, 4
        jmp next
addv:   test edi, 2
        jz addz
        add rax, 8
        jmp next
moffs:  add rax, 4
        test edi, 4
        jnz next
        add rax, 4
        jmp next
add3:   inc rax
add2:   inc rax
add1:   inc rax
        jmp next
