//! Compiled kernels. Written by `cuda/build.py --refresh`.

use super::module::Ptx;

/// Every module for every architecture whose text differs from that of the one below.
#[rustfmt::skip]
pub(super) const PTX: &[Ptx] = &[
    Ptx {
        module: "selftest",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/selftest.sm_75.ptx"),
    },
];
