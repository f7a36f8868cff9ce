//! Pictures of volumes: ray marching and path tracing over the bricks that are there, on the CPU, and ray
//! marching on a CUDA device.
//!
//! [`render`] takes a snapshot of what is decoded ([`Bricks`](crate::stream::Bricks)) and a [`Scene`] and
//! gives an [`Image`]. Owns the tree of what is shown where, the bricks with aprons, the marcher, paths of
//! light, transfer functions and shading. Must not know where bricks come from, files or sockets.
//!
//! What a picture shows at a place is the finest brick that is held there. A block whose brick is missing is
//! shown by its tier's coarser one, and a block that the index says is of one value, or of values that are
//! all transparent, needs none. Where nothing is known the background is seen. Values are trilinear between
//! voxels and continuous over the faces of blocks, also where the levels of detail differ.

mod atlas;
mod compare;
mod cuda;
mod dense;
mod description;
mod frame;
mod framing;
mod image;
mod keyframes;
mod light;
mod march;
mod path;
mod scatter;
mod scene;
mod tiles;
mod transfer;
mod vector;

#[cfg(test)]
mod tests;

pub use atlas::BrickAtlas;
pub use compare::picture_ssim;
pub use dense::dense_bricks;
pub use description::SceneDescription;
pub use frame::{RenderOptions, RenderStats, Renderer, Sampling, render};
pub use framing::Orbit;
pub use image::{Image, ToneMapping};
pub use keyframes::{Frame, KeyFrame, KeyFrames};
pub use light::{Environment, Light, MAX_LIGHTS};
pub use path::{PathOptions, PathProgress};
pub use scene::{AmbientOcclusion, Background, Clip, Material, Mode, Scene};
pub use transfer::{ColourPoint, GradientPoint, OpacityPoint, Preset, TransferFunction};
