//! Compiled kernels. Written by `cuda/build.py --refresh`.

use super::module::Ptx;

/// Every module for every architecture whose text differs from that of the one below.
#[rustfmt::skip]
pub(super) const PTX: &[Ptx] = &[
    Ptx {
        module: "forward",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/forward.sm_75.ptx"),
    },
    Ptx {
        module: "grid_evaluate",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/grid_evaluate.sm_75.ptx"),
    },
    Ptx {
        module: "grid_evaluate",
        architecture: 80,
        text: include_str!("../../../cuda/ptx/grid_evaluate.sm_80.ptx"),
    },
    Ptx {
        module: "grid_weights",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/grid_weights.sm_75.ptx"),
    },
    Ptx {
        module: "march",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/march.sm_75.ptx"),
    },
    Ptx {
        module: "mask",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/mask.sm_75.ptx"),
    },
    Ptx {
        module: "mask_encode",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/mask_encode.sm_75.ptx"),
    },
    Ptx {
        module: "mixing",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/mixing.sm_75.ptx"),
    },
    Ptx {
        module: "mixing_encode",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/mixing_encode.sm_75.ptx"),
    },
    Ptx {
        module: "rans_encode",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/rans_encode.sm_75.ptx"),
    },
    Ptx {
        module: "rans_layer",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/rans_layer.sm_75.ptx"),
    },
    Ptx {
        module: "rans_residual",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/rans_residual.sm_75.ptx"),
    },
    Ptx {
        module: "rans_residual_encode",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/rans_residual_encode.sm_75.ptx"),
    },
    Ptx {
        module: "reconstruct",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/reconstruct.sm_75.ptx"),
    },
    Ptx {
        module: "reversible",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/reversible.sm_75.ptx"),
    },
    Ptx {
        module: "search",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/search.sm_75.ptx"),
    },
    Ptx {
        module: "selftest",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/selftest.sm_75.ptx"),
    },
    Ptx {
        module: "statistics",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/statistics.sm_75.ptx"),
    },
    Ptx {
        module: "train_fit",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/train_fit.sm_75.ptx"),
    },
    Ptx {
        module: "train_joint",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/train_joint.sm_75.ptx"),
    },
    Ptx {
        module: "train_network",
        architecture: 75,
        text: include_str!("../../../cuda/ptx/train_network.sm_75.ptx"),
    },
];
