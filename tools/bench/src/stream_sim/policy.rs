//! What decides the order of fetches: the scheduler, in full or with parts of it off, or a simple order.

use hgv::stream::schedule::{
    BlockId, Budgets, Catalogue, Decode, Fetch, FetchId, OpacityBound, Scheduler, Status, View,
};
use hgv::{Error, Result};

use super::simple::{Order, SimpleOrder};

/// What a run needs of whoever decides; see [`Scheduler`].
pub trait Streams {
    /// Wants what a view shows.
    fn set_view(
        &mut self,
        catalogue: &dyn Catalogue,
        opacity: &dyn OpacityBound,
        view: View,
        velocity: [f32; 3],
    );
    /// The next range to ask for.
    fn next_fetch(&mut self) -> Option<Fetch>;
    /// A fetch is here.
    fn arrived(&mut self, id: FetchId);
    /// A fetch was ended.
    fn ended(&mut self, id: FetchId);
    /// Fetches to end.
    fn cancelled(&self) -> Vec<FetchId>;
    /// The next block to decode.
    fn next_decode(&mut self) -> Option<Decode>;
    /// A block was decoded to so many bytes.
    fn decoded(&mut self, decode: Decode, bytes: u64);
    /// Blocks whose voxels to forget.
    fn evictions(&mut self) -> Vec<BlockId>;
    /// Layers of a block that are decoded.
    fn shown(&self, id: BlockId) -> u8;
    /// Where things stand.
    fn status(&self) -> Status;
}

impl Streams for Scheduler {
    fn set_view(
        &mut self,
        catalogue: &dyn Catalogue,
        opacity: &dyn OpacityBound,
        view: View,
        velocity: [f32; 3],
    ) {
        self.set_view(catalogue, opacity, view, velocity);
    }
    fn next_fetch(&mut self) -> Option<Fetch> {
        self.next_fetch()
    }
    fn arrived(&mut self, id: FetchId) {
        self.arrived(id);
    }
    fn ended(&mut self, id: FetchId) {
        self.failed(id, true);
    }
    fn cancelled(&self) -> Vec<FetchId> {
        self.cancelled()
    }
    fn next_decode(&mut self) -> Option<Decode> {
        self.next_decode()
    }
    fn decoded(&mut self, decode: Decode, bytes: u64) {
        self.decoded(decode, Some(bytes));
    }
    fn evictions(&mut self) -> Vec<BlockId> {
        self.evictions()
    }
    fn shown(&self, id: BlockId) -> u8 {
        self.shown(id)
    }
    fn status(&self) -> Status {
        self.status()
    }
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The scheduler as it is.
    Scheduler,
    /// The scheduler, one item a fetch.
    NoCoalescing,
    /// The scheduler without a view ahead of the camera.
    NoPrediction,
    /// The scheduler, all fetches run to their end.
    NoCancelling,
    /// Coarse before fine, layer by layer, in the order of the file.
    Fifo,
    /// Nearest block first, all its layers at once.
    Nearest,
}

impl Policy {
    /// All of them.
    pub const ALL: [(&'static str, Self); 6] = [
        ("scheduler", Self::Scheduler),
        ("no-coalescing", Self::NoCoalescing),
        ("no-prediction", Self::NoPrediction),
        ("no-cancelling", Self::NoCancelling),
        ("fifo", Self::Fifo),
        ("nearest", Self::Nearest),
    ];

    /// The one of a name.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that lists the names.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|p| p.0 == name);
        found.map(|p| p.1).ok_or_else(|| {
            let names = Self::ALL.map(|p| p.0).join(", ");
            Error::argument(format!("policy {name} is none of {names}"))
        })
    }

    /// Ready for a file of which nothing is here. `horizon` is how many seconds ahead the scheduler looks;
    /// `None` leaves it as it is.
    pub fn start(self, budgets: Budgets, tolerance: f32, horizon: Option<f32>) -> Box<dyn Streams> {
        let single = Budgets {
            fetch: 1,
            ..budgets
        };
        let scheduler = |budgets| {
            let made = Scheduler::new(budgets, tolerance);
            match horizon {
                Some(seconds) => made.with_horizon(seconds),
                None => made,
            }
        };
        match self {
            Self::Scheduler | Self::NoCancelling => Box::new(scheduler(budgets)),
            Self::NoCoalescing => Box::new(scheduler(single)),
            Self::NoPrediction => Box::new(scheduler(budgets).with_horizon(0.0)),
            Self::Fifo => Box::new(SimpleOrder::new(Order::Fifo, budgets, tolerance)),
            Self::Nearest => Box::new(SimpleOrder::new(Order::Nearest, budgets, tolerance)),
        }
    }

    /// Whether fetches that bring nothing wanted are ended.
    pub fn cancels(self) -> bool {
        !matches!(self, Self::NoCancelling | Self::Fifo | Self::Nearest)
    }
}
