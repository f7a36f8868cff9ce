// The scheduler of the emulator: fibers of one block, woken in a chosen order, with every wait checked.
#include "emu.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <sys/mman.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emu {

__thread __attribute__((tls_model("initial-exec"))) Thread* thread = nullptr;
__thread __attribute__((tls_model("initial-exec"))) Block* block = nullptr;

namespace {

enum Order : u32 { kForward = 0, kReverse = 1, kRandom = 2 };

constexpr std::size_t kStack = 512 << 10;
constexpr std::size_t kGuard = 4 << 10;
constexpr u32 kMostThreads = 1024;
constexpr std::size_t kMostShared = 48 << 10;
constexpr int kPattern = 0xA5;

Kernel* kernels = nullptr;

struct Warp {
    u32 arrived = 0;
    const Site* site = nullptr;
    u64 said[32] = {};
};

struct SharedPiece {
    const void* key;
    void* memory;
    std::size_t bytes;
};

// One launch on one thread of the process.
struct Machine {
    Block block = {};
    const Kernel* kernel = nullptr;
    const void* params = nullptr;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<u32> ready;
    std::size_t first_ready = 0;
    u32 live = 0;
    u32 at_barrier = 0;
    const Site* barrier = nullptr;
    std::vector<SharedPiece> pieces;
    std::size_t static_shared = 0;
    u32 order = kForward;
    u64 random = 1;
    void* main_stack = nullptr;
    char error[512] = {};
    bool failed = false;
};

thread_local Machine* machine = nullptr;
thread_local std::vector<char*> stacks;

#if defined(__x86_64__)
extern "C" void hgv_emu_switch(void** save, void* to);
asm(R"(
.text
.type hgv_emu_switch, @function
hgv_emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size hgv_emu_switch, . - hgv_emu_switch
)");

void switch_to(void** save, void* to) { hgv_emu_switch(save, to); }

void* fresh_fiber(u32, char* stack, void (*entry)()) {
    void** top = reinterpret_cast<void**>(stack + kStack - 64);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(entry);
    return top - 6;
}
#else
// Slower, on any machine that has ucontext.
thread_local ucontext_t contexts[kMostThreads + 1];

void switch_to(void** save, void* to) {
    *save = *save == nullptr ? static_cast<void*>(&contexts[kMostThreads]) : *save;
    swapcontext(static_cast<ucontext_t*>(*save), static_cast<ucontext_t*>(to));
}

void* fresh_fiber(u32 index, char* stack, void (*entry)()) {
    ucontext_t* context = &contexts[index];
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = kStack;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
    return context;
}
#endif

u64 next_random() {
    u64& x = machine->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

__attribute__((format(printf, 1, 2))) void fail(const char* format, ...) {
    if (machine->failed) {
        return;
    }
    machine->failed = true;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(machine->error, sizeof machine->error, format, arguments);
    va_end(arguments);
}

// Leaves the fibers for good.
[[noreturn]] void give_up() {
    void* unused = nullptr;
    switch_to(thread == nullptr ? &unused : &thread->stack_pointer, machine->main_stack);
    std::abort();
}

// Takes the next thread that can run, or nothing.
bool take_ready(u32* index) {
    Machine& m = *machine;
    if (m.first_ready == m.ready.size()) {
        return false;
    }
    if (m.order == kRandom) {
        const std::size_t at = m.first_ready + next_random() % (m.ready.size() - m.first_ready);
        std::swap(m.ready[m.first_ready], m.ready[at]);
    }
    *index = m.ready[m.first_ready++];
    if (m.first_ready == m.ready.size()) {
        m.ready.clear();
        m.first_ready = 0;
    }
    return true;
}

// Lets threads first..end run again; lanes that are done stay so.
void wake(u32 first, u32 end) {
    Machine& m = *machine;
    for (u32 i = first; i < end; i++) {
        const u32 index = m.order == kReverse ? first + end - 1 - i : i;
        Thread& t = m.threads[index];
        t.waits = nullptr;
        if (!t.done) {
            m.ready.push_back(index);
        }
    }
}

void describe_deadlock() {
    for (const Thread& t : machine->threads) {
        if (!t.done && t.waits != nullptr) {
            fail("%s: thread %u of block %u waits at %s:%d for threads that never come", machine->kernel->name,
                 t.index, machine->block.index, t.waits->file, t.waits->line);
            return;
        }
    }
}

// Runs another thread in place of this one, or the caller of the launch if none is left.
void run_next() {
    u32 index = 0;
    void** save = &thread->stack_pointer;
    if (machine->failed || !take_ready(&index)) {
        if (machine->live > 0) {
            describe_deadlock();
        }
        switch_to(save, machine->main_stack);
        return;
    }
    Thread* next = &machine->threads[index];
    if (next == thread) {
        return;
    }
    thread = next;
    switch_to(save, next->stack_pointer);
}

void release_barrier_if_complete() {
    Machine& m = *machine;
    if (m.at_barrier > 0 && m.at_barrier == m.live) {
        m.at_barrier = 0;
        m.barrier = nullptr;
        wake(0, m.block.threads);
    }
}

void entry() {
    machine->kernel->body(machine->params);
    thread->done = true;
    machine->live--;
    const u32 warp = thread->index / 32;
    if (machine->warps[warp].arrived > 0) {
        fail("%s: lane %u leaves while others of its warp wait at %s:%d", machine->kernel->name, thread->index % 32,
             machine->warps[warp].site->file, machine->warps[warp].site->line);
    }
    release_barrier_if_complete();
    run_next();
    std::abort();
}

// Fibers end without returning from their frames; the next one on a stack must not see what they marked.
void forget_frames([[maybe_unused]] char* stack) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack, kStack);
#endif
}

