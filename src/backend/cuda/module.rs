//! Compiled kernels: which text a device takes, and what it says of its entries.

use super::ptx::PTX;

/// One module, compiled for devices of one architecture and newer ones.
#[derive(Debug)]
pub(super) struct Ptx {
    /// File under `cuda/`, without `.cu`.
    pub(super) module: &'static str,
    /// Compute capability, such as 80 for 8.0.
    pub(super) architecture: u32,
    /// What the driver compiles for its device.
    pub(super) text: &'static str,
}

/// What the text says of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of the parameter struct.
    pub(super) params: usize,
}

/// Oldest devices that there is a text for.
pub(super) const OLDEST: u32 = 75;

/// The newest text of a module that a device of this compute capability takes.
pub(super) fn newest(module: &str, compute: u32) -> Option<&'static Ptx> {
    PTX.iter()
        .filter(|p| p.module == module && p.architecture <= compute)
        .max_by_key(|p| p.architecture)
}

/// What a text says of the kernel `name`.
pub(super) fn entry(text: &str, name: &str) -> Option<Entry> {
    let start = text.find(&format!(".entry {name}("))?;
    let head = text[start..].split_once("\n{")?.0;
    let number = |text: &str| {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        text[..digits].parse::<usize>().ok()
    };
    let params = match head.split_once(&format!("{name}_param_0[")) {
        Some((_, size)) => number(size)?,
        None => 0,
    };
    let threads = number(head.split_once(".maxntid ")?.1)?;
    Some(Entry {
        threads: u32::try_from(threads).ok()?,
        params,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
.visible .entry hgv_small(\n\t.param .align 8 .b8 hgv_small_param_0[24]\n)\n.maxntid 128, 1, 1\n.minnctapersm 1\n{\n\tret;\n}
.visible .entry hgv_other(\n\t.param .align 4 .b8 hgv_other_param_0[8]\n)\n.maxntid 32, 1, 1\n{\n\tret;\n}\n";

    #[test]
    fn entries_say_their_threads_and_parameters() {
        let small = Entry {
            threads: 128,
            params: 24,
        };
        assert_eq!(entry(TEXT, "hgv_small"), Some(small));
        let other = Entry {
            threads: 32,
            params: 8,
        };
        assert_eq!(entry(TEXT, "hgv_other"), Some(other));
        assert_eq!(entry(TEXT, "hgv_smal"), None);
        assert_eq!(entry(".entry hgv_cut(", "hgv_cut"), None);
    }

    #[test]
    fn every_module_has_a_text_for_the_oldest_devices() {
        for ptx in PTX {
            assert!(newest(ptx.module, OLDEST).is_some(), "{}", ptx.module);
            assert!(ptx.text.starts_with(".version 8.0\n"), "{}", ptx.module);
            let newer = newest(ptx.module, 120).map_or(0, |p| p.architecture);
            assert!(newer >= ptx.architecture, "{}", ptx.module);
        }
        assert!(newest("no such module", 90).is_none());
    }
}
