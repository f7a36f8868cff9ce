//! A CUDA device for tests: the kernels of `cuda/`, compiled as C++, on the CPU.
//!
//! One fiber runs each CUDA thread. Thread order is forward, reverse or shuffled; barriers and collectives are
//! checked; shared memory and fresh device memory hold a pattern. Everything runs at once when it is queued, so
//! nothing that depends on copies and kernels overlapping is seen. See `cuda/emu/emu.h`.
#![expect(
    unsafe_code,
    reason = "calls into the emulator, and the memory it works on"
)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use hgv::backend::cuda::{
    Address, Device, DeviceLimits, EventId, Launch, StreamId, Texel, TextureId,
};
use hgv::{Error, Result};

/// The order in which threads of a block, and blocks, run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By index.
    Forward,
    /// By falling index.
    Reverse,
    /// Shuffled anew at every step, from a seed.
    Random(u64),
}

impl Order {
    /// Its name in `HGV_TEST_DEVICES`.
    fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Random(_) => "random",
        }
    }
}

/// Every order that a test should try.
pub const ORDERS: [Order; 3] = [Order::Forward, Order::Reverse, Order::Random(1)];

/// What fresh device memory is filled with.
const PATTERN: u8 = 0xcd;
const DEVICE_ALIGN: usize = 256;
const HOST_ALIGN: usize = 64;
const COMPUTE: u32 = 80;
const SHARED: u32 = 99 << 10;
const MEMORY: u64 = 4 << 30;

type LaunchFn = unsafe extern "C" fn(
    *const c_char,
    u32,
    u32,
    u32,
    *const u8,
    u32,
    u32,
    u64,
    *mut c_char,
    u32,
) -> i32;
type KernelFn = unsafe extern "C" fn(u32, *mut *const c_char, *mut u32, *mut u32) -> i32;

/// A device whose kernels run on the CPU.
#[derive(Debug)]
pub struct Emulator {
    library: libloading::Library,
    order: Order,
    memory: u64,
    state: Mutex<State>,
    launches: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    allocated: HashMap<Address, usize>,
    used: u64,
    next: u64,
    events: HashMap<u64, Instant>,
}

/// A texture as `cuda/emu/emu.h` states it; its address is what kernels take.
#[derive(Debug)]
#[repr(C)]
struct EmulatedTexture {
    texels: Address,
    dims: [u32; 3],
    texel_bytes: u32,
}

/// A kernel as the library states it: its name, threads of a block, bytes of its parameters.
pub type StatedKernel = (String, u32, usize);

impl Emulator {
    /// `None` without a C++20 compiler when this crate was built, and away from there.
    pub fn new(order: Order) -> Option<Self> {
        Self::with_memory(order, MEMORY)
    }

    /// The same with this much memory.
    pub fn with_memory(order: Order, memory: u64) -> Option<Self> {
        let path = library()?;
        // SAFETY: the library was built by this crate's build script; its constructors register kernels.
        let library = unsafe { libloading::Library::new(path) };
        match library {
            Ok(library) => Some(Self {
                library,
                order,
                memory,
                state: Mutex::default(),
                launches: AtomicU64::new(0),
            }),
            #[expect(clippy::panic, reason = "a library that was built must load")]
            Err(e) => panic!("{path}: {e}"),
        }
    }

    /// Bytes of device memory that are allocated.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// Every kernel of the library.
    ///
    /// # Errors
    /// [`Error::Device`] if the library is not the emulator.
    pub fn kernels(&self) -> Result<Vec<StatedKernel>> {
        // SAFETY: the signature is that of emu.cpp.
        let stated = unsafe { self.library.get::<KernelFn>(b"hgv_emu_kernel") };
        let stated = stated.map_err(|e| Error::Device(e.to_string()))?;
        let mut kernels = Vec::new();
        let (mut name, mut threads, mut params) = (std::ptr::null(), 0, 0);
        // SAFETY: the three places are valid; the name is a literal of the library, which stays loaded.
        while unsafe { stated(kernels.len() as u32, &mut name, &mut threads, &mut params) } == 1 {
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(name) }
                .to_string_lossy()
                .into_owned();
            kernels.push((name, threads, params as usize));
        }
        Ok(kernels)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout(bytes: usize, align: usize) -> Result<Layout> {
    Layout::from_size_align(bytes, align).map_err(|e| Error::DeviceMemory(e.to_string()))
}

impl Device for Emulator {
    fn name(&self) -> String {
        format!("emulator ({:?})", self.order)
    }