char* stack_of(u32 index) {
    while (stacks.size() <= index) {
        void* memory = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            std::abort();
        }
        mprotect(memory, kGuard, PROT_NONE);
        stacks.push_back(static_cast<char*>(memory) + kGuard);
    }
    forget_frames(stacks[index]);
    return stacks[index];
}

void free_shared() {
    for (SharedPiece& piece : machine->pieces) {
        std::free(piece.memory);
    }
    machine->pieces.clear();
    machine->static_shared = 0;
}

void run_block(u32 index, u32 dynamic_bytes) {
    Machine& m = *machine;
    m.block.index = index;
    m.block.dynamic = static_cast<u8*>(std::malloc(dynamic_bytes));
    std::memset(m.block.dynamic, kPattern, dynamic_bytes);
    m.warps.assign((m.block.threads + 31) / 32, Warp());
    m.live = m.block.threads;
    m.at_barrier = 0;
    m.ready.clear();
    m.first_ready = 0;
    for (u32 i = 0; i < m.block.threads; i++) {
        m.threads[i] = Thread{fresh_fiber(i, stack_of(i), entry), i, false, nullptr, 0};
    }
    block = &m.block;
    wake(0, m.block.threads);
    u32 first = 0;
    take_ready(&first);
    thread = &m.threads[first];
    switch_to(&m.main_stack, thread->stack_pointer);
    thread = nullptr;
    block = nullptr;
    free_shared();
    std::free(m.block.dynamic);
}

u32 place_in_order(u32 i, u32 count, const std::vector<u32>& shuffled) {
    switch (machine->order) {
        case kReverse:
            return count - 1 - i;
        case kRandom:
            return shuffled[i];
        default:
            return i;
    }
}

std::vector<u32> shuffle(u32 count) {
    std::vector<u32> order(count);
    for (u32 i = 0; i < count; i++) {
        order[i] = i;
    }
    for (u32 i = count; i > 1; i--) {
        std::swap(order[i - 1], order[next_random() % i]);
    }
    return order;
}

const Kernel* find(const char* name) {
    for (const Kernel* k = kernels; k != nullptr; k = k->next) {
        if (std::strcmp(k->name, name) == 0) {
            return k;
        }
    }
    return nullptr;
}

}  // namespace

Kernel::Kernel(const char* name_, u32 threads_, u32 params_, Body body_)
    : name(name_), threads(threads_), params(params_), body(body_), next(kernels) {
    kernels = this;
}

