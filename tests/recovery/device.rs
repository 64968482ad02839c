//! Block devices with an ext4 on them, and how their power is cut. Needs root and loop devices.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for the kernel to let go of a file system whose server was killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A disk that can lose its power.
pub(crate) trait Disk {
    /// Where the file system is mounted.
    fn root(&self) -> PathBuf;

    /// Cuts the power: what was not made durable may be gone, and nothing can be written any more.
    fn cut(&mut self, seed: u64);

    /// After a cut, with nobody using it: mounts what is left.
    fn revive(&mut self);

    /// Makes a new file system, empty and mounted.
    fn format(&mut self);

    /// Free bytes.
    fn free(&self) -> u64 {
        let statistics = rustix::fs::statvfs(self.root()).expect("mounted");
        statistics.f_bavail * statistics.f_frsize
    }
}

/// Whether the machine has not all of these, as some that run these tests have not; then a test that needs them says
/// so and ends.
pub(crate) fn lacks(needed: &[&str]) -> bool {
    let missing = needed.iter().find(|needed| match **needed {
        FUSE => File::options().read(true).write(true).open("/dev/fuse").is_err(),
        LOOP_DEVICE => try_tool("losetup", &["--find"]).is_err(),
        other => panic!("{other} is no device"),
    });
    if let Some(missing) = missing {
        println!("SKIPPED: this machine lacks {missing}");
    }
    missing.is_some()
}

pub(crate) const FUSE: &str = "/dev/fuse";
pub(crate) const LOOP_DEVICE: &str = "a loop device";

/// Runs a tool.
///
/// # Panics
/// If it fails.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    match try_tool(program, arguments) {
        Ok(said) => said,
        Err(said) => panic!("{program} {arguments:?}: {said}"),
    }
}

/// Runs a tool; what it said on stderr if it failed.
pub(crate) fn try_tool(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().expect("it is installed");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A loop device over a file.
pub(crate) struct Loop(String);

impl Loop {
    pub(crate) fn attach(file: &Path) -> Self {
        let file = file.to_str().expect("UTF-8");
        // Another may take the free device that was found, between finding and attaching.
        let patience = Instant::now() + PATIENCE;
        loop {
            match try_tool("losetup", &["--find", "--show", file]) {
                Ok(device) => return Self(device),
                Err(_) if Instant::now() < patience => std::thread::yield_now(),
                Err(said) => panic!("losetup: {said}"),
            }
        }
    }

    pub(crate) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = try_tool("losetup", &["--detach", &self.0]);
    }
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts an ext4.
    pub(crate) fn ext4(device: &Loop, root: &Path) -> Self {
        tool("mount", &["-t", "ext4", device.path(), root.to_str().expect("UTF-8")]);
        Self(root.to_owned())
    }

    /// Mounts a tmpfs of so many MiB.
    pub(crate) fn tmpfs(root: &Path, mib: u32) -> Self {
        let size = format!("size={mib}m,mode=0700");
        tool("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", root.to_str().expect("UTF-8")]);
        Self(root.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let root = self.0.to_str().expect("UTF-8");
        // The rings of a server that was killed are torn down a moment after its end.
        let patience = Instant::now() + PATIENCE;
        while let Err(said) = try_tool("umount", &[root]) {
            if Instant::now() > patience {
                assert!(std::thread::panicking(), "umount: {said}");
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Makes an ext4.
pub(crate) fn mkfs(device: &Loop) {
    tool("mkfs.ext4", &["-q", "-F", "-m", "0", device.path()]);
}

/// An ext4 that the kernel itself cuts off, with what lies in its page cache and its journal's memory. Blind to direct
/// writes over blocks that exist already: those have reached the loop device's file, synced or not.
pub(crate) struct ShutDownDisk {
    // In the order in which they have to go.
    mount: Option<Mount>,
    device: Loop,
    folder: TempDir,
}

impl ShutDownDisk {
    pub(crate) fn new(bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let image = folder.path().join("image");
        File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
        std::fs::create_dir(folder.path().join("root")).expect("a folder");
        let device = Loop::attach(&image);
        let mut disk = Self { mount: None, device, folder };
        disk.format();
        disk
    }
}

impl Disk for ShutDownDisk {
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn cut(&mut self, _: u64) {
        shut_down(&self.root());
    }

    fn revive(&mut self) {
        drop(self.mount.take());
        self.mount = Some(Mount::ext4(&self.device, &self.root()));
    }

    fn format(&mut self) {
        drop(self.mount.take());
        mkfs(&self.device);
        self.mount = Some(Mount::ext4(&self.device, &self.root()));
    }
}

/// FS_IOC_SHUTDOWN without flushing the journal.
#[expect(unsafe_code, reason = "the ioctl has no wrapper")]
fn shut_down(root: &Path) {
    const FS_IOC_SHUTDOWN: u32 = 0x8004_587d;
    const NO_LOG_FLUSH: u32 = 2;
    let root = File::open(root).expect("mounted");
    // SAFETY: the operation reads a u32, which `Setter` passes by reference.
    let setter = unsafe { rustix::ioctl::Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH) };
    // SAFETY: `root` is open, and the setter matches the operation.
    unsafe { rustix::ioctl::ioctl(&root, setter) }.expect("shut down");
}
