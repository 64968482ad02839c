//! Lets the keeper of a core's index do what is due, until the driver stops.

use std::rc::Weak;
use std::time::Duration;

use super::Core;
use crate::io::{Clock, Disk};

/// Flushes tables and makes checkpoints.
pub(super) async fn run<D: Disk, C: Clock>(core: Weak<Core<D, C>>, clock: C) {
    let Some(period) = core.upgrade().map(|core| core.shared.sizes.index_period_ms) else { return };
    loop {
        clock.sleep(Duration::from_millis(period)).await;
        let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
        core.keeper.tick(&clock).await;
    }
}

/// Merges runs.
pub(super) async fn run_merges<D: Disk, C: Clock>(core: Weak<Core<D, C>>, clock: C) {
    let Some(period) = core.upgrade().map(|core| core.shared.sizes.index_period_ms) else { return };
    loop {
        clock.sleep(Duration::from_millis(2 * period)).await;
        loop {
            let Some(core) = core.upgrade().filter(|core| !core.stopping.get()) else { return };
            if !core.keeper.merge().await {
                break;
            }
        }
    }
}