void wait_for_block(const Site* site) {
    Machine& m = *machine;
    if (m.at_barrier > 0 && m.barrier != site) {
        fail("%s: threads of a block wait at %s:%d and at %s:%d", m.kernel->name, m.barrier->file, m.barrier->line,
             site->file, site->line);
        give_up();
    }
    m.barrier = site;
    m.at_barrier++;
    thread->waits = site;
    release_barrier_if_complete();
    run_next();
}

const u64* wait_for_warp(const Site* site, u64 said) {
    Machine& m = *machine;
    const u32 first = thread->index / 32 * 32;
    Warp& warp = m.warps[first / 32];
    if (first + 32 > m.block.threads) {
        fail("%s: a collective at %s:%d in a warp of under 32 threads", m.kernel->name, site->file, site->line);
        give_up();
    }
    if (warp.arrived > 0 && warp.site != site) {
        fail("%s: lanes of a warp wait at %s:%d and at %s:%d", m.kernel->name, warp.site->file, warp.site->line,
             site->file, site->line);
        give_up();
    }
    thread->said = said;
    thread->waits = site;
    warp.site = site;
    warp.arrived++;
    if (warp.arrived < 32) {
        run_next();
        return warp.said;
    }
    // The last one to come hands out what all said; the next collective waits until all have read it.
    for (u32 lane = 0; lane < 32; lane++) {
        if (m.threads[first + lane].done) {
            fail("%s: lane %u is missing at %s:%d", m.kernel->name, lane, site->file, site->line);
            give_up();
        }
        warp.said[lane] = m.threads[first + lane].said;
    }
    warp.arrived = 0;
    wake(first, first + 32);
    run_next();
    return warp.said;
}

void* shared(const void* key, std::size_t bytes) {
    Machine& m = *machine;
    for (const SharedPiece& piece : m.pieces) {
        if (piece.key == key) {
            return piece.memory;
        }
    }
    m.static_shared += bytes;
    if (m.static_shared > kMostShared) {
        fail("%s: %zu bytes of shared memory", m.kernel->name, m.static_shared);
        give_up();
    }
    void* memory = std::malloc(bytes);
    std::memset(memory, kPattern, bytes);
    m.pieces.push_back(SharedPiece{key, memory, bytes});
    return memory;
}

}  // namespace emu

// Runs `blocks` blocks of a kernel. Returns 0, or 1 with a message in `error` (zero-terminated).
extern "C" int hgv_emu_launch(const char* name, u32 blocks, u32 threads, u32 dynamic_bytes, const void* params,
                              u32 params_bytes, u32 order, u64 seed, char* error, u32 error_bytes) {
    using namespace emu;
    Machine m;
    m.kernel = find(name);
    if (m.kernel == nullptr) {
        std::snprintf(error, error_bytes, "there is no kernel %s", name);
        return 1;
    }
    if (m.kernel->params != params_bytes || m.kernel->threads != threads || threads > kMostThreads) {
        std::snprintf(error, error_bytes, "%s has %u threads and %u bytes of parameters, not %u and %u", name,
                      m.kernel->threads, m.kernel->params, threads, params_bytes);
        return 1;
    }
    machine = &m;
    m.params = params;
    m.block.count = blocks;
    m.block.threads = threads;
    m.threads.resize(threads);
    m.order = order;
    m.random = seed * 2 + 1;
    const std::vector<u32> shuffled = order == kRandom ? shuffle(blocks) : std::vector<u32>();
    for (u32 i = 0; i < blocks && !m.failed; i++) {
        run_block(place_in_order(i, blocks, shuffled), dynamic_bytes);
    }
    machine = nullptr;
    if (m.failed) {
        std::snprintf(error, error_bytes, "%s", m.error);
    }
    return m.failed ? 1 : 0;
}

// The name, threads and parameter bytes of kernel `index`; 0 past the last.
extern "C" int hgv_emu_kernel(u32 index, const char** name, u32* threads, u32* params_bytes) {
    const emu::Kernel* k = emu::kernels;
    for (; k != nullptr && index > 0; index--) {
        k = k->next;
    }
    if (k == nullptr) {
        return 0;
    }
    *name = k->name;
    *threads = k->threads;
    *params_bytes = k->params;
    return 1;
}
