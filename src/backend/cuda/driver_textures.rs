//! Textures of the driver: an array, and an object that says how it is read.
#![expect(unsafe_code, reason = "calls of the driver, which is a C library")]

use std::collections::HashMap;
use std::ptr::{self, NonNull};

use cudarc::driver::sys::{
    CUDA_ARRAY3D_DESCRIPTOR, CUDA_MEMCPY3D, CUDA_RESOURCE_DESC, CUDA_TEXTURE_DESC, CUaddress_mode,
    CUarray, CUarray_format, CUfilter_mode, CUmemorytype, CUresourcetype, CUstream,
};

use super::api::{Api, Code};
use super::texture::{Texel, TextureId};

/// Textures that were made and not given back, with the arrays behind them.
#[derive(Default)]
pub(super) struct Textures(HashMap<TextureId, Array>);

#[derive(Clone, Copy)]
struct Array {
    handle: CUarray,
    texel: Texel,
    dims: [u32; 3],
}

impl Textures {
    /// What came of making a texture, and the texture. The context must be current.
    pub(super) fn create(&mut self, api: &Api, texel: Texel, dims: [u32; 3]) -> (Code, TextureId) {
        let [width, height, depth] = dims.map(|n| n as usize);
        let described = CUDA_ARRAY3D_DESCRIPTOR {
            Width: width,
            Height: height,
            Depth: depth,
            Format: match texel {
                Texel::Unorm8 => CUarray_format::CU_AD_FORMAT_UNSIGNED_INT8,
                Texel::Unorm16 => CUarray_format::CU_AD_FORMAT_UNSIGNED_INT16,
                Texel::Float32 => CUarray_format::CU_AD_FORMAT_FLOAT,
            },
            NumChannels: 1,
            Flags: 0,
        };
        let mut handle = ptr::null_mut();
        // SAFETY: the description is valid for the call, which writes one handle.
        let code = unsafe { (api.array_create)(&mut handle, &described) };
        if code != 0 {
            return (code, TextureId(0));
        }
        let (code, texture) = object(api, handle);
        if code == 0 {
            let array = Array {
                handle,
                texel,
                dims,
            };
            self.0.insert(texture, array);
        } else {
            // SAFETY: just created, and nobody knows it.
            unsafe { (api.array_destroy)(handle) };
        }
        (code, texture)
    }

    /// Queues a copy of all texels.
    ///
    /// # Safety
    /// `from` is page-locked memory of as many bytes as the texture, not written to until the copy is done.
    pub(super) unsafe fn upload(
        &self,
        api: &Api,
        stream: CUstream,
        to: TextureId,
        from: NonNull<u8>,
    ) -> Code {
        /// `CUDA_ERROR_INVALID_HANDLE`.
        const UNKNOWN: Code = 400;
        let Some(array) = self.0.get(&to) else {
            return UNKNOWN;
        };
        let [width, height, depth] = array.dims.map(|n| n as usize);
        let row = width * array.texel.size();
        let copy = CUDA_MEMCPY3D {
            srcXInBytes: 0,
            srcY: 0,
            srcZ: 0,
            srcLOD: 0,
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: from.as_ptr().cast_const().cast(),
            srcDevice: 0,
            srcArray: ptr::null_mut(),
            reserved0: ptr::null_mut(),
            srcPitch: row,
            srcHeight: height,
            dstXInBytes: 0,
            dstY: 0,
            dstZ: 0,
            dstLOD: 0,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_ARRAY,
            dstHost: ptr::null_mut(),
            dstDevice: 0,
            dstArray: array.handle,
            reserved1: ptr::null_mut(),
            dstPitch: 0,
            dstHeight: 0,
            WidthInBytes: row,
            Height: height,
            Depth: depth,
        };
        // SAFETY: the array has these dims; the bytes of the host are the caller's promise.
        unsafe { (api.copy_3d)(&copy, stream) }
    }

    /// Gives a texture back.
    ///
    /// # Safety
    /// No kernel that is queued uses it.
    pub(super) unsafe fn destroy(&mut self, api: &Api, id: TextureId) {
        if let Some(array) = self.0.remove(&id) {
            // SAFETY: both were made by `create`; a failure leaves memory that nobody uses.
            unsafe {
                (api.texture_destroy)(id.0);
                (api.array_destroy)(array.handle);
            }
        }
    }
}

/// What reads an array: linear between texels, the edge goes on, integers as 0..=1.
fn object(api: &Api, handle: CUarray) -> (Code, TextureId) {
    // SAFETY: plain data, of which zeros are a value: of the enums in it, too.
    let (mut resource, mut texture): (CUDA_RESOURCE_DESC, CUDA_TEXTURE_DESC) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    resource.resType = CUresourcetype::CU_RESOURCE_TYPE_ARRAY;
    resource.res.array.hArray = handle;
    texture.addressMode = [CUaddress_mode::CU_TR_ADDRESS_MODE_CLAMP; 3];
    texture.filterMode = CUfilter_mode::CU_TR_FILTER_MODE_LINEAR;
    let mut id = 0;
    // SAFETY: both descriptions are valid for the call, which writes one handle.
    let code = unsafe { (api.texture_create)(&mut id, &resource, &texture, ptr::null()) };
    (code, TextureId(id))
}
