// Arrays and textures of driver.cpp, inside of which this is included.
// Descriptions as cuda.h lays them out.
struct ArrayDescription {
    size_t dims[3];
    uint32_t format, channels, flags;
};

struct Copy3d {
    size_t from_x, from_y, from_z, from_lod;
    uint32_t from_type;
    const void* from_host;
    Address from_device;
    void* from_array;
    void* reserved0;
    size_t from_pitch, from_height;
    size_t to_x, to_y, to_z, to_lod;
    uint32_t to_type;
    void* to_host;
    Address to_device;
    void* to_array;
    void* reserved1;
    size_t to_pitch, to_height;
    size_t width_bytes, height, depth;
};

struct ResourceDescription {
    uint32_t type;
    void* array;
};

struct TextureDescription {
    uint32_t address_mode[3];
    uint32_t filter_mode;
    uint32_t flags;
};

Result cuArray3DCreate_v2(void** handle, const ArrayDescription* described) {
    IN_CONTEXT
    auto array = std::make_unique<Array>();
    array->texel_bytes = described->format == 1 ? 1 : described->format == 2 ? 2 : described->format == 32 ? 4 : 0;
    if (array->texel_bytes == 0 || described->channels != 1 || described->flags != 0) {
        return kInvalidValue;
    }
    size_t bytes = array->texel_bytes;
    for (int a = 0; a < 3; a++) {
        array->dims[a] = described->dims[a];
        if (array->dims[a] == 0 || array->dims[a] > 16384) {
            return kInvalidValue;
        }
        bytes *= array->dims[a];
    }
    if (bytes > total_memory() - context.held) {
        return kOutOfMemory;
    }
    context.held += bytes;
    array->texels.assign(bytes, static_cast<char>(0xCD));
    *handle = array.get();
    context.arrays[*handle] = std::move(array);
    return kSuccess;
}

Result cuArrayDestroy(void* handle) {
    IN_CONTEXT
    auto found = context.arrays.find(handle);
    if (found == context.arrays.end()) {
        return kInvalidHandle;
    }
    for (const auto& [id, texture] : context.textures) {
        if (texture->array == handle) {
            return kInvalidValue;
        }
    }
    for (const auto& [id, stream] : context.streams) {
        if (!stream->waiting.empty()) {
            return kNotReady;
        }
    }
    context.held -= found->second->texels.size();
    context.arrays.erase(found);
    return kSuccess;
}

Result cuMemcpy3DAsync_v2(const Copy3d* copy, void* handle) {
    WITH_STREAM(handle)
    auto found = context.arrays.find(copy->to_array);
    if (found == context.arrays.end() || copy->from_type != 1 || copy->to_type != 3) {
        return kInvalidValue;
    }
    Array* array = found->second.get();
    // Whole arrays from rows without gaps are all that is used.
    const size_t row = array->dims[0] * array->texel_bytes;
    if (copy->width_bytes != row || copy->from_pitch != row || copy->height != array->dims[1] ||
        copy->from_height != array->dims[1] || copy->depth != array->dims[2] ||
        !inside_host(context, copy->from_host, array->texels.size()) ||
        (copy->from_x | copy->from_y | copy->from_z | copy->to_x | copy->to_y | copy->to_z) != 0) {
        return kInvalidValue;
    }
    const void* from = copy->from_host;
    stream.waiting.push_back([=] {
        std::memcpy(array->texels.data(), from, array->texels.size());
        return kSuccess;
    });
    return kSuccess;
}

Result cuTexObjectCreate(Address* id, const ResourceDescription* resource, const TextureDescription* described,
                         const void* view) {
    IN_CONTEXT
    auto found = resource->type == 0 ? context.arrays.find(resource->array) : context.arrays.end();
    // Clamped, linear, integers as 0..=1, places in texels.
    if (found == context.arrays.end() || view != nullptr || described->filter_mode != 1 || described->flags != 0 ||
        described->address_mode[0] != 1 || described->address_mode[1] != 1 || described->address_mode[2] != 1) {
        return kInvalidValue;
    }
    const Array& array = *found->second;
    auto texture = std::make_unique<Texture>();
    texture->texels = reinterpret_cast<uintptr_t>(array.texels.data());
    for (int a = 0; a < 3; a++) {
        texture->dims[a] = static_cast<uint32_t>(array.dims[a]);
    }
    texture->texel_bytes = static_cast<uint32_t>(array.texel_bytes);
    texture->array = resource->array;
    *id = reinterpret_cast<uintptr_t>(texture.get());
    context.textures[*id] = std::move(texture);
    return kSuccess;
}

Result cuTexObjectDestroy(Address id) {
    IN_CONTEXT
    return context.textures.erase(id) == 1 ? kSuccess : kInvalidHandle;
}
