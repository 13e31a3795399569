//! Notices when a path may no longer lead where it did, without looking at it again and again: the kernel says when
//! something in its folder goes, when a folder on the way is moved or removed, and, while one is missing, when it may be
//! back.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// How often the folders are looked at again because they changed while they were looked at.
const ATTEMPTS: usize = 8;

/// What is known of a path, and of the folders on the way to it.
#[derive(Debug)]
pub struct PathWatch {
    inotify: OwnedFd,
    /// The folders on the way that are there, the outermost first.
    watched: Vec<Folder>,
    watches: Vec<i32>,
    /// Whether what is written there counts too, and not only what goes.
    changes: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Folder {
    path: PathBuf,
    inode: (u64, u64),
}

impl PathWatch {
    /// Watches what `path` depends on.
    ///
    /// # Errors
    /// When the user has no more watches.
    pub fn new(path: &Path) -> io::Result<PathWatch> {
        PathWatch::of(path, false)
    }

    /// The same, and when a file in its folder has been written.
    ///
    /// # Errors
    /// When the user has no more watches.
    pub fn with_changes(path: &Path) -> io::Result<PathWatch> {
        PathWatch::of(path, true)
    }

    fn of(path: &Path, changes: bool) -> io::Result<PathWatch> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = PathWatch { inotify, watched: Vec::new(), watches: Vec::new(), changes };
        watch.aim(path);
        Ok(watch)
    }

    /// Takes what was reported, and watches what `path` depends on now. The path is to be looked at afterwards.
    pub fn look(&mut self, path: &Path) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reports = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(report) = reports.next() {
            // A watch ends with its folder. A new one of that name may have got the old one's number: it is not watched.
            let ended = report.events().contains(ReadFlags::IGNORED) && self.watches.contains(&report.wd());
            if ended || report.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.watched.clear();
            }
        }
        self.aim(path);
    }

    fn aim(&mut self, path: &Path) {
        for _ in 0..ATTEMPTS {
            let folders = on_the_way(path);
            // Removing a watch is reported too: nothing is done again that is as it should be.
            if folders == self.watched {
                return;
            }
            for watch in self.watches.drain(..) {
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
            let whole = folders.last().map(|f| f.path.as_path()) == path.parent();
            for (at, folder) in folders.iter().enumerate() {
                let mut wanted = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
                if at + 1 == folders.len() {
                    let (mut gone, back) = (
                        WatchFlags::DELETE | WatchFlags::MOVED_FROM,
                        WatchFlags::CREATE | WatchFlags::MOVED_TO,
                    );
                    if self.changes {
                        gone |= WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO;
                    }
                    wanted |= if whole { gone } else { back };
                }
                // One that may not be watched is left out; it is not this user's to move either.
                self.watches.extend(inotify::add_watch(&self.inotify, &folder.path, wanted));
            }
            self.watched = folders;
        }
    }
}

impl AsFd for PathWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

/// The folders above a path as far as they are there, the outermost first.
fn on_the_way(path: &Path) -> Vec<Folder> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let there = above.into_iter().map_while(|path| {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
        Some(Folder { path: path.to_path_buf(), inode: (metadata.dev(), metadata.ino()) })
    });
    there.collect()
}
