// A CUDA driver for tests: the calls that src/backend/cuda/api.rs names, over the emulator.
//
// Work of a stream waits until somebody synchronises, so that memory which is touched or given back too early
// shows. Calls without a current context, unknown handles and ranges outside an allocation are refused, and a
// context that ends with something left in it aborts. Environment: HGV_FAKE_DEVICES (1), HGV_FAKE_MEMORY (bytes
// of each, 1 GiB), HGV_FAKE_VERSION (12000), HGV_FAKE_COMPUTE (80), HGV_FAKE_LOST_AFTER (launches, never).
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

extern "C" int hgv_emu_launch(const char* name, uint32_t blocks, uint32_t threads, uint32_t dynamic_bytes,
                              const void* params, uint32_t params_bytes, uint32_t order, unsigned long long seed,
                              char* error, uint32_t error_bytes);
extern "C" int hgv_emu_kernel(uint32_t index, const char** name, uint32_t* threads, uint32_t* params_bytes);

namespace {

using Result = uint32_t;
using Address = unsigned long long;
using Clock = std::chrono::steady_clock;

enum : Result {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kNoDevice = 100,
    kInvalidContext = 201,
    kInvalidPtx = 218,
    kInvalidHandle = 400,
    kNotFound = 500,
    kNotReady = 600,
    kIllegalAddress = 700,
    kLaunchFailed = 719,
};

constexpr uint32_t kPlainShared = 48 << 10;
constexpr uint32_t kMostShared = 99 << 10;

long long setting(const char* name, long long otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::atoll(text);
}

struct Function {
    std::string name;
    uint32_t threads;
    uint32_t params;
    uint32_t shared;  // that was allowed
};

struct Module {
    std::string text;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

struct Stream {
    std::vector<std::function<Result()>> waiting;
};

struct Event {
    bool recorded = false;
    bool passed = false;
    Clock::time_point when;
};

// The first members are what kernels are told, as emu.h states it.
struct Texture {
    Address texels;
    uint32_t dims[3];
    uint32_t texel_bytes;
    void* array;
};

struct Array {
    std::vector<char> texels;
    size_t dims[3];
    size_t texel_bytes;
};

struct Context {
    int users = 0;
    size_t held = 0;
    std::map<Address, size_t> memory;
    std::map<void*, size_t> host;
    std::map<void*, std::unique_ptr<Stream>> streams;
    std::map<void*, std::shared_ptr<Event>> events;
    std::map<void*, std::unique_ptr<Module>> modules;
    std::map<void*, std::unique_ptr<Array>> arrays;
    std::map<Address, std::unique_ptr<Texture>> textures;
    Result lost = kSuccess;
    long long launches = 0;
};

std::mutex big_lock;
Context contexts[8];
thread_local Context* current = nullptr;

size_t total_memory() { return static_cast<size_t>(setting("HGV_FAKE_MEMORY", 1 << 30)); }

// What a range lies in, if it is whole.
bool inside(const std::map<Address, size_t>& memory, Address start, size_t bytes) {
    auto found = memory.upper_bound(start);
    if (found == memory.begin()) {
        return false;
    }
    --found;
    return start - found->first <= found->second && bytes <= found->second - (start - found->first);
}

bool inside_host(const Context& context, const void* start, size_t bytes) {
    const char* from = static_cast<const char*>(start);
    for (const auto& [memory, size] : context.host) {
        const char* begin = static_cast<const char*>(memory);
        if (from >= begin && bytes <= size && static_cast<size_t>(from - begin) <= size - bytes) {
            return true;
        }
    }
    return false;
}

Result run(Context& context, Stream& stream) {
    std::vector<std::function<Result()>> work;
    work.swap(stream.waiting);
    for (auto& step : work) {
        if (context.lost == kSuccess) {
            context.lost = step();
        }
    }
    return context.lost;
}

Result run_all(Context& context) {
    for (auto& [handle, stream] : context.streams) {
        run(context, *stream);
    }
    return context.lost;
}

void abort_if_left(const Context& context) {
    if (!context.memory.empty() || !context.host.empty() || !context.streams.empty() || !context.events.empty() ||
        !context.modules.empty() || !context.arrays.empty() || !context.textures.empty()) {
        std::fprintf(stderr,
                     "a context ends with %zu allocations, %zu of the host, %zu streams, %zu events, %zu modules, "
                     "%zu arrays, %zu textures\n",
                     context.memory.size(), context.host.size(), context.streams.size(), context.events.size(),
                     context.modules.size(), context.arrays.size(), context.textures.size());
        std::abort();
    }
}

void* as_pointer(Address address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

}  // namespace

// Takes the lock and the context, or answers for it.
#define IN_CONTEXT                                             \
    std::lock_guard<std::mutex> guard(big_lock);               \
    if (current == nullptr || current->users == 0) {           \
        return kInvalidContext;                                \
    }                                                          \
    Context& context = *current;                               \
    if (context.lost != kSuccess) {                            \
        return context.lost;                                   \
    }

#define WITH_STREAM(handle)                                    \
    IN_CONTEXT                                                 \
    auto found_stream = context.streams.find(handle);          \
    if (found_stream == context.streams.end()) {               \
        return kInvalidHandle;                                 \
    }                                                          \
    Stream& stream = *found_stream->second;

extern "C" {

Result cuInit(unsigned flags) { return flags != 0 ? kInvalidValue : setting("HGV_FAKE_DEVICES", 1) == 0 ? kNoDevice : kSuccess; }

Result cuDriverGetVersion(int* version) {
    *version = static_cast<int>(setting("HGV_FAKE_VERSION", 12000));
    return kSuccess;
}

Result cuDeviceGetCount(int* count) {
    *count = static_cast<int>(setting("HGV_FAKE_DEVICES", 1));
    return kSuccess;
}

Result cuDeviceGet(int* device, int ordinal) {
    *device = ordinal + 40;  // a handle, not the number
    return kSuccess;
}

Result cuDeviceGetName(char* name, int length, int device) {
    std::snprintf(name, static_cast<size_t>(length), "Emulated GPU %d", device - 40);
    return kSuccess;
}

Result cuDeviceGetAttribute(int* value, int attribute, int) {
    const int compute = static_cast<int>(setting("HGV_FAKE_COMPUTE", 80));
    switch (attribute) {
        case 16: *value = 4; return kSuccess;
        case 75: *value = compute / 10; return kSuccess;
        case 76: *value = compute % 10; return kSuccess;
        case 97: *value = kMostShared; return kSuccess;
        default: return kInvalidValue;
    }
}

Result cuDevicePrimaryCtxRetain(void** context, int device) {
    std::lock_guard<std::mutex> guard(big_lock);
    contexts[device - 40].users++;
    *context = &contexts[device - 40];
    return kSuccess;
}

Result cuDevicePrimaryCtxRelease_v2(int device) {
    std::lock_guard<std::mutex> guard(big_lock);
    Context& context = contexts[device - 40];
    if (--context.users == 0) {
        if (context.lost == kSuccess) {
            abort_if_left(context);
        }
        context = Context();
    }
    return kSuccess;
}

Result cuCtxSetCurrent(void* context) {
    std::lock_guard<std::mutex> guard(big_lock);
    current = static_cast<Context*>(context);
    return current == nullptr || current->users == 0 ? kInvalidContext : kSuccess;
}

Result cuCtxSynchronize() {
    IN_CONTEXT
    return run_all(context);
}

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
    IN_CONTEXT
    *total = total_memory();
    *free = *total - context.held;
    return kSuccess;
}

Result cuMemAlloc_v2(Address* address, size_t bytes) {
    IN_CONTEXT
    if (bytes == 0) {
        return kInvalidValue;
    }
    if (bytes > total_memory() - context.held) {
        return kOutOfMemory;
    }
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(memory, 0xCD, bytes);
    *address = reinterpret_cast<uintptr_t>(memory);
    context.memory[*address] = bytes;
    context.held += bytes;
    return kSuccess;
}

Result cuMemFree_v2(Address address) {
    IN_CONTEXT
    auto found = context.memory.find(address);
    if (found == context.memory.end()) {
        return kInvalidValue;
    }
    run_all(context);
    context.held -= found->second;
    context.memory.erase(found);
    std::free(as_pointer(address));
    return context.lost;
}

Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
    IN_CONTEXT
    if (bytes == 0) {
        return kInvalidValue;
    }
    *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    std::memset(*memory, 0xCD, bytes);
    context.host[*memory] = bytes;
    return kSuccess;
}

Result cuMemFreeHost(void* memory) {
    IN_CONTEXT
    if (context.host.erase(memory) == 0) {
        return kInvalidValue;
    }
    std::free(memory);
    return kSuccess;
}

Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* handle) {
    WITH_STREAM(handle)
    if (!inside(context.memory, to, bytes) || !inside_host(context, from, bytes)) {
        return kInvalidValue;
    }
    stream.waiting.push_back([=] {
        std::memcpy(as_pointer(to), from, bytes);
        return kSuccess;
    });
    return kSuccess;
}

Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* handle) {
    WITH_STREAM(handle)
    if (!inside(context.memory, from, bytes) || !inside_host(context, to, bytes)) {
        return kInvalidValue;
    }
    stream.waiting.push_back([=] {
        std::memcpy(to, as_pointer(from), bytes);
        return kSuccess;
    });
    return kSuccess;
}

