//! The one error type of the library.
//!
//! Every variant says what went wrong, where, and (in its message) what to do. The docs of a
//! variant name who is at fault: the file, the caller, the input volume or the system.

use std::path::PathBuf;

/// Result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// System: reading or writing failed. `context` names the path or the action.
    #[error("{context}: {source}")]
    Io {
        /// Path or action.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },

    /// File: it ends before the bytes that its own tables promise.
    #[error("truncated: {what} at byte {offset} needs {needed} bytes, {available} are there")]
    Truncated {
        /// The structure that was being read.
        what: &'static str,
        /// Absolute byte offset of the structure.
        offset: u64,
        /// Bytes that the structure needs.
        needed: u64,
        /// Bytes that exist from `offset` on.
        available: u64,
    },

    /// File: a rule of the format specification is broken.
    #[error("corrupt {what} at byte {offset}: {detail}")]
    Corrupt {
        /// The structure at fault.
        what: &'static str,
        /// Absolute byte offset of the structure (0 when it is not known).
        offset: u64,
        /// The rule that is broken, with both numbers.
        detail: String,
    },

    /// File: a CRC-32 differs; the bytes changed after they were written.
    #[error("checksum of {what} at byte {offset} is {computed:#010x}, {expected:#010x} was stored")]
    Checksum {
        /// The structure at fault.
        what: &'static str,
        /// Absolute byte offset of the checked bytes.
        offset: u64,
        /// The stored value.
        expected: u32,
        /// The value of the bytes that were read.
        computed: u32,
    },

    /// File: it is not an hgv file, or one that this version cannot read.
    #[error("{0}")]
    Unsupported(String),

    /// File or caller: more than a [`crate::Limits`] value allows.
    #[error("{what} is {requested}, over the limit of {limit}")]
    LimitExceeded {
        /// The quantity.
        what: &'static str,
        /// What was asked for.
        requested: u64,
        /// What is allowed.
        limit: u64,
    },

    /// File: the writer never finished it. `hgv recover` brings back what is whole.
    #[error("the file was never finished ({0}); `hgv recover` brings back every finished cluster")]
    Unfinished(String),

    /// File: this shard does not hold the block; merge it with its sisters first.
    #[error(
        "block {block:?} of tier {tier} is not in this file; merge it with the other shards, or read only a region that is there"
    )]
    NotWritten {
        /// Tier of the block (0 = full resolution).
        tier: u8,
        /// Block coordinate x, y, z.
        block: [u64; 3],
    },

    /// File: one of several is at fault; the rest says how.
    #[error("{name}: {source}")]
    InFile {
        /// The path or address of the file.
        name: String,
        /// What is wrong with it.
        source: Box<Error>,
    },

    /// Source: the bytes changed while they were being read.
    #[error("the source changed while it was being read: {0}")]
    SourceChanged(String),

    /// Network: the server could not be reached, broke off or was too slow, again and again.
    #[error(
        "{url}: {detail} ({attempts} attempts); check the address and the network, then try again"
    )]
    Unreachable {
        /// Address, without its query.
        url: String,
        /// Requests that were sent, or tried to.
        attempts: u32,
        /// What happened to the last one.
        detail: String,
    },

    /// Server: it refuses, with a status that another attempt would not change.
    #[error("{url}: the server answers {status}{hint}", hint = status_hint(*.status, .detail))]
    HttpStatus {
        /// Address, without its query.
        url: String,
        /// HTTP status code.
        status: u16,
        /// What else it says, and what to do; empty if that is not known.
        detail: String,
    },

    /// Server: it sends whole files only.
    #[error(
        "{url}: the server does not answer range requests, which reading in place needs; use another server (nginx, Apache, an object store, `hgv serve`) or download the file"
    )]
    NoRanges {
        /// Address, without its query.
        url: String,
    },

    /// Server or proxy: bytes on the way are not those of the file.
    #[error(
        "{url}: the server or a proxy applies content encoding {encoding}, which makes ranges meaningless; switch it off for .hgv files"
    )]
    Encoded {
        /// Address, without its query.
        url: String,
        /// Value of `Content-Encoding`.
        encoding: String,
    },

    /// Server: it sends the client in a circle, or too far.
    #[error("{url}: more than {limit} redirects")]
    TooManyRedirects {
        /// Address that was asked for, without its query.
        url: String,
        /// Redirects that are followed.
        limit: u32,
    },

    /// Server: its answer breaks the rules of HTTP or is not what was asked for.
    #[error("{url}: {detail}")]
    BadAnswer {
        /// Address, without its query.
        url: String,
        /// What is wrong with it.
        detail: String,
    },

    /// Caller: an argument makes no sense.
    #[error("{0}")]
    InvalidArgument(String),

    /// Input volume: it cannot be encoded as asked (NaN, wrong size, unknown type).
    #[error("{0}")]
    Input(String),

    /// Caller: the output exists and replacing it was not asked for.
    #[error("{path} exists; {hint}", path = .path.display())]
    Exists {
        /// The path in the way.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },

    /// Encoder: no parameters meet the target that was asked for.
    #[error("target not reached: {0}")]
    Target(String),

    /// System: a CUDA device is missing or failed.
    #[error("CUDA: {0}")]
    Device(String),

    /// System: the memory of a device does not suffice, even for the smallest batch.
    #[error(
        "the memory of the CUDA device does not suffice: {0}; give it more with --gpu-memory, or use --backend cpu"
    )]
    DeviceMemory(String),

    /// Caller: the progress callback asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Wraps a system error with the path or action it belongs to.
    pub fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            context: context.into(),
            source,
        }
    }

    /// Names the file that is at fault, if the fault is that of a file and it has no name yet.
    #[must_use]
    pub fn in_file(self, name: impl std::fmt::Display) -> Self {
        match self {
            Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Checksum { .. }
            | Self::Unsupported(_)
            | Self::LimitExceeded { .. }
            | Self::Unfinished(_)
            | Self::NotWritten { .. } => Self::InFile {
                name: name.to_string(),
                source: Box::new(self),
            },
            other => other,
        }
    }

    /// The error itself, without the name of a file around it.
    #[must_use]
    pub fn root(&self) -> &Self {
        match self {
            Self::InFile { source, .. } => source.root(),
            other => other,
        }
    }

    /// Whether a file that was replaced while it was read may look like this: it changed, or parts
    /// of two versions do not fit together.
    #[must_use]
    pub fn may_be_change(&self) -> bool {
        matches!(
            self.root(),
            Self::SourceChanged(_)
                | Self::Truncated { .. }
                | Self::Corrupt { .. }
                | Self::Checksum { .. }
        )
    }

    /// A broken rule of the specification in `what` at byte `offset`.
    pub fn corrupt(what: &'static str, offset: u64, detail: impl Into<String>) -> Self {
        Self::Corrupt {
            what,
            offset,
            detail: detail.into(),
        }
    }

    /// A caller's argument that makes no sense.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::InvalidArgument(message.into())
    }
}

/// What people usually need to do about a status.
fn status_hint(status: u16, detail: &str) -> String {
    if !detail.is_empty() {
        return format!(" ({detail})");
    }
    let hint = match status {
        401 | 403 => " (access denied; the address may need a signature or may have expired)",
        404 | 410 => " (not found; check the address)",
        407 => {
            " (the proxy wants a name and a password: put them into its address, http://NAME:PASSWORD@HOST:PORT)"
        }
        _ => "",
    };
    hint.into()
}
