//! What a world's disks do besides losing their power, and what must hold all the same.
//!
//! Acknowledged is durable in every world. Where a disk reports an error, nothing more is acknowledged by the writer
//! that met it, a start may be refused, and the next start on a sound disk finds everything. Where it is full, writes
//! are refused and nothing else, and what is deleted makes room again. Where bytes on the medium are not those that
//! were written ([`Trust`]), no wrong byte is ever shown and nothing goes silently.

use vaultaire::io::sim::Faults;
use vaultaire::runtime::simulated::Random;

/// What may happen in a world.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Perils {
    pub(crate) faults: Faults,
    /// Bytes of the disk.
    pub(crate) capacity: Option<u64>,
    /// Bytes rot while the power is off.
    pub(crate) rot: bool,
}

/// Whether a disk holds what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// But for what the power cut took.
    Whole,
    /// Some bytes are others. A start may refuse; or say that there is damage, and then a name may hold something that
    /// it held before, or nothing; else every name holds what it must. What is read is right or an error.
    Flawed,
    /// As after a start that said so: of the very last frame of a log, damage looks like a torn write.
    EndLost,
}

impl Perils {
    /// Half of all worlds have nothing but power cuts.
    pub(crate) fn choose(random: &mut Random) -> Self {
        let mut perils = Self::default();
        let rare = |random: &mut Random, times: u64| times + random.number() % (4 * times);
        if random.one_in(2) {
            return perils;
        }
        if random.one_in(3) {
            perils.faults.short = 4 + random.number() % 30;
        }
        if random.one_in(3) {
            let sync_only = random.one_in(3);
            perils.faults.write_error = if sync_only { 0 } else { rare(random, 30) };
            perils.faults.sync_error = rare(random, 20);
        }
        if random.one_in(6) {
            perils.faults.read_error = rare(random, 100);
        }
        match random.below(6) {
            // Logs of three cores fit, with three segments each, and what must stay free besides.
            0 => perils.capacity = Some((600 << 10) + random.number() % (480 << 10)),
            1 | 2 => perils.rot = true,
            3 => perils.faults.lost = rare(random, 50),
            4 => perils.faults.misdirected = rare(random, 50),
            _ => {}
        }
        perils
    }

    /// The faults of a disk. Of what spoils bytes one is enough: of two, the second may hide the first.
    pub(crate) fn faults(&self, trust: Trust) -> Faults {
        match trust {
            Trust::Whole => self.faults,
            Trust::Flawed | Trust::EndLost => Faults { lost: 0, misdirected: 0, ..self.faults },
        }
    }

    /// Whether the disk may report an error.
    pub(crate) fn fails(&self) -> bool {
        let Faults { write_error, sync_error, read_error, .. } = self.faults;
        write_error > 0 || sync_error > 0 || read_error > 0
    }

    /// Whether a start may be refused though nothing is amiss on the medium.
    pub(crate) fn refuses(&self) -> bool {
        self.fails() || self.capacity.is_some()
    }

    /// Whether bytes may be others than were written.
    pub(crate) fn flaws(&self) -> bool {
        self.rot || self.faults.lost > 0 || self.faults.misdirected > 0
    }
}
