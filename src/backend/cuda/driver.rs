//! GPUs through the CUDA driver.
#![expect(unsafe_code, reason = "calls of the driver, which is a C library")]

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cudarc::driver::sys::{
    CUcontext, CUdevice, CUdevice_attribute, CUevent, CUfunction, CUfunction_attribute,
    CUjit_option, CUmodule, CUstream,
};

use super::api::{Api, Code};
use super::device::{Address, Device, DeviceLimits, EventId, Kernel, Launch, StreamId};
use super::driver_textures::Textures;
use super::module::{self, Entry};
use super::pool::{Pool, Reused};
use super::texture::{Texel, TextureId};
use crate::{Error, Result};

/// Oldest driver interface that takes the embedded PTX, as the driver counts: 12.0.
const OLDEST_DRIVER: c_int = 12_000;
/// A stream that does not wait for the one that is called null.
const NON_BLOCKING: c_uint = 1;
const OUT_OF_MEMORY: Code = 2;
/// Codes after which a context answers every call with the same code: the driver was shut down, the
/// device broke, or a kernel did what it must not.
const LOST: [Code; 16] = [
    4, 46, 101, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719,
];

/// The driver, initialised, or why there is none.
fn api() -> Result<&'static Api> {
    static API: OnceLock<Result<Api, String>> = OnceLock::new();
    let found = API.get_or_init(|| {
        let api = Api::load()?;
        // SAFETY: the only argument there is; repeated calls do nothing.
        match unsafe { (api.init)(0) } {
            0 => Ok(api),
            code => Err(api.explain(code)),
        }
    });
    found.as_ref().map_err(|reason| no_device(reason))
}

fn no_device(reason: &str) -> Error {
    Error::Device(format!("there is no device to use: {reason}"))
}

/// Every GPU that the driver offers and that can run the kernels, each allowed `memory` bytes.
///
/// # Errors
/// [`Error::Device`] with the reason if there is none.
pub(super) fn devices(memory: Option<u64>) -> Result<Vec<Arc<dyn Device>>> {
    let api = api()?;
    let (mut version, mut count) = (0, 0);
    // SAFETY: both write one integer.
    unsafe {
        check(api, (api.driver_version)(&mut version), "the driver")?;
        check(api, (api.device_count)(&mut count), "the driver")?;
    }
    if version < OLDEST_DRIVER {
        return Err(no_device(&format!(
            "the driver knows CUDA {}.{}, 12.0 is needed (driver 525 or newer)",
            version / 1000,
            version % 1000 / 10
        )));
    }
    let mut reason = "the driver offers none".to_owned();
    let mut found: Vec<Arc<dyn Device>> = Vec::new();
    for ordinal in 0..count {
        match Gpu::open(api, ordinal, memory) {
            Ok(gpu) => found.push(Arc::new(gpu)),
            Err(error) => reason = error.to_string(),
        }
    }
    if found.is_empty() {
        return Err(no_device(&reason));
    }
    Ok(found)
}

fn check(api: &Api, code: Code, what: &str) -> Result<()> {
    match code {
        0 => Ok(()),
        OUT_OF_MEMORY => Err(Error::DeviceMemory(format!("{what} found no room"))),
        lost if LOST.contains(&lost) => Err(Error::Device(format!(
            "{what} failed and the device is lost to this run: {}",
            api.explain(code)
        ))),
        _ => Err(Error::Device(format!(
            "{what} failed: {}",
            api.explain(code)
        ))),
    }
}

/// A kernel, found in a module that is loaded.
#[derive(Clone, Copy)]
struct Function {
    handle: CUfunction,
    entry: Entry,
    /// Dynamic shared memory that was asked for so far.
    shared: u32,
}

#[derive(Default)]
struct Loaded {
    modules: HashMap<&'static str, CUmodule>,
    /// By module and name.
    functions: HashMap<(&'static str, &'static str), Function>,
}

