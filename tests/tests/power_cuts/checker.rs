//! Cuts the power at the points of a history, and checks the states that the disk may then be in.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
};

use fastrand::Rng;
use tempfile::TempDir;

use crate::{
    check, cut,
    disk::{Image, Piece},
    recording::History,
    trace::Call,
};

/// Bounds of the work on one [`History`].
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Most points at which the power is cut.
    pub(crate) cuts: usize,
    /// Largest number of choices that are tried exhaustively at one point.
    pub(crate) most: usize,
    /// Number of samples at each point where there are more.
    pub(crate) samples: usize,
}

/// Result of the cuts in one history.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) cuts: usize,
    /// Cuts at which every choice was tried.
    pub(crate) exhaustive: usize,
    pub(crate) states: usize,
    /// Each state with broken promises, with the place of its cut in the trace.
    pub(crate) violations: Vec<(usize, Vec<String>)>,
}

/// Cuts the power in a history, and returns the violations.
///
/// A state that is possible at some point is possible until the next sync ends, and more may have been
/// promised by then. So the points right before the end of each sync stand for all points before them.
pub(crate) fn cut_everywhere(history: &History, effort: Effort, seed: u64) -> Report {
    let mut rng = Rng::with_seed(seed);
    let cuts = points(history, effort.cuts, &mut rng);
    let (states, waiting) = mpsc::sync_channel::<(usize, Image, String)>(4);
    let (waiting, violations) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let mut report = Report { cuts: cuts.len(), ..Report::default() };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| serve(history, &waiting, &violations));
        }
        let (mut disk, mut applied, mut known) = (history.start.clone(), 0, HashSet::new());
        for cut in cuts {
            for (at, record) in history.trace.iter().enumerate().take(cut).skip(applied) {
                disk.apply(at, record);
            }
            applied = cut;
            let pieces = disk.pieces();
            let choices = cut::choices(&pieces, effort.most, effort.samples, &mut rng);
            report.exhaustive += usize::from(choices.are_all);
            for kept in choices.kept {
                let image = disk.image(&kept);
                let mut hasher = DefaultHasher::new();
                (&image, history.promises.before(cut).len()).hash(&mut hasher);
                if known.insert(hasher.finish()) {
                    report.states += 1;
                    // The workers run until this sender is dropped.
                    let lost = lost(history, &pieces, &kept);
                    states.send((cut, image, lost)).expect("a worker runs");
                }
            }
        }
        drop(states);
    });
    report.violations = violations.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.violations.sort();
    report
}

fn serve(
    history: &History,
    waiting: &Mutex<Receiver<(usize, Image, String)>>,
    violations: &Mutex<Vec<(usize, Vec<String>)>>,
) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((cut, image, lost)) = next else { return };
        let folder = folder();
        let mut broken = check::broken(&image, folder.path(), &history.promises, cut);
        if !broken.is_empty() {
            broken.push(format!("the disk after the cut: {}", image.listing()));
            broken.push(format!("what the cut lost: {lost}"));
            violations.lock().unwrap_or_else(PoisonError::into_inner).push((cut, broken));
        }
    }
}

/// Describes the changes that a cut lost wholly or in part.
fn lost(history: &History, pieces: &[Piece], kept: &[Piece]) -> String {
    let mut changes = BTreeMap::<usize, (usize, usize)>::new();
    for piece in pieces {
        changes.entry(piece.at).or_default().0 += 1;
    }
    for piece in kept {
        changes.entry(piece.at).or_default().1 += 1;
    }
    let lost = changes.into_iter().filter(|(_, (all, kept))| kept < all);
    let lost = lost.map(|(at, (all, kept))| {
        let record = &history.trace[at];
        format!("{} pieces of {all} of {} ({at})", all - kept, record.summary())
    });
    lost.collect::<Vec<_>>().join(", ")
}

/// Returns a folder in memory, if the machine has one: these states are on disk already.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| tempfile::tempdir_in(memory).ok()).flatten();
    in_memory.unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

/// Returns the points right before the end of each sync and the end of the history. If there are too many,
/// some of them by chance, and always the last.
fn points(history: &History, most: usize, rng: &mut Rng) -> Vec<usize> {
    let ends = history.trace.iter().enumerate();
    let ends = ends.filter(|(_, record)| matches!(record.call, Call::SyncEnds { .. }));
    let mut points: Vec<_> = ends.map(|(at, _)| at).collect();
    // Without syncs, the end alone would not show when a promise was made too early.
    while points.len() < most.min(20) {
        points.push(rng.usize(..history.trace.len()));
    }
    rng.shuffle(&mut points);
    points.truncate(most.saturating_sub(1));
    points.push(history.trace.len());
    points.sort_unstable();
    points.dedup();
    points
}
