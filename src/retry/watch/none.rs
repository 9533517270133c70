//! Where the kernel tells nothing of a lock file.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use crate::retry::watch::{News, Unwatched};

/// There is none.
#[derive(Debug)]
pub(super) enum FileWatch {}

impl FileWatch {
    pub(super) fn new(_path: &Path) -> Result<FileWatch, Unwatched> {
        Err(Unwatched::Refused)
    }

    pub(super) fn renew(&mut self) -> Result<bool, Unwatched> {
        match *self {}
    }

    pub(super) fn path(&self) -> &Path {
        match *self {}
    }

    pub(super) fn is_our_own(&self) -> bool {
        match *self {}
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        match *self {}
    }

    pub(super) fn news(&self) -> News {
        match *self {}
    }
}

pub(super) fn end_of_owner(_path: &Path) -> Option<OwnedFd> {
    None
}
