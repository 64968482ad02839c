//! Where there are no vector instructions that help.

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// Most lanes of any kernel.
pub(super) const LANES_MAX: usize = 1;

/// The state of one MD5 between two blocks.
pub(super) type State = [u32; 4];

/// No set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {}

impl Kernel {
    /// None.
    pub(super) const ALL: [Self; 0] = [];

    /// There is none to ask.
    pub(super) fn is_supported(self) -> bool {
        match self {}
    }

    /// There is none to ask.
    pub(super) fn register(self) -> usize {
        match self {}
    }

    /// There is none to ask.
    pub(super) fn lanes(self) -> usize {
        match self {}
    }

    /// There is none to run.
    pub(super) fn run(self, _states: &mut [State], _inputs: &[&[u8]]) {
        match self {}
    }
}
