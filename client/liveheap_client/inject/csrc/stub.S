// What a worker's main thread executes for us, and how it finds its way back by itself.
//
// stub.py carries this, assembled, and writes it into unused bytes at the end of an
// executable mapping (see ptrace.py for why). The injector stops the thread, fills in
// the data below, and sets the registers: rip = enter, rsp = the thread's own stack
// below its red zone and aligned, rax and the arguments = mmap's (or munmap's), r12 =
// what to do. From there on nobody needs to be left who knows of it: everything is put
// back from the data, whatever happened.
//
// The page is what the mmap returned. The injector fills it while the thread stands
// after that call; if it does not, because it was killed there, `ready` is 0, and the
// page is given back at once.
//
//   cc -c stub.S && objcopy -O binary -j .text stub.o stub.bin
//
// A test does so and compares.

        .intel_syntax noprefix
        .text

        // r12: what to do
        .set    ONLY_SYSCALL, 0
        .set    DIRECT, 1
        .set    PENDING, 2
        // The page, as stub.py packs it.
        .set    READY, 0                // u32: the injector has filled it
        .set    CLAIMED, 4              // u32: somebody runs it, or has
        .set    STAGE, 8                // u32: 0, then one of these
        .set      BEGAN, 1
        .set      DONE, 2
        .set      NOT_INITIALIZED, 3
        .set    RESULT, 12              // i32: of PyRun_SimpleString
        .set    THREAD, 16              // u64: of PyThread_start_new_thread, if OWN
        .set    TID, 24                 // u32: who runs it, in its own namespace
        .set    QUEUED, 28              // u32: 1 queued, 2 the queue was full
        .set    PID, 32                 // u32: the only process that shall run it
        .set    OWN, 36                 // u32: in a thread of its own
        .set    INSIDE, 40              // u32: the main thread is in here
        .set    ERRNO, 44               // u32: stands in for one that was not found
        .set    RETURNED, 48            // u32: how often thunk has been called and done
        .set    XSAVE, 64               // 2,688 bytes at most, with the mask below
        .set    TEXT, 2816              // the string, ending in a 0
        // System calls.
        .set    SYS_MUNMAP, 11
        .set    SYS_RT_SIGPROCMASK, 14
        .set    SYS_GETPID, 39
        .set    SYS_RT_SIGPENDING, 127
        .set    SYS_GETTID, 186
        .set    SIG_BLOCK, 0
        .set    SIG_SETMASK, 2

magic:          .quad 0                 // says that these bytes are ours
page:           .quad 0                 // what mmap returned, for the next injector
page_bytes:     .quad 0
old_mask:       .quad 0                 // the signals that the thread blocks
wake_mask:      .quad 0                 // those that would end its system call by EINTR
block_mask:     .quad 0                 // those that our code is not disturbed by
xsave_mask:     .quad 0                 // 0: this processor has no xsave
add_pending:    .quad 0
start_thread:   .quad 0
is_initialized: .quad 0
holds_gil:      .quad 0
ensure:         .quad 0
release:        .quad 0
run:            .quad 0
fetch:          .quad 0
restore:        .quad 0
errno_location: .quad 0                 // of the C library, or no_errno
registers:                              // the order of struct user_regs_struct
r15_:           .quad 0
r14_:           .quad 0
r13_:           .quad 0
r12_:           .quad 0
rbp_:           .quad 0
rbx_:           .quad 0
r11_:           .quad 0
r10_:           .quad 0
r9_:            .quad 0
r8_:            .quad 0
rcx_:           .quad 0
rdx_:           .quad 0
rsi_:           .quad 0
rdi_:           .quad 0
flags_:         .quad 0
rsp_:           .quad 0
rax_:           .quad 0                 // go on: in user code, or in the call again
rip_:           .quad 0
eintr_rax:      .quad 0                 // go on: the call was interrupted by a signal
eintr_rip:      .quad 0
mxcsr:          .long 0x1f80
                .long 0

enter:
        syscall
entered:
        test    r12d, r12d
        jz      leave
        cmp     rax, -4096
        ja      leave                   // no memory: the injector sees that
        mov     rbx, rax
        cmp     dword ptr [rbx + READY], 0
        jne     filled
        mov     rdi, rbx                // the injector has died
        mov     rsi, [rip + page_bytes]
        mov     eax, SYS_MUNMAP
        syscall
        jmp     leave

filled:                                 // also the way in when there is a page already
        mov     eax, [rip + xsave_mask]
        xor     edx, edx
        test    eax, eax
        jz      1f
        xsave64 [rbx + XSAVE]
        jmp     2f
1:      fxsave64 [rbx + XSAVE]
2:      fninit
        ldmxcsr [rip + mxcsr]
        call    [rip + errno_location]
        mov     r13, rax
        mov     r14d, [rax]
        cmp     r12d, DIRECT
        jne     queue
        cmp     dword ptr [rbx + OWN], 0
        jne     now
        call    [rip + holds_gil]       // in a system call with the GIL held: some C
        test    eax, eax                // code that does not expect Python in there
        jnz     queue
