// The threads of a block: fibers on one thread of the host, in a chosen order; or, with -DSHIM_THREADS, a thread each,
// for the sanitizers.
//
// Fibers see what a real device hides: a barrier that some threads do not reach, or reach on another line; a shuffle
// from a lane that is not there. Between two barriers a fiber runs through, so that what a missing barrier lets happen
// depends on the order: it is that of the numbers, the reverse, or a random one drawn anew at every barrier.

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "shim.h"

SHIM_LOCAL uint3 threadIdx, blockIdx;
uint3 blockDim, gridDim;
unsigned char* shim::dynamic;

extern char __start_shim_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_shim_shared[] __attribute__((weak, visibility("hidden")));

namespace {

constexpr int WARP = 32, LINES = 1 << 14;

struct {
    void (*run)(void**);
    void** arguments;
    unsigned threads, dynamic_bytes, seed;
    int skipped;  // the line of a barrier that is left out
} launch;

char message[256];      // of the first error, empty without one
bool reached[LINES];    // by line, the barriers of the last launch

void fail(const char* format, ...) {
    if (message[0]) return;
    va_list values;
    va_start(values, format);
    std::vsnprintf(message, sizeof message, format, values);
    va_end(values);
}

// Byte by byte, and not by memset: AddressSanitizer keeps its red zones among the shared variables.
__attribute__((no_sanitize("address"), no_sanitize("thread"))) void fill(volatile char* first, volatile char* last) {
    for (; first < last; ++first) *first = char(0xff);
}

// Shared memory holds NaN, and -1 in integers, until it is written.
void clear_shared_memory() {
    fill(__start_shim_shared, __stop_shim_shared);
    fill(reinterpret_cast<char*>(shim::dynamic), reinterpret_cast<char*>(shim::dynamic) + launch.dynamic_bytes);
}

uint3 index_of(unsigned i) {
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

unsigned linear() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }

}  // namespace

#ifndef SHIM_THREADS

#include <setjmp.h>
#include <ucontext.h>

namespace {

enum State { READY, AT_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
    ucontext_t start;
    jmp_buf point;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool started = false;
    State state;
    int line;
    unsigned exchanges;
    uint64_t slots[2];  // by turns: a lane may give its next value before all have read the last
};

std::vector<Fiber*> fibers;
std::vector<unsigned> order;
ucontext_t first_caller;
jmp_buf scheduler;
Fiber* current;

// Switching by longjmp: swapcontext would ask the kernel for the signal mask each time.
void pause(State state, int line) {
    current->state = state;
    current->line = line;
    if (!_setjmp(current->point)) _longjmp(scheduler, 1);
}

void live() {
    for (;;) {
        launch.run(launch.arguments);
        pause(DONE, 0);
    }
}

void resume(unsigned i) {
    current = fibers[i];
    threadIdx = index_of(i);
    if (_setjmp(scheduler)) return;
    if (current->started) _longjmp(current->point, 1);
    current->started = true;
    getcontext(&current->start);
    current->start.uc_stack.ss_sp = current->stack.data();
    current->start.uc_stack.ss_size = current->stack.size();
    current->start.uc_link = nullptr;
    makecontext(&current->start, live, 0);
    swapcontext(&first_caller, &current->start);
}

void shuffle_order() {
    if (launch.seed < 2) return;
    for (unsigned i = launch.threads - 1; i > 0; --i) {
        launch.seed = (launch.seed * 1664525u + 1013904223u) | 2u;
        std::swap(order[i], order[(launch.seed >> 8) % (i + 1)]);
    }
}

// Lets a warp go on whose threads all wait at one line; whether there was one.
bool release_warps() {
    bool any = false;
    for (unsigned first = 0; first < launch.threads; first += WARP) {
        const unsigned last = std::min(launch.threads, first + WARP);
        int line = -1;
        bool all = true;
        for (unsigned i = first; i < last; ++i) {
            if (fibers[i]->state == DONE) continue;
            all = all && fibers[i]->state == AT_WARP_BARRIER;
            if (line >= 0 && all && line != fibers[i]->line) {
                fail("lanes of a warp meet at different lines, %d and %d", line, fibers[i]->line);
            }
            line = fibers[i]->line;
        }
        if (line < 0 || !all) continue;
        for (unsigned i = first; i < last; ++i) {
            if (fibers[i]->state != DONE) fibers[i]->state = READY;
        }
        any = true;
    }
    return any;
}

// Lets all go on when all wait at __syncthreads; whether the block goes on.
bool release_block() {
    unsigned done = 0, waiting = 0;
    int line = -1;
    for (unsigned i = 0; i < launch.threads; ++i) {
        done += fibers[i]->state == DONE;
        if (fibers[i]->state != AT_BARRIER) continue;
        ++waiting;
        if (line >= 0 && line != fibers[i]->line) {
            fail("__syncthreads is reached at different lines, %d and %d", line, fibers[i]->line);
        }
        line = fibers[i]->line;
    }
    if (done == launch.threads) return false;
    if (done) fail("%u threads left the kernel while %u wait, at line %d", done, launch.threads - done, line);
    if (waiting + done < launch.threads) fail("%u threads wait at line %d, and the others elsewhere", waiting, line);
    for (unsigned i = 0; i < launch.threads; ++i) fibers[i]->state = READY;
    return true;
}

void run_block() {
    clear_shared_memory();
    for (unsigned i = 0; i < launch.threads; ++i) {
        fibers[i]->state = READY;
        fibers[i]->exchanges = 0;
    }
    while (!message[0]) {
        shuffle_order();
        bool ran = false;
        for (unsigned i : order) {
            if (fibers[i]->state != READY || message[0]) continue;
            resume(i);
            ran = true;
        }
        if (!ran && !release_warps() && !release_block()) return;
    }
}

void run_grid() {
    while (fibers.size() < launch.threads) fibers.push_back(new Fiber);
    order.resize(launch.threads);
    for (unsigned i = 0; i < launch.threads; ++i) order[i] = launch.seed == 1 ? launch.threads - 1 - i : i;
    for (unsigned z = 0; z < gridDim.z; ++z) {
        for (unsigned y = 0; y < gridDim.y; ++y) {
            for (unsigned x = 0; x < gridDim.x && !message[0]; ++x) {
                blockIdx = {x, y, z};
                run_block();
            }
        }
    }
    if (message[0]) {  // the fibers hang in the middle of the kernel
        for (Fiber* fiber : fibers) fiber->started = false;
    }
}

}  // namespace

void shim::barrier(int line) {
    reached[line % LINES] = true;
    if (line != launch.skipped) pause(AT_BARRIER, line);
}

void shim::warp_barrier(unsigned, int line) {
    reached[line % LINES] = true;
    if (line != launch.skipped) pause(AT_WARP_BARRIER, line);
}

uint64_t shim::exchange(uint64_t value, int lane, unsigned mask, int line) {
    const unsigned own = linear() % WARP, source = linear() - own + lane;
    if (!(mask >> own & 1)) fail("line %d: a shuffle by lane %u, which its own mask leaves out", line, own);
    Fiber* me = current;
    const unsigned number = ++me->exchanges;
    me->slots[number % 2] = value;
    pause(AT_WARP_BARRIER, line);
    if (source >= launch.threads || fibers[source]->exchanges < number || !(mask >> lane & 1)) {
        fail("line %d: a shuffle from lane %d, which takes no part", line, lane);
        return value;
    }
    return fibers[source]->slots[number % 2];
}

#else

#include <atomic>
#include <thread>

namespace {

// A barrier that threads may leave for good. Of atomics and not of a mutex: a thread that comes late out of a mutex would
// seem to ThreadSanitizer to have waited for what the others did meanwhile.
class Gate {
    static constexpr unsigned LEFT = 1 << 16;  // those that wait are counted below it, those that left above
    std::atomic<unsigned> counts{0}, turn{0};
    unsigned members = 0;

    // Counts a thread; whether it was the last.
    bool count(unsigned one) {
        const unsigned now = counts.fetch_add(one) + one, waiting = now % LEFT;
        if (!waiting || waiting + now / LEFT < members) return false;
        counts.fetch_sub(waiting);
        turn.fetch_add(1);
        turn.notify_all();
        return true;
    }

   public:
    void expect(unsigned threads) {
        members = threads;
        counts = 0;
    }
    void wait() {
        const unsigned mine = turn;
        if (count(1)) return;
        turn.wait(mine);
    }
    void leave() { count(LEFT); }
};

Gate start, end, block;
Gate warps[1024 / WARP];
uint64_t slots[2][1024];
SHIM_LOCAL int slot;

void thread_of(unsigned i) {
    for (unsigned long number = 0; number < 1ul * gridDim.x * gridDim.y * gridDim.z; ++number) {
        if (i == 0) {
            clear_shared_memory();
            block.expect(launch.threads);
            for (unsigned w = 0; w * WARP < launch.threads; ++w) {
                warps[w].expect(std::min<unsigned>(WARP, launch.threads - w * WARP));
            }
        }
        start.wait();
        threadIdx = index_of(i);
        blockIdx = {unsigned(number % gridDim.x), unsigned(number / gridDim.x % gridDim.y),
                    unsigned(number / gridDim.x / gridDim.y)};
        slot = 0;
        launch.run(launch.arguments);
        warps[i / WARP].leave();
        block.leave();
        end.wait();
    }
}

// Threads wait from one launch to the next: to start them takes a sanitizer longer than a kernel.
unsigned workers = 0;
std::atomic<unsigned> job{0}, busy{0};

void work(unsigned i, unsigned done) {
    for (;; ++done) {
        job.wait(done);
        if (i < launch.threads) thread_of(i);
        busy.fetch_sub(1);
        busy.notify_one();
    }
}

void run_grid() {
    for (; workers < launch.threads; ++workers) std::thread(work, workers, job.load()).detach();
    start.expect(launch.threads);
    end.expect(launch.threads);
    busy = workers;
    ++job;
    job.notify_all();
    for (unsigned left = busy; left; left = busy) busy.wait(left);
}

}  // namespace

void shim::barrier(int line) {
    if (line != launch.skipped) block.wait();
}

void shim::warp_barrier(unsigned, int line) {
    if (line != launch.skipped) warps[linear() / WARP].wait();
}

uint64_t shim::exchange(uint64_t value, int lane, unsigned, int) {
    const unsigned own = linear();
    slot ^= 1;
    slots[slot][own] = value;
    warps[own / WARP].wait();
    return slots[slot][own / WARP * WARP + lane];
}

#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

// The kernel's types, three characters a parameter; nullptr where there is no such kernel.
EXPORT const char* shim_signature(const char* name) {
    for (const shim::Entry* entry = shim::kernels; entry->name; ++entry) {
        if (!std::strcmp(entry->name, name)) return entry->signature();
    }
    return nullptr;
}

EXPORT const bool* shim_reached() { return reached; }

// Runs a kernel; the message of what went wrong, empty where nothing did. seed: 0 in order, 1 in reverse, else random.
EXPORT const char* shim_launch(
    const char* name, const unsigned* grid, const unsigned* block_size, unsigned dynamic_bytes, void** arguments,
    unsigned seed, int skipped) {
    const shim::Entry* entry = shim::kernels;
    while (entry->name && std::strcmp(entry->name, name)) ++entry;
    message[0] = 0;
    std::memset(reached, 0, sizeof reached);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block_size[0], block_size[1], block_size[2]};
    const unsigned long threads = 1ul * blockDim.x * blockDim.y * blockDim.z;
    if (!entry->name) fail("there is no kernel %s", name);
    if (threads == 0 || threads > 1024 || blockDim.z > 64) fail("a block of %lu threads; CUDA takes 1 to 1024", threads);
    if (!gridDim.x || !gridDim.y || !gridDim.z || gridDim.x > 2147483647u || gridDim.y > 65535 || gridDim.z > 65535) {
        fail("a grid of %u x %u x %u blocks", gridDim.x, gridDim.y, gridDim.z);
    }
    if (dynamic_bytes > 48 * 1024) fail("%u bytes of shared memory; more than 48 KiB need an attribute", dynamic_bytes);
    if (message[0]) return message;
    launch = {entry->run, arguments, unsigned(threads), dynamic_bytes, seed, skipped};
    shim::dynamic = static_cast<unsigned char*>(std::malloc(dynamic_bytes + !dynamic_bytes));
    run_grid();
    std::free(shim::dynamic);
    return message;
}
