//! The disk as the start sees it, before any executor runs.

use std::io;
use std::path::Path;

use super::SimDisk;
use super::state::{Change, Name, NameChange, parent, text};
use crate::io::folder::{Folder, FolderLock};

impl Folder for SimDisk {
    fn create(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.chance.is_none() {
            return Ok(());
        }
        let path = text(path);
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            if !world.state.names.contains_key(&path[..end]) {
                world.step();
                world.state.change_name(NameChange::Add(path[..end].into(), Name::Directory));
                world.state.sync_names(parent(&path[..end]));
            }
        }
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<FolderLock>> {
        Ok(Some(FolderLock::of_nobody()))
    }

    fn lock_existing(&self, _path: &Path) -> io::Result<Option<FolderLock>> {
        Ok(Some(FolderLock::of_nobody()))
    }

    fn read_start(&self, path: &Path, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let world = self.0.borrow();
        let Ok(index) = world.state.find(text(path)) else { return Ok(None) };
        let mut bytes = vec![0; limit];
        let count = world.state.file(index).now.read(&mut bytes, 0);
        bytes.truncate(count);
        Ok(Some(bytes))
    }

    fn write_start_durably(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.step();
        let exists = world.state.names.contains_key(text(path));
        let index = world.file_named(text(path), !exists)?;
        world.step();
        let (first, blocks) = world.state.file(index).now.blocks_of(bytes, 0);
        let end = bytes.len() as u64;
        let number = world.state.change(index, Change::Blocks { first, blocks, end });
        world.step();
        world.state.finish(index, number, false);
        let changes = world.begin_sync(index);
        world.end_sync(index, &changes)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let files = self.0.borrow().state.files_in(text(path));
        Ok(files.into_iter().map(|(name, _)| name).collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.step();
        let index = world.state.find(text(path))?;
        let length = world.state.file(index).now.length;
        world.state.change_name(NameChange::Remove(text(path).into()));
        world.shrink(length);
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        world.step();
        world.sync_names(text(path))
    }
}
