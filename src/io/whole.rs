//! Reads and writes that go on where the kernel stopped short of what it was asked for.

use std::io;

use super::buffer::{ALIGNMENT, AlignedBuffer};

/// The bytes that one attempt transferred, and the buffer.
pub(super) type Attempt = (io::Result<usize>, AlignedBuffer);

/// Reads until the buffer is full or the file ends; returns the number of bytes. `attempt` is given the buffer and
/// how much of it is filled.
pub(super) async fn read(
    mut buffer: AlignedBuffer,
    direct: bool,
    mut attempt: impl AsyncFnMut(AlignedBuffer, usize) -> Attempt,
) -> Attempt {
    let wanted = buffer.len();
    let mut filled = 0;
    while filled < wanted {
        let (result, back) = attempt(buffer, filled).await;
        buffer = back;
        match result {
            Ok(0) => break,
            Ok(count) => {
                filled += count;
                // A direct read stops off the grid only at the end of the file.
                if direct && !filled.is_multiple_of(ALIGNMENT) {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(filled), buffer)
}

/// Writes the whole buffer. `attempt` is given it and how much of it is written.
pub(super) async fn write(
    mut buffer: AlignedBuffer,
    mut attempt: impl AsyncFnMut(AlignedBuffer, usize) -> Attempt,
) -> (io::Result<()>, AlignedBuffer) {
    let wanted = buffer.len();
    let mut written = 0;
    while written < wanted {
        let (result, back) = attempt(buffer, written).await;
        buffer = back;
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}
