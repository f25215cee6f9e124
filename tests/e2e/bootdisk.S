/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest of one sector: it writes its own disk endlessly, and verifies it.
 *
 * The firmware loads it from the disk, whatever the disk is attached to, and it
 * does its I/O through the firmware's int 13h.  Round i, from 1 on, fills block
 * i % BLOCKS of BLOCK_SIZE bytes with the number i, reads it back, and reads
 * the block that was written BLOCKS / 2 rounds before, into the next of BUFFERS
 * buffers.  It verifies that BUFFERS rounds later, and the CPU does not write to
 * the buffer: what is there then is what the disk has put into memory, and what
 * a migration since has kept of it.  It tells on COM1:
 *   B          booted
 *   .          eight rounds are done
 *   E or X     an I/O failed, or what was read is not what was written; halts
 */
        .code16
        .set    ROUNDS_PER_DOT, 8
        .set    BLOCKS, 512
        .set    SECTORS, 8              /* 4 KiB */
        .set    FIRST, 64               /* sector of block 0 */
        .set    BUFFERS, 64

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
        movl    %ebp, %eax
        movw    $0x2000, %bx            /* segment to write from */
        movw    %bx, %es
        xorw    %di, %di
        movw    $SECTORS * 128, %cx
        rep stosl
        movb    $0x43, %ah              /* write, without verify */
        movl    %ebp, %edx
        call    transfer
        movl    %ebp, %edx
        call    verify
        movw    %bp, %bx                /* segment of this round's buffer */
        andw    $BUFFERS - 1, %bx
        shlw    $8, %bx
        addw    $0x4000, %bx
        movl    %ebp, %edx
        subl    $BUFFERS + BLOCKS / 2, %edx
        jbe     1f
        call    compare
1:      movl    %ebp, %edx
        subl    $BLOCKS / 2, %edx
        jbe     1f
        movb    $0x42, %ah
        call    transfer
1:      testl   $ROUNDS_PER_DOT - 1, %ebp
        jnz     2f
        movb    $'.', %al
        call    put
2:      incl    %ebp
        jmp     round

/* Block of round %edx is as it was written */
verify:
        pushl   %edx
        movw    $0x3000, %bx
        movw    %bx, %es
        xorw    %di, %di
        xorl    %eax, %eax
        movw    $SECTORS * 128, %cx
        rep stosl
        movb    $0x42, %ah              /* read */
        call    transfer
        popl    %edx
        movw    $0x3000, %bx

/* Segment %bx holds the block of round %edx */
compare:
        movl    %edx, %eax
        movw    %bx, %es
        xorw    %di, %di
        movw    $SECTORS * 128, %cx
        repe scasl
        movb    $'X', %al
        jne     halt
        ret

/* Operation %ah on the block of round %edx and the segment %bx */
transfer:
        andl    $BLOCKS - 1, %edx
        shll    $3, %edx
        addl    $FIRST, %edx
        movl    %edx, lba + 0x7c00
        movw    %bx, segment + 0x7c00
        movw    $SECTORS, count + 0x7c00
        movw    $packet + 0x7c00, %si
        movb    drive + 0x7c00, %dl
        movb    $0, %al
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
count:  .word   SECTORS
        .word   0
segment:.word   0
lba:    .long   0, 0

        .org    510
        .word   0xaa55
