//! A disk with a cache that is lost in a power cut, and the states in which a cut can leave it.
//!
//! A sync of a file makes its bytes and its length durable, and a sync of a folder the names in it.
//! Everything else that was changed since is in doubt, in [pieces](Piece): a sector of a write, a change of
//! length, a change of a folder. After a cut, any of these pieces may be there, whichever came first.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::trace::{Call, Record};

/// Bytes that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// Number of a file, also once it has lost its name.
type FileId = usize;

/// Files and folders with what is durable of them, and the changes since.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    files: Vec<File>,
    folders: BTreeMap<PathBuf, Folder>,
    by_inode: HashMap<u64, FileId>,
    /// Place in the trace at which a thread began to sync a file or a folder.
    syncs: HashMap<(PathBuf, u64), usize>,
}

#[derive(Clone, Default)]
struct File {
    inode: u64,
    durable: Arc<Vec<u8>>,
    pending: Vec<(usize, FileChange)>,
}

#[derive(Clone)]
enum FileChange {
    Write { offset: u64, bytes: Arc<[u8]> },
    Truncate { length: u64 },
}

#[derive(Clone, Default)]
struct Folder {
    durable: Names,
    pending: Vec<(usize, FolderChange)>,
}

/// Names in a folder; none for a folder in it.
type Names = BTreeMap<PathBuf, Option<FileId>>;

#[derive(Clone)]
enum FolderChange {
    Add(PathBuf, Option<FileId>),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

/// Part of a change that a cut keeps or loses as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    /// Place of the change in the trace. Pieces of one change have the same.
    pub(crate) at: usize,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// Bytes of a write, by their place in it.
    Bytes(FileId, usize, Range<usize>),
    Truncate(FileId, usize),
    /// The length that the file had at the cut, filled up with zeros.
    Length(FileId),
    Name(PathBuf, usize),
}

/// State of the disk after a cut: files by their paths.
#[derive(Debug, Hash, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) files: BTreeMap<PathBuf, ImageFile>,
}

/// A file of an [`Image`].
#[derive(Debug, Hash, PartialEq, Eq)]
pub(crate) struct ImageFile {
    pub(crate) inode: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Disk {
    /// Takes over what is in a folder, as durable.
    pub(crate) fn of(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.take_over(root, Path::new(""));
        disk
    }

    fn take_over(&mut self, root: &Path, folder: &Path) {
        self.folders.entry(folder.into()).or_default();
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            let metadata = fs::metadata(root.join(&path)).expect("it is there");
            let id = metadata.is_file().then(|| {
                let bytes = fs::read(root.join(&path)).expect("readable");
                self.new_file(metadata.ino(), bytes)
            });
            self.folder_of(&path).durable.insert(path.clone(), id);
            if id.is_none() {
                self.take_over(root, &path);
            }
        }
    }

    fn new_file(&mut self, inode: u64, bytes: Vec<u8>) -> FileId {
        self.by_inode.insert(inode, self.files.len());
        self.files.push(File { inode, durable: Arc::new(bytes), pending: Vec::new() });
        self.files.len() - 1
    }

    fn folder_of(&mut self, path: &Path) -> &mut Folder {
        self.folders.entry(path.parent().unwrap_or(Path::new("")).into()).or_default()
    }

    /// Applies the record at a place of the trace.
    pub(crate) fn apply(&mut self, at: usize, record: &Record) {
        let Record { call, inode, path } = record;
        match call {
            Call::Open => drop(self.file(at, *inode, path)),
            Call::Write { offset, bytes } => {
                let change = FileChange::Write { offset: *offset, bytes: bytes.as_slice().into() };
                self.file(at, *inode, path).pending.push((at, change));
            }
            Call::Truncate { length } => {
                let change = FileChange::Truncate { length: *length };
                self.file(at, *inode, path).pending.push((at, change));
            }
            Call::SyncBegins { thread } => drop(self.syncs.insert((path.clone(), *thread), at)),
            Call::SyncEnds { thread } => {
                let began = self.syncs.remove(&(path.clone(), *thread)).unwrap_or_default();
                match self.folders.get_mut(path) {
                    Some(folder) if *inode == 0 => folder.settle(began),
                    _ => self.file(at, *inode, path).settle(began),
                }
            }
            Call::Unlink => {
                if let Some(Some(id)) = self.names_now(path).get(path) {
                    self.by_inode.remove(&self.files[*id].inode);
                }
                self.folder_of(path).pending.push((at, FolderChange::Remove(path.clone())));
            }
            Call::Rename { to } => {
                if let Some(Some(id)) = self.names_now(to).get(to) {
                    self.by_inode.remove(&self.files[*id].inode);
                }
                let change = FolderChange::Rename(path.clone(), to.clone());
                assert_eq!(path.parent(), to.parent(), "renames between folders are not modelled");
                self.folder_of(path).pending.push((at, change));
            }
            Call::MakeFolder => {
                self.folders.entry(path.clone()).or_default();
                let change = FolderChange::Add(path.clone(), None);
                self.folder_of(path).pending.push((at, change));
            }
            Call::Send { .. } => {}
        }
    }

