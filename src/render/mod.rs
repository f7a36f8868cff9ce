//! Pictures of volumes: ray marching over the bricks that are there, on the CPU or a CUDA device.
//!
//! [`render`] takes a snapshot of what is decoded ([`Bricks`](crate::stream::Bricks)) and a [`Scene`] and
//! gives an [`Image`]. Owns the tree of what is shown where, the bricks with aprons, the marcher, transfer
//! functions and shading. Must not know where bricks come from, files or sockets.
//!
//! What a picture shows at a place is the finest brick that is held there. A block whose brick is missing is
//! shown by its tier's coarser one, and a block that the index says is of one value, or of values that are
//! all transparent, needs none. Where nothing is known the background is seen. Values are trilinear between
//! voxels and continuous over the faces of blocks, also where the levels of detail differ.

mod atlas;
mod compare;
mod cuda;
mod dense;
mod frame;
mod framing;
mod image;
mod march;
mod scene;
mod transfer;
mod vector;

#[cfg(test)]
mod tests;

pub use atlas::BrickAtlas;
pub use compare::picture_ssim;
pub use dense::dense_bricks;
pub use frame::{RenderOptions, RenderStats, Renderer, Sampling, render};
pub use framing::Orbit;
pub use image::{Image, ToneMapping};
pub use scene::{Background, Clip, Light, Material, Mode, Scene};
pub use transfer::{ColourPoint, OpacityPoint, Preset, TransferFunction};