Result cuMemsetD8Async(Address to, unsigned char byte, size_t bytes, void* handle) {
    WITH_STREAM(handle)
    if (!inside(context.memory, to, bytes)) {
        return kInvalidValue;
    }
    stream.waiting.push_back([=] {
        std::memset(as_pointer(to), byte, bytes);
        return kSuccess;
    });
    return kSuccess;
}

#include "driver_textures.h"

Result cuStreamCreate(void** handle, unsigned flags) {
    IN_CONTEXT
    if (flags != 1) {
        return kInvalidValue;
    }
    auto stream = std::make_unique<Stream>();
    *handle = stream.get();
    context.streams[*handle] = std::move(stream);
    return kSuccess;
}

Result cuStreamSynchronize(void* handle) {
    WITH_STREAM(handle)
    return run(context, stream);
}

Result cuStreamDestroy_v2(void* handle) {
    WITH_STREAM(handle)
    const Result result = run(context, stream);
    context.streams.erase(found_stream);
    return result;
}

Result cuEventCreate(void** handle, unsigned) {
    IN_CONTEXT
    auto event = std::make_shared<Event>();
    *handle = event.get();
    context.events[*handle] = event;
    return kSuccess;
}

Result cuEventRecord(void* handle, void* stream_handle) {
    WITH_STREAM(stream_handle)
    auto found = context.events.find(handle);
    if (found == context.events.end()) {
        return kInvalidHandle;
    }
    std::shared_ptr<Event> event = found->second;
    event->recorded = true;
    stream.waiting.push_back([event] {
        event->passed = true;
        event->when = Clock::now();
        return kSuccess;
    });
    return kSuccess;
}

