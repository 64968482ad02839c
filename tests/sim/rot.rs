//! Bytes that are others when the power comes back.

use std::path::Path;

use vaultaire::io::sim::{Misdeed, SimDisk};
use vaultaire::runtime::simulated::Random;
use vaultaire::shard::log::format::BLOCK;

use super::logs::Logs;
use super::perils::Trust;

/// Spoils bytes of one block of a file, or of a segment's last frame and of its keys. Says what is still to be trusted.
pub(crate) fn rot(disk: &SimDisk, random: &mut Random) -> Trust {
    let logs = Logs::of(disk);
    let mut places = Vec::new();
    if random.one_in(3) {
        // Who has read a segment once must not need its keys to know where it ended.
        let unsealed: Vec<_> = logs.segments.iter().filter(|one| one.has_keys).collect();
        if !unsealed.is_empty() {
            let segment = unsealed[random.below(unsealed.len())];
            let keys = segment.path.replace(".log", ".keys");
            places.push((keys, 0));
            places.extend(segment.frames.last().map(|(start, _)| (segment.path.clone(), *start)));
        }
    }
    if places.is_empty() {
        places.extend(place(disk, &logs, random));
    }
    let keys_are_whole = !places.iter().any(|(path, _)| path.ends_with(".keys"));
    let mut trust = Trust::Whole;
    for (path, offset) in &places {
        if path.ends_with(".log") && logs.is_last(path, *offset, keys_are_whole) {
            trust = Trust::EndLost;
        } else if trust == Trust::Whole {
            trust = Trust::Flawed;
        }
        spoil(disk, path, *offset, random);
    }
    trust
}

/// Whether what a disk did wrong without saying so can be told from a torn write.
pub(crate) fn trust_after(disk: &SimDisk, misdeeds: &[Misdeed]) -> Trust {
    if misdeeds.is_empty() { Trust::Whole } else { trust_among(&Logs::of(disk), misdeeds) }
}

/// The same, where these were the logs before it.
pub(crate) fn trust_among(logs: &Logs, misdeeds: &[Misdeed]) -> Trust {
    if misdeeds.is_empty() {
        return Trust::Whole;
    }
    let is_last = |misdeed: &Misdeed| {
        let blocks = (misdeed.length / BLOCK as u64).max(1);
        misdeed.path.ends_with(".log")
            && (0..blocks).any(|block| {
                logs.is_last(&misdeed.path, misdeed.offset + block * BLOCK as u64, true)
            })
    };
    if misdeeds.iter().any(is_last) { Trust::EndLost } else { Trust::Flawed }
}

/// A block of a file, rather of one that matters.
fn place(disk: &SimDisk, logs: &Logs, random: &mut Random) -> Option<(String, u64)> {
    if random.one_in(2) && !logs.segments.is_empty() {
        let segment = &logs.segments[random.below(logs.segments.len())];
        let end = segment.frames.last().map_or(BLOCK as u64, |(_, end)| *end);
        return Some((segment.path.clone(), block_below(end, random)));
    }
    let files = disk.files();
    let in_data = random.one_in(2);
    let wanted = |path: &str| !in_data || path.starts_with("/data/data/");
    let files: Vec<_> =
        files.into_iter().filter(|(path, length)| *length > 0 && wanted(path)).collect();
    if files.is_empty() {
        return None;
    }
    let (path, length) = &files[random.below(files.len())];
    Some((path.clone(), block_below(*length, random)))
}

fn block_below(end: u64, random: &mut Random) -> u64 {
    random.number() % end.div_ceil(BLOCK as u64).max(1) * BLOCK as u64
}

fn spoil(disk: &SimDisk, path: &str, offset: u64, random: &mut Random) {
    let path = Path::new(path);
    let Ok(content) = disk.content(path) else { return };
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
    let mut block = content[start..content.len().min(start + BLOCK)].to_vec();
    if block.is_empty() {
        return;
    }
    // The front of a block is where headers and most bytes are.
    let front = if random.one_in(2) { block.len().min(512) } else { block.len() };
    let at = random.below(front);
    match random.below(4) {
        0 => block[at] ^= 1 << random.below(8),
        1 => block[at / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0),
        2 => block[at..].iter_mut().take(512).for_each(|byte| *byte ^= 0x5a),
        _ => block.fill(0),
    }
    // There is such a file.
    let _ = disk.spoil(path, offset, &block);
}
