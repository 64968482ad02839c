//! `vaultaire check`: looks at a data folder at rest and prints what it finds.

use std::io::Write;

use crate::config::cli::FolderCheck;
use crate::io::clock::SystemClock;
use crate::io::uring::UringDisk;
use crate::runtime::core::{Backend, BlockingPool, block_on, probe};
use crate::shard::check::{self, Changes, Finding};

use super::ServerError;

/// Checks a data folder, prints each finding and a last line that sums them up, and returns how much is damaged.
///
/// # Errors
/// [`ServerError`] if it could not be checked as a whole: it is in use, or cannot be read.
pub fn check_folder(asked: &FolderCheck) -> Result<u64, ServerError> {
    let folder = check::open(&asked.folder)?;
    // No hurry: epoll will do where io_uring is missing.
    let backend = if probe(Backend::Uring).is_ok() { Backend::Uring } else { Backend::Legacy };
    let mut say = |finding: Finding| print(&finding.to_string());
    let changes = Changes { note: asked.repair, accept_loss: asked.accept_loss };
    let pool = BlockingPool::new(1);
    let summary = block_on(backend, &pool, async {
        check::check(&UringDisk, &SystemClock, &folder, changes, &mut say).await
    })??;
    print(&format!("checked {}: {summary}", asked.folder.display()));
    if changes.accept_loss {
        print("the next start takes what the log has lost for lost");
    }
    Ok(summary.damaged)
}

/// Prints a line, to a reader that may have gone away; the result is in the exit status too.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
