//! Choice of what a cut keeps: all there is where few pieces are in doubt, and otherwise samples by seed.

use fastrand::Rng;

use crate::disk::Piece;

/// Choices of the [pieces](Piece) that a cut keeps.
pub(crate) struct Choices {
    /// The pieces of each choice.
    pub(crate) kept: Vec<Vec<Piece>>,
    /// True if these are all choices that there are.
    pub(crate) are_all: bool,
}

/// Returns all choices if there are at most `most`. Otherwise, all choices of whole changes if those are
/// at most `most`, and up to `samples` others.
pub(crate) fn choices(pieces: &[Piece], most: usize, samples: usize, rng: &mut Rng) -> Choices {
    let changes = changes(pieces);
    let all_of = |count: usize| 1_usize.checked_shl(count as u32).filter(|all| *all <= most);
    if let Some(all) = all_of(pieces.len()) {
        let kept = (0..all).map(|bits| keep(pieces, |place, _| bits >> place & 1 == 1));
        return Choices { kept: kept.collect(), are_all: true };
    }
    let mut kept = Vec::new();
    if let Some(all) = all_of(changes.len()) {
        kept.extend((0..all).map(|bits| {
            keep(pieces, |_, piece| {
                changes.binary_search(&piece.at).is_ok_and(|change| bits >> change & 1 == 1)
            })
        }));
    } else {
        kept.extend([Vec::new(), pieces.to_vec()]);
    }
    kept.extend((0..samples).map(|_| sample(pieces, &changes, rng)));
    Choices { kept, are_all: false }
}

fn changes(pieces: &[Piece]) -> Vec<usize> {
    let mut changes: Vec<_> = pieces.iter().map(|piece| piece.at).collect();
    changes.dedup();
    changes
}

fn keep(pieces: &[Piece], mut keeps: impl FnMut(usize, &Piece) -> bool) -> Vec<Piece> {
    let kept = pieces.iter().enumerate().filter(|(place, piece)| keeps(*place, piece));
    kept.map(|(_, piece)| piece.clone()).collect()
}

fn sample(pieces: &[Piece], changes: &[usize], rng: &mut Rng) -> Vec<Piece> {
    let change = changes[rng.usize(..changes.len())];
    let place = rng.usize(..pieces.len());
    let share = [0.03, 0.2, 0.5, 0.8, 0.97][rng.usize(..5)];
    match rng.u8(..8) {
        // The changes reached the disk in their order, and the last of them was torn.
        0 | 1 => keep(pieces, |_, piece| piece.at < change || piece.at == change && rng.bool()),
        // The order was another one.
        2 => keep(pieces, |_, piece| piece.at > change || piece.at == change && rng.bool()),
        3 => keep(pieces, |_, piece| piece.at < change || rng.f64() < share),
        4 => {
            let whole: Vec<_> = changes.iter().map(|_| rng.f64() < share).collect();
            keep(pieces, |_, piece| {
                changes.binary_search(&piece.at).is_ok_and(|change| whole[change])
            })
        }
        5 => keep(pieces, |other, _| other != place),
        6 => keep(pieces, |other, _| other == place),
        _ => keep(pieces, |_, _| rng.f64() < share),
    }
}
