//! A file of the disk: operations in attempts of which each may stop short, as the kernel's do.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::{SimDisk, SimEvent, faults, pause};
use crate::io::buffer::AlignedBuffer;
use crate::io::{DiskFile, whole};

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) index: usize,
    pub(super) path: Rc<Path>,
    pub(super) durable: bool,
    pub(super) direct: bool,
}

impl SimFile {
    async fn attempt_read(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.pause().await;
        self.disk.0.borrow_mut().read(self.index, bytes, offset, self.direct)
    }

    async fn attempt_write(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        pause().await;
        let count = self.disk.0.borrow_mut().attempt(bytes.len(), self.direct)?;
        let number = self.disk.0.borrow_mut().write(self, &bytes[..count], offset)?;
        let mut flight = faults::Flight { file: self, number, ended: false };
        if self.disk.0.borrow().chance.is_some() {
            self.disk.pause().await;
        }
        flight.ended = true;
        self.disk.0.borrow_mut().finish(self, number)?;
        Ok(count)
    }
}

impl DiskFile for SimFile {
    async fn read_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        self.disk.0.borrow_mut().reads += 1;
        let read = whole::read(buffer, self.direct, async |mut buffer, filled| {
            let result = self.attempt_read(&mut buffer[filled..], offset + filled as u64).await;
            (result, buffer)
        });
        read.await
    }

    async fn write_at(
        &self,
        buffer: AlignedBuffer,
        offset: u64,
    ) -> (io::Result<()>, AlignedBuffer) {
        let write = whole::write(buffer, async |buffer, written| {
            let result = self.attempt_write(&buffer[written..], offset + written as u64).await;
            (result, buffer)
        });
        write.await
    }

    async fn sync(&self) -> io::Result<()> {
        pause().await;
        let changes = self.disk.0.borrow_mut().begin_sync(self.index);
        if self.disk.0.borrow().chance.is_some() {
            self.disk.pause().await;
        }
        let mut world = self.disk.0.borrow_mut();
        world.end_sync(self.index, &changes)?;
        if world.chance.is_none() {
            world.events.push(SimEvent::Sync { path: self.path.to_path_buf() });
        }
        Ok(())
    }

    async fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.step();
        world.grow(self.index, length)?;
        if world.state.file(self.index).now.length < length {
            world.change_length(self.index, length);
        }
        Ok(())
    }

    async fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.pause().await;
        let mut world = self.disk.0.borrow_mut();
        world.step();
        world.grow(self.index, length)?;
        let before = world.state.file(self.index).now.length;
        world.change_length(self.index, length);
        world.shrink(before.saturating_sub(length));
        Ok(())
    }

    async fn length(&self) -> io::Result<u64> {
        pause().await;
        Ok(self.disk.0.borrow().state.file(self.index).now.length)
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        None
    }
}