/// A GPU, with the context that all users of this process share.
struct Gpu {
    api: &'static Api,
    device: CUdevice,
    context: CUcontext,
    name: String,
    limits: DeviceLimits,
    pool: Mutex<Pool>,
    loaded: Mutex<Loaded>,
    /// Events that were recorded and not measured yet.
    events: Mutex<HashSet<EventId>>,
    textures: Mutex<Textures>,
}

// SAFETY: handles of the driver may be used from any thread once the context is current there, which
// `enter` sees to; what changes is behind locks.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu({}, {:?})", self.name, self.limits)
    }
}

impl Gpu {
    fn open(api: &'static Api, ordinal: c_int, memory: Option<u64>) -> Result<Self> {
        let (mut device, mut context) = (0, ptr::null_mut());
        // SAFETY: the device exists, as its number is below the count; each call writes one value.
        unsafe {
            check(api, (api.device_get)(&mut device, ordinal), "a device")?;
        }
        let name = name(api, device)?;
        let limits = limits(api, device)?;
        if limits.compute < module::OLDEST {
            return Err(Error::Device(format!(
                "{name} has compute capability {}.{}, 7.5 is needed",
                limits.compute / 10,
                limits.compute % 10
            )));
        }
        // SAFETY: as above; the context is given back when the value is dropped.
        unsafe { check(api, (api.context_retain)(&mut context, device), &name)? };
        let mut gpu = Self {
            api,
            device,
            context,
            name,
            limits,
            pool: Mutex::new(Pool::new(0)),
            loaded: Mutex::default(),
            events: Mutex::default(),
            textures: Mutex::default(),
        };
        gpu.limits.memory = gpu.free_memory()?.min(memory.unwrap_or(u64::MAX));
        gpu.pool = Mutex::new(Pool::new(gpu.limits.memory));
        Ok(gpu)
    }