    fn limits(&self) -> DeviceLimits {
        DeviceLimits {
            multiprocessors: 4,
            shared: SHARED,
            memory: self.memory,
            compute: COMPUTE,
        }
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        let mut state = self.state();
        if state.used + bytes as u64 > self.memory {
            return Err(Error::DeviceMemory(format!(
                "{bytes} bytes beside {} of {}",
                state.used, self.memory
            )));
        }
        // SAFETY: a buffer has at least one byte.
        let start = unsafe { alloc(layout(bytes, DEVICE_ALIGN)?) };
        if start.is_null() {
            return Err(Error::DeviceMemory(format!("{bytes} bytes")));
        }
        // SAFETY: just allocated.
        unsafe { start.write_bytes(PATTERN, bytes) };
        let address = start.expose_provenance() as Address;
        state.allocated.insert(address, bytes);
        state.used += bytes as u64;
        Ok(address)
    }

    unsafe fn release(&self, address: Address) {
        let mut state = self.state();
        #[expect(clippy::panic, reason = "a test must not go on after freeing twice")]
        let Some(bytes) = state.allocated.remove(&address) else {
            panic!("device memory at {address:#x} is given back twice")
        };
        state.used -= bytes as u64;
        if let Ok(layout) = layout(bytes, DEVICE_ALIGN) {
            // SAFETY: allocated above with this layout.
            unsafe { dealloc(pointer(address), layout) };
        }
    }

    fn allocate_host(&self, bytes: usize) -> Result<NonNull<u8>> {
        // SAFETY: callers ask for at least one byte.
        let start = unsafe { alloc_zeroed(layout(bytes.max(1), HOST_ALIGN)?) };
        NonNull::new(start).ok_or_else(|| Error::DeviceMemory(format!("{bytes} bytes of the host")))
    }