now:    mov     rdi, rbx
        call    thunk
        jmp     called
queue:  lea     rdi, [rip + thunk]
        mov     rsi, rbx
        call    [rip + add_pending]
        mov     ecx, 1
        mov     edx, 2
        test    eax, eax
        cmovnz  ecx, edx
        mov     [rbx + QUEUED], ecx
called: mov     [r13], r14d
        mov     eax, [rip + xsave_mask]
        xor     edx, edx
        test    eax, eax
        jz      1f
        xrstor64 [rbx + XSAVE]
        jmp     2f
1:      fxrstor64 [rbx + XSAVE]
2:      mov     dword ptr [rbx + INSIDE], 0

leave:
        xor     r15d, r15d
        cmp     qword ptr [rip + wake_mask], 0
        je      1f
        sub     rsp, 16
        mov     rdi, rsp
        mov     esi, 8
        mov     eax, SYS_RT_SIGPENDING
        syscall
        mov     r15, [rsp]
        and     r15, [rip + wake_mask]  // has a handler to run, once unblocked
1:      mov     edi, SIG_SETMASK
        lea     rsi, [rip + old_mask]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, SYS_RT_SIGPROCMASK
        syscall                         // and here it runs
        test    r15, r15                // the flag lives through what follows
        mov     r15, [rip + r15_]
        mov     r14, [rip + r14_]
        mov     r13, [rip + r13_]
        mov     r12, [rip + r12_]
        mov     rbp, [rip + rbp_]
        mov     rbx, [rip + rbx_]
        mov     r11, [rip + r11_]
        mov     r10, [rip + r10_]
        mov     r9, [rip + r9_]
        mov     r8, [rip + r8_]
        mov     rcx, [rip + rcx_]
        mov     rdx, [rip + rdx_]
        mov     rsi, [rip + rsi_]
        mov     rdi, [rip + rdi_]
        jnz     1f
        push    [rip + flags_]
        popfq
        mov     rax, [rip + rax_]
        mov     rsp, [rip + rsp_]
        jmp     [rip + rip_]
1:      push    [rip + flags_]
        popfq
        mov     rax, [rip + eintr_rax]
        mov     rsp, [rip + rsp_]
        jmp     [rip + eintr_rip]

no_errno:
        lea     rax, [rbx + ERRNO]
        ret

// int thunk(void *page): the pending call; once, and not in a child that a fork made.
thunk:
        push    rbx
        mov     rbx, rdi
        mov     eax, SYS_GETPID
        syscall
        cmp     eax, [rbx + PID]
        jne     2f
        mov     eax, 1
        xchg    [rbx + CLAIMED], eax
        test    eax, eax
        jnz     2f
        cmp     dword ptr [rbx + OWN], 0
        jne     1f
        mov     rdi, rbx
        call    body
        jmp     2f
1:      lea     rdi, [rip + body]
        mov     rsi, rbx
        call    [rip + start_thread]
        mov     [rbx + THREAD], rax
2:      lock inc dword ptr [rbx + RETURNED]
        xor     eax, eax
        pop     rbx
        ret

// void body(void *page): run the string, with the GIL, undisturbed by signals.
body:
        push    rbx
        push    r12
        sub     rsp, 40
        mov     rbx, rdi
        mov     eax, SYS_GETTID
        syscall
        mov     [rbx + TID], eax
        mov     edi, SIG_BLOCK
        lea     rsi, [rip + block_mask]
        lea     rdx, [rsp]
        mov     r10d, 8
        mov     eax, SYS_RT_SIGPROCMASK
        syscall
        mov     r12d, NOT_INITIALIZED
        call    [rip + is_initialized]
        test    eax, eax
        jz      1f
        call    [rip + ensure]
        mov     r12d, eax
        mov     dword ptr [rbx + STAGE], BEGAN
        lea     rdi, [rsp + 8]
        lea     rsi, [rsp + 16]
        lea     rdx, [rsp + 24]
        call    [rip + fetch]           // what the thread was about to raise
        lea     rdi, [rbx + TEXT]
        call    [rip + run]
        mov     [rbx + RESULT], eax
        mov     rdi, [rsp + 8]
        mov     rsi, [rsp + 16]
        mov     rdx, [rsp + 24]
        call    [rip + restore]
        mov     edi, r12d
        call    [rip + release]
        mov     r12d, DONE
1:      mov     edi, SIG_SETMASK
        lea     rsi, [rsp]
        xor     edx, edx
        mov     r10d, 8
        mov     eax, SYS_RT_SIGPROCMASK
        syscall
        mov     [rbx + STAGE], r12d
        add     rsp, 40
        pop     r12
        pop     rbx
        ret
stub_end:
