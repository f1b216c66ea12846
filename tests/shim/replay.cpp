// Runs launches again that were recorded under the fibers, each array in memory of its own exact size, and compares the
// arrays afterwards: `replay FILE [LINE]`, where LINE is that of a barrier that is left out. Built with a sanitizer.

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "shim.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define POISON(address, size)
#define UNPOISON(address, size)
#endif

extern "C" const char* shim_launch(
    const char* name, const unsigned* grid, const unsigned* block, unsigned dynamic_bytes, void** arguments,
    unsigned seed, int skipped);

namespace {

const char* cursor;

template <class T>
T next() {
    T value;
    std::memcpy(&value, cursor, sizeof value);
    cursor += sizeof value;
    return value;
}

constexpr size_t ALIGNMENT = 256;  // of CUDA's allocations

struct Argument {
    char kind;  // as in a signature: * & =
    char* memory;
    size_t offset, size;  // where the array begins in the memory
    const char* after;
};

Argument read_argument() {
    Argument argument = {};
    argument.kind = next<char>();
    argument.offset = next<uint32_t>();
    argument.size = next<uint64_t>();
    void* memory;
    if (posix_memalign(&memory, ALIGNMENT, argument.offset + argument.size)) std::abort();
    argument.memory = static_cast<char*>(memory);
    std::memcpy(argument.memory + argument.offset, cursor, argument.size);
    POISON(argument.memory, argument.offset);
    cursor += argument.size;
    argument.after = argument.kind == '*' ? cursor : nullptr;
    if (argument.after) cursor += argument.size;
    return argument;
}

bool nan_of_float32(uint32_t word) { return (word & 0x7fffffffu) > 0x7f800000u; }
bool nan_of_float16(uint16_t word) { return (word & 0x7fffu) > 0x7c00u; }

// Whether all bytes are equal, but for those of NaN: their sign and payload are anybody's.
bool alike(const char* a, const char* b, size_t size) {
    if (!std::memcmp(a, b, size)) return true;
    for (size_t i = 0; i < size;) {
        const size_t step = size - i < 4 ? size - i : 4;
        if (std::memcmp(a + i, b + i, step)) {
            double wide[2] = {0, 0};
            uint32_t whole[2] = {0, 0};
            uint16_t halves[2][2] = {};
            if (step == 4) {
                std::memcpy(&whole[0], a + i, 4), std::memcpy(&whole[1], b + i, 4);
                std::memcpy(halves[0], a + i, 4), std::memcpy(halves[1], b + i, 4);
            } else if (step >= 2) {
                std::memcpy(&halves[0][0], a + i, 2), std::memcpy(&halves[1][0], b + i, 2);
            }
            const size_t first = i / 8 * 8;
            if (first + 8 <= size) std::memcpy(&wide[0], a + first, 8), std::memcpy(&wide[1], b + first, 8);
            bool same = nan_of_float32(whole[0]) && nan_of_float32(whole[1]);
#if defined(FLOAT64)
            same = wide[0] != wide[0] && wide[1] != wide[1];
#elif defined(FLOAT16)
            bool each = step >= 2;
            for (int k = 0; k < 2; ++k) {
                each = each && (halves[0][k] == halves[1][k] ||
                                (nan_of_float16(halves[0][k]) && nan_of_float16(halves[1][k])));
            }
            same = same || each;
#endif
            if (!same) return false;
        }
        i += step;
    }
    return true;
}

}  // namespace

int main(int count, char** words) {
    std::ifstream stream(words[1], std::ios::binary);
    const std::vector<char> file((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    cursor = file.data();
    int different = 0;
    for (uint32_t launches = next<uint32_t>(); launches > 0; --launches) {
        const std::string name(cursor + 1, static_cast<unsigned char>(*cursor));
        cursor += 1 + name.size();
        unsigned grid[3], block[3];
        for (unsigned& n : grid) n = next<uint32_t>();
        for (unsigned& n : block) n = next<uint32_t>();
        const unsigned dynamic_bytes = next<uint32_t>();
        std::vector<Argument> arguments(next<uint32_t>());
        for (Argument& argument : arguments) argument = read_argument();
        std::vector<char*> pointers(arguments.size());
        std::vector<void*> addresses;
        for (size_t i = 0; i < arguments.size(); ++i) {
            pointers[i] = arguments[i].memory + arguments[i].offset;
            addresses.push_back(arguments[i].kind == '=' ? static_cast<void*>(pointers[i]) : &pointers[i]);
        }
        const char* error =
            shim_launch(name.c_str(), grid, block, dynamic_bytes, addresses.data(), 0, count > 2 ? std::atoi(words[2]) : 0);
        if (*error) std::printf("%s: %s\n", name.c_str(), error);
        for (size_t i = 0; i < arguments.size(); ++i) {
            const Argument& argument = arguments[i];
            if (argument.after && !alike(pointers[i], argument.after, argument.size)) {
                std::printf("%s: argument %zu differs\n", name.c_str(), i);
                ++different;
            }
            UNPOISON(argument.memory, argument.offset);
            std::free(argument.memory);
        }
        different += *error != 0;
    }
    return different ? 3 : 0;
}
