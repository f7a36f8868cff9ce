//! Which machine works: the one that was asked for, or the best there is.

use std::sync::Arc;

use super::cuda::{self, Device};
use crate::{Error, Result};

/// Where encodes and decodes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendChoice {
    /// On CUDA devices if there are any, else on the CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On CUDA devices.
    Cuda,
}

/// What a choice comes to on this machine.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    /// Devices to share the work between; none = the CPU alone.
    pub devices: Vec<Arc<dyn Device>>,
    /// Why the CPU works although a device would have been taken, for people.
    pub notice: Option<String>,
}

impl BackendChoice {
    /// Looks for what was chosen. Each device may use `gpu_memory` bytes, or all that is free.
    ///
    /// # Errors
    /// [`Error::Device`] with the reason if [`Self::Cuda`] was asked for and there is no device.
    pub fn find(self, gpu_memory: Option<u64>) -> Result<Chosen> {
        match self {
            Self::Cpu => Ok(Chosen::default()),
            Self::Cuda => Ok(Chosen {
                devices: cuda::devices(gpu_memory)?,
                notice: None,
            }),
            Self::Auto => Ok(fall_back(cuda::devices(gpu_memory))),
        }
    }
}

fn fall_back(found: Result<Vec<Arc<dyn Device>>, Error>) -> Chosen {
    match found {
        Ok(devices) => Chosen {
            devices,
            notice: None,
        },
        Err(reason) => Chosen {
            devices: Vec::new(),
            notice: Some(format!("{reason}; the CPU works")),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_cpu_steps_in_with_a_reason() {
        assert!(BackendChoice::Cpu.find(None).unwrap().notice.is_none());
        let chosen = fall_back(Err(Error::Device("no driver".into())));
        assert!(chosen.devices.is_empty());
        assert_eq!(chosen.notice.unwrap(), "CUDA: no driver; the CPU works");
        let auto = BackendChoice::Auto.find(None).unwrap();
        assert_eq!(auto.devices.is_empty(), auto.notice.is_some());
        assert_eq!(
            BackendChoice::Cuda.find(None).is_err(),
            auto.devices.is_empty()
        );
    }
}
