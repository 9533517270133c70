//! Elsewhere no process can be proven to hold a lock, so there is none to signal or to wait for.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::holder::process::Doubt;
use crate::incumbent::Incumbent;

pub(in crate::holder) struct Signal;

impl Signal {
    pub(in crate::holder) const TERM: Signal = Signal;
    pub(in crate::holder) const KILL: Signal = Signal;
}

/// It has no values.
#[derive(Debug)]
pub(in crate::holder) enum Process {}

impl Process {
    pub(in crate::holder) fn open(_pid: u32) -> Result<Process, Doubt> {
        Err(Doubt::NoPidfd)
    }

    pub(in crate::holder) fn proves_to_hold(&self, _file: &Incumbent) -> Result<(), Doubt> {
        match *self {}
    }

    pub(in crate::holder) fn pid(&self) -> u32 {
        match *self {}
    }

    pub(in crate::holder) fn has_ended(&self) -> bool {
        match *self {}
    }

    pub(in crate::holder) fn signal(&self, _signal: Signal) -> io::Result<()> {
        match *self {}
    }

    pub(in crate::holder) fn wait(
        &self,
        _limit: Option<Duration>,
        _alarm: Option<BorrowedFd<'_>>,
    ) -> io::Result<bool> {
        match *self {}
    }

    pub(in crate::holder) fn as_fd(&self) -> BorrowedFd<'_> {
        match *self {}
    }
}
