//! What the kernels of `cuda/march.cu` are told, as `march.cuh` states it.

use zerocopy::{Immutable, IntoBytes};

use crate::backend::cuda::{Address, Kernel};
use crate::render::Environment;
use crate::render::frame::Sampling;
use crate::render::march::{Lamp, Look, Marcher};
use crate::render::scene::{Background, Mode, Scene};
use crate::stream::schedule::View;
use crate::volume::DType;

/// Pixels of a thread block along x and y.
pub(super) const TILE: [u32; 2] = [16, 8];
const THREADS: u32 = 128;

static U8: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_u8", THREADS);
static I8: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_i8", THREADS);
static U16: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_u16", THREADS);
static I16: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_i16", THREADS);
static F32: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_f32", THREADS);
static SMOOTH: Kernel = Kernel::new::<MarchParams>("march", "hgv_march_smooth", THREADS);

pub(super) static TONE: Kernel = Kernel::new::<ToneParams>("march", "hgv_tone", THREADS);

/// The kernel for bricks of a type.
pub(super) fn kernel(dtype: DType, sampling: Sampling) -> &'static Kernel {
    if sampling == Sampling::Fast {
        return &SMOOTH;
    }
    match dtype {
        DType::Uint8 => &U8,
        DType::Int8 => &I8,
        DType::Uint16 => &U16,
        DType::Int16 => &I16,
        DType::Float32 => &F32,
    }
}

/// A block that is shown.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct MarchSlot {
    /// Their address, or a texture of them; 0: it is transparent.
    pub(super) values: u64,
    pub(super) first: [f64; 3],
    /// First word of its bits.
    pub(super) seen: u32,
    pub(super) lod: u32,
    pub(super) dims: [u32; 3],
    pub(super) cells: [u32; 3],
    pub(super) end: [f32; 3],
    pub(super) unused: u32,
}

impl MarchSlot {
    pub(super) fn transparent(lod: u32) -> Self {
        Self {
            values: 0,
            first: [0.0; 3],
            seen: 0,
            lod,
            dims: [0; 3],
            cells: [0; 3],
            end: [0.0; 3],
            unused: 0,
        }
    }
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct MarchView {
    eye: [f32; 3],
    /// Right, up, forward.
    axes: [[f32; 3]; 3],
    half: [f32; 2],
    pixels_per_half: f32,
    perspective: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct MarchLook {
    mode: u32,
    value: f32,
    first: f32,
    scale: f32,
    cutoff: f32,
    diffuse: f32,
    specular: f32,
    shininess: f32,
    surface: f32,
    /// Of the environment, what counts.
    ambient: [f32; 3],
    to_light: [f32; 3],
    light: [f32; 3],
}

/// Where the tables of a picture lie.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Tables {
    pub(super) nodes: Address,
    pub(super) slots: Address,
    pub(super) seen: Address,
    pub(super) transfer: Address,
    pub(super) planes: Address,
    pub(super) pixels: Address,
}

/// From light to bytes.
#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct ToneParams {
    pub(super) pixels: Address,
    pub(super) rgb: Address,
    pub(super) count: u32,
    pub(super) exposure: f32,
    /// 0 cut, 1 Reinhard, 2 filmic.
    pub(super) tone: u32,
    pub(super) unused: u32,
}

#[derive(Debug, Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct MarchParams {
    tables: Tables,
    step: f64,
    end: [f64; 3],
    clip: [[f64; 3]; 2],
    spacing: [f32; 3],
    size: [u32; 2],
    height: u32,
    unit_log2: u32,
    clips: u32,
    planes: u32,
    background: u32,
    behind: [f32; 3],
    below: [f32; 3],
    texels: [f32; 2],
    view: MarchView,
    look: MarchLook,
}

impl MarchParams {
    /// A picture of `size` pixels.
    pub(super) fn new(
        marcher: &Marcher<'_>,
        view: &View,
        scene: &Scene,
        size: [u32; 2],
        (tables, texels): (Tables, [f32; 2]),
    ) -> Self {
        let tree = &marcher.stage.tree;
        let (background, behind, below) = match scene.background {
            Background::Transparent => (0, [0.0; 3], [0.0; 3]),
            Background::Colour(colour) => (1, colour, [0.0; 3]),
            Background::Gradient(top, bottom) => (2, top, bottom),
        };
        let spacing = marcher.spacing;
        let voxels = |p: [f32; 3]| [0, 1, 2].map(|a| f64::from(p[a]) / f64::from(spacing[a]) - 0.5);
        Self {
            tables,
            step: marcher.step,
            end: tree.extent.map(|e| e as f64 - 0.5),
            clip: marcher.clip.within.map_or([[0.0; 3]; 2], |b| b.map(voxels)),
            spacing,
            size,
            height: tree.height(),
            unit_log2: tree.unit_log2,
            clips: marcher.clip.within.is_some().into(),
            planes: marcher.clip.planes.len() as u32,
            background,
            behind,
            below,
            texels,
            view: MarchView {
                eye: view.eye(),
                axes: view.axes(),
                half: view.half(),
                pixels_per_half: view.pixels_per_half(),
                perspective: view.is_perspective().into(),
            },
            look: look(marcher.look),
        }
    }
}

/// How values look in a scene of which the kernels [lack](super::lacks) nothing.
fn look(look: &Look) -> MarchLook {
    let (mode, value) = match look.mode {
        Mode::Medium => (0, 0.0),
        Mode::Maximum => (1, 0.0),
        Mode::Mean => (2, 0.0),
        Mode::Surface(value) => (3, value),
    };
    let sky = match look.environment {
        Environment::Constant { colour } => colour,
        Environment::Gradient { .. } => [0.0; 3],
    };
    let (to_light, light) = match look.lamps[..] {
        [Lamp::Far { to_light, colour }] => (to_light, colour),
        _ => ([0.0; 3], [0.0; 3]),
    };
    MarchLook {
        mode,
        value,
        first: look.table.first,
        scale: look.table.scale,
        cutoff: look.cutoff,
        diffuse: look.material.diffuse,
        specular: look.material.specular,
        shininess: look.material.shininess,
        surface: look.surface,
        ambient: sky.map(|c| look.material.ambient * c),
        to_light,
        light,
    }
}
