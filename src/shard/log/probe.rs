//! How appends become durable, and the short measurement that chooses it.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::format::BLOCK;
use crate::io::buffer::AlignedBuffer;
use crate::io::{Clock, Disk, DiskFile, OpenOptions};

/// How a finished write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMethod {
    /// Every write carries its own flush (O_DSYNC).
    DurableWrites,
    /// A write, then fdatasync.
    WriteThenSync,
}

/// Longest measurement.
const TIME_MAX: Duration = Duration::from_millis(200);
/// Most writes per method.
const ROUNDS_MAX: usize = 48;
const SCRATCH_BLOCKS: usize = 64;

/// Times both methods in turn on a scratch file in `folder`, for at most 200 ms, and names the one with the lower median.
///
/// # Errors
/// As the disk says.
pub(super) async fn choose<D: Disk>(
    disk: &D,
    clock: &impl Clock,
    folder: &Path,
    core: u16,
) -> io::Result<SyncMethod> {
    let path = folder.join(format!("probe-{core}.tmp"));
    let result = measure(disk, clock, &path).await;
    disk.remove_if_there(&path).await?;
    result
}

async fn measure<D: Disk>(disk: &D, clock: &impl Clock, path: &Path) -> io::Result<SyncMethod> {
    let options =
        OpenOptions { write: true, create_new: true, direct: true, durable_writes: false };
    let plain = disk.open(path, options).await?;
    let mut buffer = AlignedBuffer::with_capacity(SCRATCH_BLOCKS * BLOCK);
    buffer.set_length(SCRATCH_BLOCKS * BLOCK);
    let (result, mut buffer) = plain.write_at(buffer, 0).await;
    result?;
    plain.sync().await?;
    let durable =
        disk.open(path, OpenOptions { create_new: false, durable_writes: true, ..options }).await?;

    buffer.set_length(BLOCK);
    let begin = clock.now();
    let mut durable_ns = Vec::with_capacity(ROUNDS_MAX);
    let mut plain_ns = Vec::with_capacity(ROUNDS_MAX);
    for round in 0..ROUNDS_MAX {
        let offset = (round % SCRATCH_BLOCKS * BLOCK) as u64;
        let start = clock.now();
        let (result, back) = durable.write_at(buffer, offset).await;
        result?;
        let middle = clock.now();
        let (result, back) = plain.write_at(back, offset).await;
        result?;
        plain.sync().await?;
        buffer = back;
        let end = clock.now();
        durable_ns.push(middle.since(start));
        plain_ns.push(end.since(middle));
        if u128::from(end.since(begin)) >= TIME_MAX.as_nanos() {
            break;
        }
    }
    // One operation instead of two breaks a tie.
    let durable_is_better = median(durable_ns) <= median(plain_ns);
    Ok(if durable_is_better { SyncMethod::DurableWrites } else { SyncMethod::WriteThenSync })
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(u64::MAX)
}