    /// Returns a file, which is new if nothing was recorded of it.
    fn file(&mut self, at: usize, inode: u64, path: &Path) -> &mut File {
        let id = match self.by_inode.get(&inode) {
            Some(id) => *id,
            None => {
                let id = self.new_file(inode, Vec::new());
                let change = FolderChange::Add(path.into(), Some(id));
                self.folder_of(path).pending.push((at, change));
                id
            }
        };
        &mut self.files[id]
    }

    fn names_now(&mut self, path: &Path) -> Names {
        let folder = self.folder_of(path);
        let mut names = folder.durable.clone();
        folder.pending.iter().for_each(|(_, change)| change.apply(&mut names));
        names
    }

    /// Returns everything that is in doubt, in the order of the changes.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (path, folder) in &self.folders {
            for (place, (at, _)) in folder.pending.iter().enumerate() {
                pieces.push(Piece { at: *at, content: Content::Name(path.clone(), place) });
            }
        }
        for (id, file) in self.files.iter().enumerate() {
            for (place, (at, change)) in file.pending.iter().enumerate() {
                match change {
                    FileChange::Truncate { .. } => {
                        pieces.push(Piece { at: *at, content: Content::Truncate(id, place) });
                    }
                    FileChange::Write { offset, bytes } => {
                        for range in sectors(*offset, bytes.len()) {
                            pieces
                                .push(Piece { at: *at, content: Content::Bytes(id, place, range) });
                        }
                    }
                }
            }
            if let Some((at, _)) = file.pending.last() {
                pieces.push(Piece { at: *at, content: Content::Length(id) });
            }
        }
        pieces.sort_by_key(|piece| piece.at);
        pieces
    }

    /// Returns the state after a cut that keeps some of the [pieces](Self::pieces).
    pub(crate) fn image(&self, kept: &[Piece]) -> Image {
        let mut names = Names::new();
        self.add_names(Path::new(""), kept, &mut names);
        let mut files = BTreeMap::new();
        for (path, id) in names {
            let Some(id) = id else { continue };
            // SQLite writes the index of its log through mapped memory, and makes it anew after a cut.
            if path.to_string_lossy().ends_with("-shm") {
                continue;
            }
            let file = &self.files[id];
            let mut bytes = file.durable.to_vec();
            for piece in kept {
                match &piece.content {
                    Content::Bytes(of, place, range) if *of == id => {
                        file.pending[*place].1.apply(range.clone(), &mut bytes);
                    }
                    Content::Truncate(of, place) if *of == id => {
                        file.pending[*place].1.apply(0..0, &mut bytes);
                    }
                    Content::Length(of) if *of == id => {
                        let length = file.length_now().max(bytes.len());
                        bytes.resize(length, 0);
                    }
                    _ => {}
                }
            }
            files.insert(path, ImageFile { inode: file.inode, bytes });
        }
        Image { files }
    }

    fn add_names(&self, path: &Path, kept: &[Piece], all: &mut Names) {
        let Some(folder) = self.folders.get(path) else { return };
        let mut names = folder.durable.clone();
        for piece in kept {
            if let Content::Name(of, place) = &piece.content
                && of == path
            {
                folder.pending[*place].1.apply(&mut names);
            }
        }
        for (name, id) in names {
            if id.is_none() {
                self.add_names(&name, kept, all);
            }
            all.insert(name, id);
        }
    }
}

impl Image {
    /// Returns the names and lengths of all files.
    pub(crate) fn listing(&self) -> String {
        let file = |(path, file): (&PathBuf, &ImageFile)| {
            format!("`{}` ({} bytes)", path.display(), file.bytes.len())
        };
        self.files.iter().map(file).collect::<Vec<_>>().join(", ")
    }
}