Result cuEventElapsedTime(float* milliseconds, void* from, void* to) {
    IN_CONTEXT
    auto first = context.events.find(from), last = context.events.find(to);
    if (first == context.events.end() || last == context.events.end() || !first->second->recorded ||
        !last->second->recorded) {
        return kInvalidHandle;
    }
    if (!first->second->passed || !last->second->passed) {
        return kNotReady;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(last->second->when - first->second->when).count();
    return kSuccess;
}

Result cuEventDestroy_v2(void* handle) {
    IN_CONTEXT
    return context.events.erase(handle) == 1 ? kSuccess : kInvalidHandle;
}

Result cuModuleLoadDataEx(void** handle, const void* image, unsigned count, unsigned* options, void** values) {
    IN_CONTEXT
    auto module = std::make_unique<Module>();
    module->text = static_cast<const char*>(image);
    if (module->text.compare(0, 13, ".version 8.0\n") != 0) {
        // As the driver does, into the buffer that the options name.
        if (count == 2 && options[0] == 5 && options[1] == 6) {
            std::snprintf(static_cast<char*>(values[0]), reinterpret_cast<uintptr_t>(values[1]), "ptxas: no version");
        }
        return kInvalidPtx;
    }
    *handle = module.get();
    context.modules[*handle] = std::move(module);
    return kSuccess;
}

Result cuModuleUnload(void* handle) {
    IN_CONTEXT
    return context.modules.erase(handle) == 1 ? kSuccess : kInvalidHandle;
}

Result cuModuleGetFunction(void** function, void* handle, const char* name) {
    IN_CONTEXT
    auto found = context.modules.find(handle);
    if (found == context.modules.end()) {
        return kInvalidHandle;
    }
    Module& module = *found->second;
    if (module.text.find(std::string(".entry ") + name + "(") == std::string::npos) {
        return kNotFound;
    }
    const char* stated = nullptr;
    uint32_t threads = 0, params = 0;
    for (uint32_t i = 0; hgv_emu_kernel(i, &stated, &threads, &params) == 1; i++) {
        if (std::strcmp(stated, name) == 0) {
            auto& known = module.functions[name];
            known = std::make_unique<Function>(Function{name, threads, params, kPlainShared});
            *function = known.get();
            return kSuccess;
        }
    }
    return kNotFound;
}

Result cuFuncSetAttribute(void* function, int attribute, int value) {
    IN_CONTEXT
    if (attribute != 8 || value < 0 || static_cast<uint32_t>(value) > kMostShared) {
        return kInvalidValue;
    }
    Function& known = *static_cast<Function*>(function);
    known.shared = static_cast<uint32_t>(value) > kPlainShared ? static_cast<uint32_t>(value) : kPlainShared;
    return kSuccess;
}

Result cuLaunchKernel(void* handle, unsigned blocks, unsigned grid_y, unsigned grid_z, unsigned threads,
                      unsigned block_y, unsigned block_z, unsigned shared, void* stream_handle, void** params,
                      void** extra) {
    WITH_STREAM(stream_handle)
    Function& function = *static_cast<Function*>(handle);
    if (grid_y != 1 || grid_z != 1 || block_y != 1 || block_z != 1 || extra != nullptr || blocks == 0 ||
        threads != function.threads || shared > function.shared) {
        return kInvalidValue;
    }
    const char* start = static_cast<const char*>(params[0]);
    // Copied now, into words, as parameters hold 8-byte members.
    std::vector<uint64_t> words((function.params + 7) / 8);
    std::memcpy(words.data(), start, function.params);
    const bool lost = ++context.launches > setting("HGV_FAKE_LOST_AFTER", 1LL << 60);
    stream.waiting.push_back([=, &function] {
        char error[512];
        if (lost) {
            return kLaunchFailed;
        }
        if (hgv_emu_launch(function.name.c_str(), blocks, threads, shared, words.data(), function.params, 0, 0, error,
                           sizeof error) != 0) {
            std::fprintf(stderr, "%s\n", error);
            return kLaunchFailed;
        }
        return kSuccess;
    });
    return kSuccess;
}

Result cuGetErrorName(Result code, const char** text) {
    switch (code) {
        case kNoDevice: *text = "CUDA_ERROR_NO_DEVICE"; return kSuccess;
        case kOutOfMemory: *text = "CUDA_ERROR_OUT_OF_MEMORY"; return kSuccess;
        case kLaunchFailed: *text = "CUDA_ERROR_LAUNCH_FAILED"; return kSuccess;
        default: *text = nullptr; return kInvalidValue;
    }
}

Result cuGetErrorString(Result code, const char** text) {
    switch (code) {
        case kNoDevice: *text = "no CUDA-capable device is detected"; return kSuccess;
        case kOutOfMemory: *text = "out of memory"; return kSuccess;
        case kLaunchFailed: *text = "unspecified launch failure"; return kSuccess;
        default: *text = nullptr; return kInvalidValue;
    }
}

}  // extern "C"
