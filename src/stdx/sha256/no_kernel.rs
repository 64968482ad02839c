//! Where there are no instructions for several at once.

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The state of one SHA-256 between two blocks.
pub(super) type State = [u32; 8];

/// No set of instructions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kernel {}

impl Kernel {
    /// There is none.
    pub(super) fn new() -> Option<Self> {
        None
    }

    /// There is none to run.
    pub(super) fn run(self, _states: &mut [State; 2], _inputs: [&[u8]; 2]) {
        match self {}
    }
}

/// Most streams at once.
pub(super) const LANES: usize = 16;

/// No set of instructions.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wide {}

impl Wide {
    /// There is none.
    pub(super) fn new() -> Option<Self> {
        None
    }

    /// There is none to run.
    pub(super) fn run(self, _states: &mut [State], _inputs: &[&[u8]]) {
        match self {}
    }
}
