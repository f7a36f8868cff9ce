//! The functions of the CUDA driver that are called, found by name in its library.
//!
//! cudarc names the library and the types. Its own functions panic if a symbol is missing and return a
//! Rust enum that newer drivers have more values for; these return the number, and a driver that lacks
//! one of them is no CUDA driver for this program.

#![allow(unsafe_code)] // The driver is a C library.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use cudarc::driver::sys::{
    self, CUDA_ARRAY3D_DESCRIPTOR, CUDA_MEMCPY3D, CUDA_RESOURCE_DESC, CUDA_RESOURCE_VIEW_DESC,
    CUDA_TEXTURE_DESC, CUarray, CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUevent,
    CUfunction, CUfunction_attribute, CUjit_option, CUmodule, CUstream,
};

/// What a driver call returns; 0 is success.
pub(super) type Code = u32;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident($($argument:ty),*);)*) => {
        /// Pointers to the functions; valid as long as the program runs.
        pub(super) struct Api {
            $($(#[$doc])* pub(super) $name: unsafe extern "C" fn($($argument),*) -> Code,)*
        }

        impl Api {
            /// The functions of the library that the system's loader finds, or why there are none.
            pub(super) fn load() -> Result<Self, String> {
                // SAFETY: loading the driver runs its constructors only.
                if !unsafe { sys::is_culib_present() } {
                    return Err("the library of the NVIDIA driver is not there".into());
                }
                // SAFETY: the library was just found, so this does not panic; it is never unloaded.
                let library = unsafe { sys::culib() };
                Ok(Self {
                    $($name: {
                        // SAFETY: the type is that of the driver's own header for this symbol.
                        let found = unsafe {
                            library.get::<unsafe extern "C" fn($($argument),*) -> Code>(
                                concat!(stringify!($symbol), "\0").as_bytes(),
                            )
                        };
                        *found.map_err(|e| format!("the NVIDIA driver is too old or damaged: {e}"))?
                    },)*
                })
            }
        }
    };
}

functions! {
    init = cuInit(c_uint);
    driver_version = cuDriverGetVersion(*mut c_int);
    device_count = cuDeviceGetCount(*mut c_int);
    device_get = cuDeviceGet(*mut CUdevice, c_int);
    device_name = cuDeviceGetName(*mut c_char, c_int, CUdevice);
    device_attribute = cuDeviceGetAttribute(*mut c_int, CUdevice_attribute, CUdevice);
    context_retain = cuDevicePrimaryCtxRetain(*mut CUcontext, CUdevice);
    context_release = cuDevicePrimaryCtxRelease_v2(CUdevice);
    context_set = cuCtxSetCurrent(CUcontext);
    context_synchronise = cuCtxSynchronize();
    memory_info = cuMemGetInfo_v2(*mut usize, *mut usize);
    memory_allocate = cuMemAlloc_v2(*mut CUdeviceptr, usize);
    memory_free = cuMemFree_v2(CUdeviceptr);
    host_allocate = cuMemHostAlloc(*mut *mut c_void, usize, c_uint);
    host_free = cuMemFreeHost(*mut c_void);
    upload = cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    download = cuMemcpyDtoHAsync_v2(*mut c_void, CUdeviceptr, usize, CUstream);
    fill = cuMemsetD8Async(CUdeviceptr, u8, usize, CUstream);
    array_create = cuArray3DCreate_v2(*mut CUarray, *const CUDA_ARRAY3D_DESCRIPTOR);
    array_destroy = cuArrayDestroy(CUarray);
    copy_3d = cuMemcpy3DAsync_v2(*const CUDA_MEMCPY3D, CUstream);
    texture_create = cuTexObjectCreate(
        *mut u64,
        *const CUDA_RESOURCE_DESC,
        *const CUDA_TEXTURE_DESC,
        *const CUDA_RESOURCE_VIEW_DESC
    );
    texture_destroy = cuTexObjectDestroy(u64);
    stream_create = cuStreamCreate(*mut CUstream, c_uint);
    stream_destroy = cuStreamDestroy_v2(CUstream);
    stream_synchronise = cuStreamSynchronize(CUstream);
    event_create = cuEventCreate(*mut CUevent, c_uint);
    event_destroy = cuEventDestroy_v2(CUevent);
    event_record = cuEventRecord(CUevent, CUstream);
    event_elapsed = cuEventElapsedTime(*mut f32, CUevent, CUevent);
    module_load = cuModuleLoadDataEx(
        *mut CUmodule,
        *const c_void,
        c_uint,
        *mut CUjit_option,
        *mut *mut c_void
    );
    module_unload = cuModuleUnload(CUmodule);
    module_function = cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
    function_set = cuFuncSetAttribute(CUfunction, CUfunction_attribute, c_int);
    launch = cuLaunchKernel(
        CUfunction,
        c_uint, c_uint, c_uint,
        c_uint, c_uint, c_uint,
        c_uint,
        CUstream,
        *mut *mut c_void,
        *mut *mut c_void
    );
    error_name = cuGetErrorName(Code, *mut *const c_char);
    error_text = cuGetErrorString(Code, *mut *const c_char);
}

impl Api {
    /// What a code means, such as `out of memory (CUDA_ERROR_OUT_OF_MEMORY)`.
    pub(super) fn explain(&self, code: Code) -> String {
        let text = |find: unsafe extern "C" fn(Code, *mut *const c_char) -> Code| {
            let mut text: *const c_char = std::ptr::null();
            // SAFETY: on success the driver stores the address of a text that it never frees.
            unsafe {
                (find(code, &mut text) == 0 && !text.is_null())
                    .then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            }
        };
        match (text(self.error_text), text(self.error_name)) {
            (Some(text), Some(name)) => format!("{text} ({name})"),
            (Some(either), None) | (None, Some(either)) => either,
            (None, None) => format!("code {code}"),
        }
    }
}