    unsafe fn release_host(&self, memory: NonNull<u8>, bytes: usize) {
        if let Ok(layout) = layout(bytes.max(1), HOST_ALIGN) {
            // SAFETY: allocated above with this layout.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
    }

    fn create_stream(&self) -> Result<StreamId> {
        let mut state = self.state();
        state.next += 1;
        Ok(StreamId(state.next))
    }

    unsafe fn destroy_stream(&self, _stream: StreamId) {}

    unsafe fn upload(
        &self,
        _stream: StreamId,
        to: Address,
        from: NonNull<u8>,
        bytes: usize,
    ) -> Result<()> {
        // SAFETY: both ranges exist, says the caller, and device memory is nobody else's.
        unsafe { pointer(to).copy_from_nonoverlapping(from.as_ptr(), bytes) };
        Ok(())
    }

    unsafe fn download(
        &self,
        _stream: StreamId,
        to: NonNull<u8>,
        from: Address,
        bytes: usize,
    ) -> Result<()> {
        // SAFETY: as above.
        unsafe { to.as_ptr().copy_from_nonoverlapping(pointer(from), bytes) };
        Ok(())
    }

    unsafe fn fill(&self, _stream: StreamId, to: Address, byte: u8, bytes: usize) -> Result<()> {
        // SAFETY: the range exists, says the caller.
        unsafe { pointer(to).write_bytes(byte, bytes) };
        Ok(())
    }

    fn create_texture(&self, texel: Texel, dims: [u32; 3]) -> Result<TextureId> {
        let bytes = dims.iter().map(|n| *n as usize).product::<usize>() * texel.size();
        let texture = Box::new(EmulatedTexture {
            texels: self.allocate(bytes)?,
            dims,
            texel_bytes: texel.size() as u32,
        });
        Ok(TextureId(Box::into_raw(texture).expose_provenance() as u64))
    }

    unsafe fn destroy_texture(&self, texture: TextureId) {
        // SAFETY: made above and not used again, says the caller.
        let texture = unsafe { Box::from_raw(texture_at(texture)) };
        // SAFETY: allocated with it.
        unsafe { self.release(texture.texels) };
    }

    unsafe fn upload_texture(
        &self,
        stream: StreamId,
        to: TextureId,
        from: NonNull<u8>,
    ) -> Result<()> {
        // SAFETY: made above and still there, says the caller.
        let texture = unsafe { &*texture_at(to) };
        let texels: usize = texture.dims.iter().map(|n| *n as usize).product();
        // SAFETY: so many bytes were allocated, and are there to be read, says the caller.
        unsafe {
            self.upload(
                stream,
                texture.texels,
                from,
                texels * texture.texel_bytes as usize,
            )
        }
    }

    unsafe fn launch(&self, _stream: StreamId, launch: &Launch<'_>) -> Result<()> {
        // SAFETY: the signature is that of emu.cpp.
        let run = unsafe { self.library.get::<LaunchFn>(b"hgv_emu_launch") };
        let run = run.map_err(|e| Error::Device(e.to_string()))?;
        let name = CString::new(launch.kernel.name).map_err(|e| Error::Device(e.to_string()))?;
        let (order, seed) = match self.order {
            Order::Forward => (0, 0),
            Order::Reverse => (1, 0),
            Order::Random(seed) => (2, seed + self.launches.fetch_add(1, Ordering::Relaxed)),
        };
        // Parameters hold 8-byte members.
        let mut params = vec![0u64; launch.params.len().div_ceil(8)];
        for (word, bytes) in params.iter_mut().zip(launch.params.chunks(8)) {
            let mut all = [0; 8];
            all[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_le_bytes(all);
        }
        let mut error = [0u8; 512];
        // SAFETY: name and parameters are valid for the call, the error has room; what the kernel does with
        // addresses is the caller's promise.
        let failed = unsafe {
            run(
                name.as_ptr(),
                launch.blocks,
                launch.kernel.threads,
                launch.shared,
                params.as_ptr().cast(),
                launch.params.len() as u32,
                order,
                seed,
                error.as_mut_ptr().cast(),
                error.len() as u32,
            )
        };
        if failed == 0 {
            return Ok(());
        }
        let text = CStr::from_bytes_until_nul(&error).map_or("", |t| t.to_str().unwrap_or(""));
        Err(Error::Device(text.to_string()))
    }

    fn synchronise(&self, _stream: StreamId) -> Result<()> {
        Ok(())
    }

    fn record(&self, _stream: StreamId) -> Result<EventId> {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        state.events.insert(id, Instant::now());
        Ok(EventId(id))
    }

    fn elapsed(&self, from: EventId, to: EventId) -> Result<f64> {
        let mut state = self.state();
        let (from, to) = (state.events.remove(&from.0), state.events.remove(&to.0));
        match (from, to) {
            (Some(from), Some(to)) => Ok(to.duration_since(from).as_secs_f64() * 1e3),
            _ => Err(Error::Device("a moment that was never recorded".into())),
        }
    }
}

fn pointer(address: Address) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

fn texture_at(texture: TextureId) -> *mut EmulatedTexture {
    std::ptr::with_exposed_provenance_mut(texture.0 as usize)
}

/// The repository, for files that tests read: `HGV_REPOSITORY` where tests run away from it.
pub fn repository() -> PathBuf {
    std::env::var_os("HGV_REPOSITORY").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        PathBuf::from,
    )
}

/// Folder of a `libcuda.so.1` that works over the emulator (`driver`) or lacks every function (`empty`).
pub fn driver_folder(name: &str) -> Option<PathBuf> {
    library().map(|_| Path::new(env!("HGV_CUDA_DRIVERS")).join(name))
}

/// The emulator's library; `None` without a compiler when it was to be built, and away from there.
fn library() -> Option<&'static str> {
    let path = env!("HGV_CUDA_EMULATOR");
    (!path.is_empty() && Path::new(path).exists()).then_some(path)
}

/// Runs a test on every device there is: the emulator in each order of threads, and GPUs. Says what is
/// skipped. `HGV_TEST_DEVICES` names the ones to take: `forward`, `reverse`, `random`, `gpu`; a GPU that is
/// named has to be there.
pub fn for_each_device(test: impl Fn(&Arc<dyn Device>)) {
    run_on(&ORDERS, test);
}

/// Runs a test on the emulator in its plain order and on GPUs, for tests that take long.
pub fn for_one_device(test: impl Fn(&Arc<dyn Device>)) {
    run_on(&ORDERS[..1], test);
}

fn run_on(orders: &[Order], test: impl Fn(&Arc<dyn Device>)) {
    let named = std::env::var("HGV_TEST_DEVICES").unwrap_or_default();
    let named: Vec<_> = named.split(',').filter(|w| !w.is_empty()).collect();
    for order in orders {
        if !named.is_empty() && !named.contains(&order.word()) {
            continue;
        }
        match Emulator::new(*order) {
            Some(emulator) => test(&(Arc::new(emulator) as Arc<dyn Device>)),
            None => eprintln!("SKIPPED: the emulator of CUDA kernels was not built"),
        }
    }
    if !named.is_empty() && !named.contains(&"gpu") {
        return;
    }
    match gpu() {
        Ok(device) => test(device),
        #[expect(clippy::panic, reason = "a device that was named must be there")]
        Err(reason) if named.contains(&"gpu") => panic!("{reason}"),
        Err(reason) => eprintln!("SKIPPED: {reason}"),
    }
}

/// The first GPU. One for all tests of a process: the driver compiles every kernel anew for each.
fn gpu() -> Result<&'static Arc<dyn Device>, &'static str> {
    static GPU: OnceLock<Result<Arc<dyn Device>, String>> = OnceLock::new();
    let found = GPU.get_or_init(|| {
        let mut devices = hgv::backend::cuda::devices(None).map_err(|e| e.to_string())?;
        Ok(devices.swap_remove(0))
    });
    found.as_ref().map_err(String::as_str)
}
