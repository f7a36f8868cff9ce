//! The machine that was asked for.

use std::sync::Arc;

use hgv::backend::BackendChoice;
use hgv::backend::cuda::Device;
use hgv::{Error, Result};

use crate::args::MachineArgs;
use crate::output::Output;

/// GPUs to work on, or none for the CPU, which is remarked on if nobody asked for it.
///
/// # Errors
/// [`Error::Device`] if GPUs were asked for and there is none.
pub(crate) fn find(args: &MachineArgs, output: &Output) -> Result<Vec<Arc<dyn Device>>> {
    let choice = BackendChoice::from(args.backend);
    let chosen = choice.find(args.gpu_memory).map_err(|e| match e {
        Error::Device(reason) => {
            Error::Device(format!("{reason}; use --backend auto or --backend cpu"))
        }
        other => other,
    })?;
    if let Some(notice) = chosen.notice {
        output.remark(&notice);
    }
    Ok(chosen.devices)
}
