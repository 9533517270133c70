//! Calls on the files of the directory.

use super::{BLANK, DATA, FileId, Inode, OpenFile, Pid, ProcessId, World, small};

impl World {
    /// A file at the path that nobody has open.
    pub(crate) fn plant(&mut self, record: Pid) {
        self.names[0] = Some(self.new_inode(0, record));
    }

    /// A file of the second user with another name elsewhere.
    pub(crate) fn plant_with_a_second_name(&mut self, record: Pid) {
        let inode = self.new_inode(1, record);
        self.names = [Some(inode); 2];
    }

    fn new_inode(&mut self, user: u8, record: Pid) -> u8 {
        let free = self.inodes.iter().position(Option::is_none).expect("INODES is large enough");
        self.inodes[free] =
            Some(Inode { record, stamp: 0, user, removed_through: 0, is_ours: false });
        small(free)
    }

    fn new_file(&mut self, process: ProcessId, inode: u8) -> FileId {
        let free = self.files.iter().position(Option::is_none).expect("FILES is large enough");
        self.files[free] = Some(OpenFile {
            inode,
            mount: small(self.mount(process)),
            locked: false,
            holders: 1 << process,
            user_was_killed: false,
        });
        small(free)
    }

    pub(super) fn file(&self, file: FileId) -> OpenFile {
        self.files[usize::from(file)].expect("a thread's file is open")
    }

    fn file_mut(&mut self, file: FileId) -> &mut OpenFile {
        self.files[usize::from(file)].as_mut().expect("a thread's file is open")
    }

    pub(super) fn inode(&self, inode: u8) -> Inode {
        self.inodes[usize::from(inode)].expect("what is named or open is there")
    }

    fn inode_mut(&mut self, file: FileId) -> &mut Inode {
        let inode = self.file(file).inode;
        self.inodes[usize::from(inode)].as_mut().expect("what is open is there")
    }

    pub(crate) fn open(&mut self, process: ProcessId) -> Option<FileId> {
        let inode = self.look_up(process)?;
        Some(self.new_file(process, inode))
    }

    pub(crate) fn create_unnamed(&mut self, process: ProcessId) -> FileId {
        let inode = self.new_inode(self.user(process), BLANK);
        self.new_file(process, inode)
    }

    pub(crate) fn create_exclusive(&mut self, process: ProcessId) -> Option<FileId> {
        if self.at_path().is_some() {
            self.forget(self.mount(process));
            return None;
        }
        let file = self.create_unnamed(process);
        self.link(process, file);
        Some(file)
    }

    /// False means EEXIST.
    pub(crate) fn link(&mut self, process: ProcessId, file: FileId) -> bool {
        let inode = self.file(file).inode;
        let free = self.at_path().is_none();
        if free {
            self.names[0] = Some(inode);
            self.remember(process, inode);
        } else {
            self.forget(self.mount(process));
        }
        free
    }

    /// Where each name is an inode of its own: the new name has the old one's content, and no kernel lock.
    pub(crate) fn link_as_an_inode(&mut self, process: ProcessId, file: FileId) -> bool {
        let copy = self.create_unnamed(process);
        *self.inode_mut(copy) = self.inode(self.file(file).inode);
        let linked = self.link(process, copy);
        self.close(process, copy);
        linked
    }

    /// False means EPERM.
    pub(crate) fn unlink(&mut self, process: ProcessId) -> bool {
        let Some(inode) = self.names[0] else { return true };
        let may = !self.is_sticky || self.inode(inode).user == self.user(process);
        if may {
            self.remove_name(process);
        }
        may
    }

    pub(crate) fn remove_name(&mut self, process: ProcessId) {
        let mount = self.mount(process);
        self.forget(mount);
        if let Some(inode) = self.names[0].take() {
            let inode = self.inodes[usize::from(inode)].as_mut().expect("what is named is there");
            inode.removed_through |= 1 << mount;
        }
    }

    pub(crate) fn flock(&mut self, file: FileId) -> bool {
        let free = !self.is_refused(file);
        self.file_mut(file).locked |= free;
        free
    }

    pub(crate) fn flock_unlock(&mut self, file: FileId) {
        self.file_mut(file).locked = false;
    }

    pub(crate) fn close(&mut self, process: ProcessId, file: FileId) {
        self.file_mut(file).holders &= !(1 << process);
    }

    pub(crate) fn read(&self, file: FileId) -> Inode {
        self.inode(self.file(file).inode)
    }

    /// Any write voids the stamp, because it changes the time.
    pub(crate) fn write(&mut self, file: FileId, record: Pid) {
        let inode = self.inode_mut(file);
        (inode.record, inode.stamp, inode.is_ours) = (record, 0, false);
    }

    pub(crate) fn stamp(&mut self, file: FileId, pid: Pid) {
        self.inode_mut(file).stamp = pid;
    }

    pub(crate) fn mark_as_ours(&mut self, file: FileId) {
        self.inode_mut(file).is_ours = true;
    }

    pub(crate) fn at_path(&self) -> Option<Inode> {
        self.names[0].map(|inode| self.inode(inode))
    }

    pub(crate) fn record_at_path(&self) -> Option<Pid> {
        self.at_path().map(|inode| inode.record)
    }

    /// The truth, which no call returns.
    pub(crate) fn is_at_path(&self, file: FileId) -> bool {
        self.names[0] == Some(self.file(file).inode)
    }

    pub(crate) fn is_somebodys_data(&self, file: FileId) -> bool {
        let open = self.file(file);
        self.inode(open.inode).record == DATA || self.names[1] == Some(open.inode)
    }

    pub(crate) fn has_a_second_name(&self) -> bool {
        self.names[1].is_some() && self.names[0] == self.names[1]
    }

    pub(crate) fn is_shared(&self, file: FileId) -> bool {
        self.file(file).holders.count_ones() > 1
    }

    fn locks_of_others(&self, file: FileId) -> impl Iterator<Item = OpenFile> {
        let inode = self.file(file).inode;
        let others = self.files.iter().enumerate().filter(move |&(id, _)| id != usize::from(file));
        others
            .filter_map(|(_, other)| *other)
            .filter(move |other| other.inode == inode && other.locked)
    }

    fn is_refused(&self, file: FileId) -> bool {
        let mount = self.file(file).mount;
        let shared = self.file_system.shares_kernel_locks();
        self.locks_of_others(file).any(|other| shared || other.mount == mount)
    }

    pub(crate) fn is_locked_by_another(&self, file: FileId) -> bool {
        self.locks_of_others(file).next().is_some()
    }

    /// Whether the file that the path names is kernel-locked.
    pub(crate) fn is_locked(&self) -> bool {
        let mut files = self.files.iter().flatten();
        files.any(|file| file.locked && self.names[0] == Some(file.inode))
    }
}
