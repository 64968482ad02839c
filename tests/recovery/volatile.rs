//! A disk with a volatile write cache, as real ones have: what was not flushed is kept, torn or lost sector by sector
//! when the power goes. It can also fail writes or flushes at will. A FUSE file system serves it as one file, a loop
//! device makes a disk of that. Needs root, /dev/fuse and loop devices.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use tempfile::TempDir;

use crate::device::{Disk, Loop, Mount, mkfs};
use crate::ledger::Draw;

const SECTOR: usize = 512;
/// The cache writes its older half out by itself when it holds more.
const CACHE_BYTES_MAX: usize = 32 << 20;
const FILE: INodeNo = INodeNo(2);
const NAME: &str = "disk";

/// The state of the disk.
struct Platter {
    /// What is on the medium.
    durable: Vec<u8>,
    /// What reads show: the medium and the cache over it.
    shown: Vec<u8>,
    /// Ranges in the cache, oldest first.
    cached: Vec<(usize, usize)>,
    cached_bytes: usize,
    dead: bool,
    fails_writes: bool,
    fails_flushes: bool,
    flushes: u64,
}

impl Platter {
    fn write(&mut self, offset: usize, data: &[u8]) -> Result<(), Errno> {
        let end = offset + data.len();
        if self.dead || self.fails_writes || end > self.shown.len() {
            return Err(Errno::EIO);
        }
        self.shown[offset..end].copy_from_slice(data);
        self.cached.push((offset, end));
        self.cached_bytes += data.len();
        if self.cached_bytes > CACHE_BYTES_MAX {
            let older = self.cached.len() / 2;
            for (offset, end) in self.cached.drain(..older) {
                self.durable[offset..end].copy_from_slice(&self.shown[offset..end]);
            }
            self.cached_bytes = self.cached.iter().map(|(offset, end)| end - offset).sum();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Errno> {
        if self.dead {
            return Err(Errno::EIO);
        }
        if self.fails_flushes {
            // As disks and kernels do: what could not be flushed is gone, and the next flush says nothing of it.
            self.forget_cached();
            return Err(Errno::EIO);
        }
        self.flushes += 1;
        for (offset, end) in self.cached.drain(..) {
            self.durable[offset..end].copy_from_slice(&self.shown[offset..end]);
        }
        self.cached_bytes = 0;
        Ok(())
    }

    /// Of each cached write all, nothing, or some sectors reach the medium.
    fn cut(&mut self, seed: u64) {
        let mut draw = Draw(seed);
        for (offset, end) in std::mem::take(&mut self.cached) {
            let fate = draw.below(4);
            for sector in (offset..end).step_by(SECTOR) {
                let reaches = match fate {
                    0 | 1 => false,
                    2 => true,
                    _ => draw.below(2) == 0,
                };
                if reaches {
                    let range = sector..end.min(sector + SECTOR);
                    self.durable[range.clone()].copy_from_slice(&self.shown[range.clone()]);
                } else {
                    // Read again only when the disk lives again.
                    self.cached.push((sector, end.min(sector + SECTOR)));
                }
            }
        }
        self.dead = true;
    }

    fn forget_cached(&mut self) {
        for (offset, end) in self.cached.drain(..) {
            self.shown[offset..end].copy_from_slice(&self.durable[offset..end]);
        }
        self.cached_bytes = 0;
    }
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Platter>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no panic under the lock")
    }
}

/// The disk, its loop device and the ext4 on it.
pub(crate) struct VolatileDisk {
    // In the order in which they have to go.
    mount: Option<Mount>,
    device: Option<Loop>,
    session: Option<BackgroundSession>,
    platter: Shared,
    folder: TempDir,
}

impl VolatileDisk {
    pub(crate) fn new(bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["fuse", "root"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let platter = Shared(Arc::new(Mutex::new(Platter {
            durable: vec![0; bytes],
            shown: vec![0; bytes],
            cached: Vec::new(),
            cached_bytes: 0,
            dead: false,
            fails_writes: false,
            fails_flushes: false,
            flushes: 0,
        })));
        let served = Served { platter: platter.clone(), bytes: bytes as u64 };
        let fuse = folder.path().join("fuse");
        let session = fuser::spawn_mount(served, &fuse, &fuser::Config::default());
        let session = Some(session.expect("FUSE"));
        let mut disk = Self { mount: None, device: None, session, platter, folder };
        disk.format();
        disk
    }

    /// Whether writes to it fail from now on.
    pub(crate) fn fail_writes(&self, fail: bool) {
        self.platter.lock().fails_writes = fail;
    }

    /// Whether flushes fail from now on, and with them what they should have kept.
    pub(crate) fn fail_flushes(&self, fail: bool) {
        self.platter.lock().fails_flushes = fail;
    }

    /// Number of flushes so far.
    pub(crate) fn flushes(&self) -> u64 {
        self.platter.lock().flushes
    }

    fn detach(&mut self) {
        drop(self.mount.take());
        drop(self.device.take());
    }

    /// A new loop device, so that no page of an old one is believed.
    fn attach(&mut self) -> Loop {
        Loop::attach(&self.folder.path().join("fuse").join(NAME))
    }
}

impl Disk for VolatileDisk {
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn cut(&mut self, seed: u64) {
        self.platter.lock().cut(seed);
    }

    fn revive(&mut self) {
        self.detach();
        {
            let mut platter = self.platter.lock();
            platter.forget_cached();
            platter.dead = false;
        }
        let device = self.attach();
        self.mount = Some(Mount::ext4(&device, &self.root()));
        self.device = Some(device);
    }

    fn format(&mut self) {
        self.detach();
        {
            let mut platter = self.platter.lock();
            let bytes = platter.shown.len();
            platter.cached.clear();
            platter.cached_bytes = 0;
            platter.dead = false;
            platter.durable = vec![0; bytes];
            platter.shown = vec![0; bytes];
        }
        let device = self.attach();
        mkfs(&device);
        self.mount = Some(Mount::ext4(&device, &self.root()));
        self.device = Some(device);
    }
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        self.detach();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}

/// The FUSE side.
struct Served {
    platter: Shared,
    bytes: u64,
}

impl Served {
    fn attributes(&self, node: INodeNo) -> FileAttr {
        let is_file = node == FILE;
        let size = if is_file { self.bytes } else { 0 };
        FileAttr {
            ino: node,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

const FOR_EVER: Duration = Duration::from_secs(1 << 20);

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What the kernel allows is good enough.
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&FOR_EVER, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOR_EVER, &self.attributes(node));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // No page cache between the loop device and us.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let platter = self.platter.lock();
        if platter.dead {
            return reply.error(Errno::EIO);
        }
        let start = usize::try_from(offset).expect("64 bits").min(platter.shown.len());
        let end = (start + size as usize).min(platter.shown.len());
        reply.data(&platter.shown[start..end]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let offset = usize::try_from(offset).expect("64 bits");
        match self.platter.lock().write(offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("one request")),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.platter.lock().flush() {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}