impl File {
    /// Makes the changes durable that were made before a sync began.
    fn settle(&mut self, began: usize) {
        let count = self.pending.partition_point(|(at, _)| *at < began);
        let bytes = Arc::make_mut(&mut self.durable);
        for (_, change) in self.pending.drain(..count) {
            change.apply(change.whole(), bytes);
        }
    }

    fn length_now(&self) -> usize {
        let length = self.durable.len() as u64;
        let length = self.pending.iter().fold(length, |length, (_, change)| match change {
            FileChange::Write { offset, bytes } => length.max(offset + bytes.len() as u64),
            FileChange::Truncate { length } => *length,
        });
        length as usize
    }
}

impl FileChange {
    fn whole(&self) -> Range<usize> {
        match self {
            Self::Write { bytes, .. } => 0..bytes.len(),
            Self::Truncate { .. } => 0..0,
        }
    }

    fn apply(&self, range: Range<usize>, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let begin = *offset as usize + range.start;
                let end = *offset as usize + range.end;
                file.resize(file.len().max(end), 0);
                file[begin..end].copy_from_slice(&bytes[range]);
            }
            Self::Truncate { length } => file.resize(*length as usize, 0),
        }
    }
}

impl Folder {
    fn settle(&mut self, began: usize) {
        let count = self.pending.partition_point(|(at, _)| *at < began);
        for (_, change) in self.pending.drain(..count) {
            change.apply(&mut self.durable);
        }
    }
}

impl FolderChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
}

/// Splits a write into the parts that lie in one sector each.
fn sectors(offset: u64, length: usize) -> impl Iterator<Item = Range<usize>> {
    let mut begin = 0;
    std::iter::from_fn(move || {
        let left = length - begin;
        let in_sector = (SECTOR - (offset + begin as u64) % SECTOR) as usize;
        let range = begin..begin + left.min(in_sector);
        begin = range.end;
        (left > 0).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the disk after calls on one file, `a`, in an empty folder.
    fn disk(calls: Vec<Call>) -> Disk {
        let mut disk = Disk::default();
        disk.folders.insert("".into(), Folder::default());
        for (at, call) in calls.into_iter().enumerate() {
            disk.apply(at, &Record { call, inode: 7, path: "a".into() });
        }
        disk
    }

    fn write(offset: u64, byte: u8, length: usize) -> Call {
        Call::Write { offset, bytes: vec![byte; length] }
    }

    fn sync() -> [Call; 2] {
        [Call::SyncBegins { thread: 1 }, Call::SyncEnds { thread: 1 }]
    }

    fn sync_names(disk: &mut Disk) {
        for call in sync() {
            disk.apply(100, &Record { call, inode: 0, path: "".into() });
        }
        disk.folders.values_mut().for_each(|folder| folder.settle(100));
    }

    fn content(disk: &Disk, kept: &[Piece]) -> Option<Vec<u8>> {
        disk.image(kept).files.remove(Path::new("a")).map(|file| file.bytes)
    }

    #[test]
    fn what_was_written_before_a_sync_began_is_always_there() {
        let [begins, ends] = sync();
        let mut disk = disk(vec![write(0, 1, 3), begins, write(3, 2, 3), ends]);
        sync_names(&mut disk);
        assert_eq!(content(&disk, &[]), Some(vec![1; 3]));
        assert_eq!(content(&disk, &disk.pieces()), Some(vec![1, 1, 1, 2, 2, 2]));
    }

    #[test]
    fn a_file_whose_name_was_not_synced_may_be_missing() {
        let [begins, ends] = sync();
        let mut disk = disk(vec![write(0, 1, 3), begins, ends]);
        assert_eq!(content(&disk, &[]), None);
        assert_eq!(content(&disk, &disk.pieces()), Some(vec![1; 3]));
        sync_names(&mut disk);
        assert_eq!(content(&disk, &[]), Some(vec![1; 3]));
    }

    #[test]
    fn a_later_sector_may_be_there_without_an_earlier_one() {
        let mut disk = disk(vec![write(510, 1, 4)]);
        sync_names(&mut disk);
        let pieces = disk.pieces();
        assert_eq!(pieces.len(), 3, "two sectors and the length");
        let torn = [vec![0; 512], vec![1; 2]].concat();
        assert_eq!(content(&disk, &pieces[1..2]), Some(torn));
        let torn = [vec![0; 510], vec![1; 2]].concat();
        assert_eq!(content(&disk, &pieces[..1]), Some(torn));
        assert_eq!(content(&disk, &pieces[2..]), Some(vec![0; 514]));
    }
}