    /// Makes the context current on this thread.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained as long as the value lives.
        self.check(unsafe { (self.api.context_set)(self.context) }, "a call")
    }

    fn check(&self, code: Code, what: &str) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        check(self.api, code, &format!("{what} on {}", self.name))
    }

    fn free_memory(&self) -> Result<u64> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two numbers.
        let code = unsafe { (self.api.memory_info)(&mut free, &mut total) };
        self.check(code, "a look at the memory")?;
        Ok(free as u64)
    }

    /// Waits for all work of the device; what was released before may be used again.
    fn settle(&self, pool: &mut Pool) -> Result<()> {
        // SAFETY: no arguments.
        self.check(unsafe { (self.api.context_synchronise)() }, "waiting")?;
        pool.settle();
        Ok(())
    }

    /// Gives memory back to the driver, once no work uses it.
    fn free(&self, pool: &mut Pool, addresses: Vec<Address>) -> Result<()> {
        if !addresses.is_empty() {
            self.settle(pool)?;
        }
        for address in addresses {
            // SAFETY: the pool no longer knows the address, so nobody else does.
            self.check(unsafe { (self.api.memory_free)(address) }, "a release")?;
        }
        Ok(())
    }

    fn allocate_new(&self, bytes: usize) -> Result<Option<Address>> {
        let mut address = 0;
        // SAFETY: writes one address.
        match unsafe { (self.api.memory_allocate)(&mut address, bytes) } {
            OUT_OF_MEMORY => Ok(None),
            code => self.check(code, "an allocation").map(|()| Some(address)),
        }
    }

    fn memory_error(&self, bytes: usize) -> Error {
        Error::DeviceMemory(format!(
            "{bytes} bytes more than {} has, of {} that may be used",
            self.name, self.limits.memory
        ))
    }

    /// The kernel as the driver knows it; loads its module the first time.
    fn function(&self, kernel: &Kernel, shared: u32) -> Result<CUfunction> {
        let mut loaded = lock(&self.loaded);
        let function = match loaded.functions.get(&(kernel.module, kernel.name)) {
            Some(function) => *function,
            None => self.find(&mut loaded, kernel)?,
        };
        if (function.entry.threads, function.entry.params) != (kernel.threads, kernel.params) {
            return Err(Error::Device(format!(
                "{} has {} threads and {} bytes of parameters, not {} and {}",
                kernel.name,
                function.entry.threads,
                function.entry.params,
                kernel.threads,
                kernel.params
            )));
        }
        if shared > function.shared {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = c_int::try_from(shared).unwrap_or(c_int::MAX);
            // SAFETY: the module of the function is loaded as long as the value lives.
            let code = unsafe { (self.api.function_set)(function.handle, attribute, bytes) };
            self.check(code, kernel.name)?;
        }
        let known = Function {
            shared: shared.max(function.shared),
            ..function
        };
        loaded.functions.insert((kernel.module, kernel.name), known);
        Ok(function.handle)
    }

    fn find(&self, loaded: &mut Loaded, kernel: &Kernel) -> Result<Function> {
        let missing = || Error::Device(format!("{}.cu has no {}", kernel.module, kernel.name));
        let text = module::newest(kernel.module, self.limits.compute).ok_or_else(missing)?;
        let entry = module::entry(text.text, kernel.name).ok_or_else(missing)?;
        let module = match loaded.modules.get(kernel.module) {
            Some(module) => *module,
            None => {
                let module = self.load(kernel.module, text.text)?;
                loaded.modules.insert(kernel.module, module);
                module
            }
        };
        let name = CString::new(kernel.name).map_err(|_| missing())?;
        let mut handle = ptr::null_mut();
        // SAFETY: the module is loaded and the name ends with a zero.
        let code = unsafe { (self.api.module_function)(&mut handle, module, name.as_ptr()) };
        self.check(code, kernel.name)?;
        Ok(Function {
            handle,
            entry,
            shared: 0,
        })
    }

    /// Has the driver compile a module for the device.
    fn load(&self, name: &str, text: &str) -> Result<CUmodule> {
        let text = CString::new(text)
            .map_err(|_| Error::Device(format!("the PTX of {name}.cu is damaged")))?;
        let mut log = [0u8; 4096];
        let mut options = [
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER,
            CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
        ];
        // The driver reads values of pointer size; that of a number is the number itself.
        let mut values = [
            log.as_mut_ptr().cast(),
            ptr::without_provenance_mut::<c_void>(log.len()),
        ];
        let mut module = ptr::null_mut();
        // SAFETY: the text ends with a zero, both arrays hold two entries, the log is as long as stated.
        let code = unsafe {
            (self.api.module_load)(
                &mut module,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        let said = String::from_utf8_lossy(&log);
        let said = said.trim_matches(['\0', '\n', ' ']);
        self.check(code, &format!("compiling {name}.cu {said}"))?;
        Ok(module)
    }
}

impl Device for Gpu {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn limits(&self) -> DeviceLimits {
        self.limits
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.enter()?;
        let mut pool = lock(&self.pool);
        let size = pool
            .rounded(bytes)
            .ok_or_else(|| self.memory_error(bytes))?;
        if let Some(Reused { address, wait }) = pool.reuse(size) {
            if wait {
                self.settle(&mut pool)?;
            }
            return Ok(address);
        }
        let gone = pool
            .make_room(size)
            .ok_or_else(|| self.memory_error(bytes))?;
        self.free(&mut pool, gone)?;
        let address = match self.allocate_new(size)? {
            Some(address) => address,
            None => {
                let free = pool.drain();
                self.free(&mut pool, free)?;
                self.allocate_new(size)?
                    .ok_or_else(|| self.memory_error(bytes))?
            }
        };
        pool.add(address, size);
        Ok(address)
    }

    unsafe fn release(&self, address: Address) {
        lock(&self.pool).release(address);
    }

    fn allocate_host(&self, bytes: usize) -> Result<NonNull<u8>> {
        self.enter()?;
        let bytes = bytes.max(1);
        let mut memory = ptr::null_mut();
        // SAFETY: writes one address.
        let code = unsafe { (self.api.host_allocate)(&mut memory, bytes, 0) };
        self.check(code, "an allocation of page-locked memory")?;
        let memory = NonNull::new(memory.cast::<u8>())
            .ok_or_else(|| Error::Device("page-locked memory has no address".into()))?;
        // SAFETY: so many bytes were just allocated.
        unsafe { memory.write_bytes(0, bytes) };
        Ok(memory)
    }

    unsafe fn release_host(&self, memory: NonNull<u8>, _bytes: usize) {
        if self.enter().is_ok() {
            // SAFETY: the caller's promise. A failure leaves memory that nobody uses.
            unsafe { (self.api.host_free)(memory.as_ptr().cast()) };
        }
    }

    fn create_stream(&self) -> Result<StreamId> {
        self.enter()?;
        let mut stream = ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.api.stream_create)(&mut stream, NON_BLOCKING) };
        self.check(code, "a stream")?;
        Ok(StreamId(stream.expose_provenance() as u64))
    }

    unsafe fn destroy_stream(&self, stream: StreamId) {
        if self.enter().is_ok() {
            // SAFETY: the caller's promise. A failure leaves a stream that nobody uses.
            unsafe { (self.api.stream_destroy)(handle(stream)) };
        }
    }

    unsafe fn upload(
        &self,
        stream: StreamId,
        to: Address,
        from: NonNull<u8>,
        bytes: usize,
    ) -> Result<()> {
        self.enter()?;
        let from = from.as_ptr().cast_const().cast();
        // SAFETY: the caller's promise.
        let code = unsafe { (self.api.upload)(to, from, bytes, handle(stream)) };
        self.check(code, "an upload")
    }

    unsafe fn download(
        &self,
        stream: StreamId,
        to: NonNull<u8>,
        from: Address,
        bytes: usize,
    ) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        let code = unsafe { (self.api.download)(to.as_ptr().cast(), from, bytes, handle(stream)) };
        self.check(code, "a download")
    }

    unsafe fn fill(&self, stream: StreamId, to: Address, byte: u8, bytes: usize) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        let code = unsafe { (self.api.fill)(to, byte, bytes, handle(stream)) };
        self.check(code, "a fill")
    }

    fn create_texture(&self, texel: Texel, dims: [u32; 3]) -> Result<TextureId> {
        self.enter()?;
        let (code, texture) = lock(&self.textures).create(self.api, texel, dims);
        self.check(code, "a texture").map(|()| texture)
    }

    unsafe fn destroy_texture(&self, texture: TextureId) {
        // What is queued may still read it; a failure leaves a texture that nobody uses.
        if self.enter().is_ok() && self.settle(&mut lock(&self.pool)).is_ok() {
            // SAFETY: the caller's promise, and all work is done.
            unsafe { lock(&self.textures).destroy(self.api, texture) };
        }
    }

    unsafe fn upload_texture(
        &self,
        stream: StreamId,
        to: TextureId,
        from: NonNull<u8>,
    ) -> Result<()> {
        self.enter()?;
        // SAFETY: the caller's promise.
        let code = unsafe { lock(&self.textures).upload(self.api, handle(stream), to, from) };
        self.check(code, "an upload of a texture")
    }

    unsafe fn launch(&self, stream: StreamId, launch: &Launch<'_>) -> Result<()> {
        self.enter()?;
        let kernel = launch.kernel;
        let function = self.function(kernel, launch.shared)?;
        if launch.params.len() != kernel.params {
            return Err(Error::Device(format!(
                "{} takes {} bytes of parameters, not {}",
                kernel.name,
                kernel.params,
                launch.params.len()
            )));
        }
        let mut params = [launch.params.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the kernel has one parameter, as large as the text that was loaded says; the driver
        // copies it before it returns. Addresses in it are the caller's promise.
        let code = unsafe {
            (self.api.launch)(
                function,
                launch.blocks,
                1,
                1,
                kernel.threads,
                1,
                1,
                launch.shared,
                handle(stream),
                params.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        self.check(code, kernel.name)
    }

    fn synchronise(&self, stream: StreamId) -> Result<()> {
        self.enter()?;
        // SAFETY: streams of this device live until `destroy_stream`, after which none is used.
        let code = unsafe { (self.api.stream_synchronise)(handle(stream)) };
        self.check(code, "the work of a stream")
    }

    fn record(&self, stream: StreamId) -> Result<EventId> {
        self.enter()?;
        let mut event = ptr::null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.api.event_create)(&mut event, 0) };
        self.check(code, "an event")?;
        let id = EventId(event.expose_provenance() as u64);
        lock(&self.events).insert(id);
        // SAFETY: the event was just created; the stream is as in `synchronise`.
        let code = unsafe { (self.api.event_record)(event, handle(stream)) };
        self.check(code, "an event")?;
        Ok(id)
    }

    fn elapsed(&self, from: EventId, to: EventId) -> Result<f64> {
        self.enter()?;
        let mut events = lock(&self.events);
        if !(events.contains(&from) && events.contains(&to)) {
            return Err(Error::Device("a moment that was never recorded".into()));
        }
        let mut milliseconds = 0f32;
        // SAFETY: both events exist.
        let code = unsafe { (self.api.event_elapsed)(&mut milliseconds, event(from), event(to)) };
        for id in [from, to] {
            if events.remove(&id) {
                // SAFETY: it existed, and its number was forgotten.
                unsafe { (self.api.event_destroy)(event(id)) };
            }
        }
        self.check(code, "a time")?;
        Ok(f64::from(milliseconds))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let modules = std::mem::take(&mut *lock(&self.loaded)).modules;
        if self.enter().is_ok() {
            let mut pool = lock(&self.pool);
            let free = pool.drain();
            // A failure leaves memory to the end of the process.
            let _ = self.free(&mut pool, free);
            drop(pool);
            for id in std::mem::take(&mut *lock(&self.events)) {
                // SAFETY: recorded by this device, and not destroyed by `elapsed`.
                unsafe { (self.api.event_destroy)(event(id)) };
            }
            for module in modules.into_values() {
                // SAFETY: loaded by `load`, and no function of it is used again.
                unsafe { (self.api.module_unload)(module) };
            }
        }
        // SAFETY: retained by `open`, once.
        unsafe { (self.api.context_release)(self.device) };
    }
}

fn handle(stream: StreamId) -> CUstream {
    ptr::with_exposed_provenance_mut(stream.0 as usize)
}

fn event(event: EventId) -> CUevent {
    ptr::with_exposed_provenance_mut(event.0 as usize)
}

/// What is behind a lock stays sound if a thread panicked: every change of it is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(api: &Api, device: CUdevice) -> Result<String> {
    let mut text = [0u8; 128];
    // SAFETY: writes at most as many bytes as stated.
    let code = unsafe { (api.device_name)(text.as_mut_ptr().cast(), text.len() as c_int, device) };
    check(api, code, "a device")?;
    let text = text.split(|b| *b == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// What the device has, without its memory.
fn limits(api: &Api, device: CUdevice) -> Result<DeviceLimits> {
    use CUdevice_attribute as A;
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: writes one number.
        let code = unsafe { (api.device_attribute)(&mut value, attribute, device) };
        check(api, code, "a device").map(|()| u32::try_from(value).unwrap_or(0))
    };
    Ok(DeviceLimits {
        multiprocessors: attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared: attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        memory: 0,
        compute: attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? * 10
            + attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    })
}
