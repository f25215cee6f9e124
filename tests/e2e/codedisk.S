/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest of one sector that executes what it reads from its disk.
 *
 * The firmware loads it from the disk, and it does its I/O through the firmware's
 * int 13h, as the guest in bootdisk.S does.  Round i reads a program of one sector
 * into the same memory, which the CPU does not write to: program 1 in odd rounds,
 * program 2 in even ones.  It compares all of its bytes with what the program must
 * be, and calls it: the program returns its number.  COM1 gets
 *   B          booted
 *   .          the bytes are right, and that program was executed
 *   S          the bytes are right, but the other program was executed
 *   E or X     an I/O failed, or the bytes are wrong; halts
 *   D          ROUNDS rounds are done; halts
 */
        .code16
        .set    ROUNDS, 64
        .set    FIRST, 1                /* sector of program 1 */
        .set    SEGMENT, 0x4000

        .globl  _start
_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive + 0x7c00
        movb    $'B', %al
        call    put
        movl    $1, %ebp                /* the round */

round:
        movl    %ebp, %eax              /* 1, 2, 1, 2, … */
        decl    %eax
        andl    $1, %eax
        movl    %eax, %ebx
        addl    $FIRST, %eax
        movl    %eax, lba + 0x7c00
        incl    %ebx                    /* the program */
        pushw   %bx
        call    read
        popw    %bx
        call    compare
        pushw   %bx
        lcall   $SEGMENT, $0            /* %al: its number */
        popw    %bx
        cmpb    %bl, %al
        movb    $'.', %al
        je      1f
        movb    $'S', %al
1:      call    put
        incl    %ebp
        cmpl    $ROUNDS, %ebp
        jbe     round
        movb    $'D', %al
        jmp     halt

/* Memory holds program %bl: "movb $NUMBER, %al; lret", and its number up to the end */
compare:
        movw    $SEGMENT, %ax
        movw    %ax, %es
        xorw    %di, %di
        movb    $0xb0, %al
        scasb
        jne     wrong
        movb    %bl, %al
        scasb
        jne     wrong
        movb    $0xcb, %al
        scasb
        jne     wrong
        movb    %bl, %al
        movw    $512 - 3, %cx
        repe scasb
        jne     wrong
        ret
wrong:
        movb    $'X', %al
        jmp     halt

read:
        movb    $0x42, %ah
        movb    drive + 0x7c00, %dl
        movw    $packet + 0x7c00, %si
        pushl   %ebp
        int     $0x13
        popl    %ebp
        movb    $'E', %al
        jc      halt
        cld
        ret

halt:
        call    put
1:      cli
        hlt
        jmp     1b

put:
        movw    $0x3f8, %dx
        outb    %al, %dx
        ret

drive:  .byte   0
        .balign 4
packet: .byte   16, 0
        .word   1
        .word   0
        .word   SEGMENT
lba:    .long   0, 0

        .org    510
        .word   0xaa55

        /* The programs */
        .irp    number, 1, 2
        .byte   0xb0, \number, 0xcb
        .fill   512 - 3, 1, \number
        .endr
