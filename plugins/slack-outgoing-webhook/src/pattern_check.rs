//! Check of `urgency_pattern`: can the pattern ever capture the name of an urgency?
//!
//! The check walks through the automaton of the pattern. "No" is certain. "Yes" is not: every
//! look-around is assumed to hold, and a search that takes too many steps ends with "yes".

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regex_automata::{
    PatternID,
    nfa::thompson::{NFA, State},
    util::{
        look::{Look, LookSet},
        primitives::StateID,
    },
};

use crate::{name_trie::NameTrie, urgency_names::UrgencyNames};

/// Steps of the automaton before a search gives up; they take about 10 ms.
const STEP_LIMIT: usize = 400_000;

/// Most kinds of look-around in a pattern that is searched. A pattern with more is taken to capture
/// a name.
const LOOK_LIMIT: usize = 4;

/// Returns whether a group of a pattern may capture the name of an urgency in some text.
pub(crate) fn can_capture_name(pattern: &str, group: &str, names: &UrgencyNames) -> bool {
    let Ok(nfa) = NFA::new(pattern) else { return true };
    let info = nfa.group_info();
    let slots = info.to_index(PatternID::ZERO, group);
    let Some((start, end)) = slots.and_then(|index| info.slots(PatternID::ZERO, index)) else {
        return false;
    };
    let trie = NameTrie::of(names);
    let search = Search { nfa: &nfa, start, end, names: &trie };
    search.group_matches_a_name() && search.some_text_is_captured()
}

/// Search through the automaton of a pattern for a way on which a group captures a name.
struct Search<'a> {
    nfa: &'a NFA,
    /// Slot that the automaton sets at the start of the group.
    start: usize,
    /// Slot that the automaton sets at the end of the group.
    end: usize,
    names: &'a NameTrie,
}

/// State of the group in a [`Thread`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// The group has captured nothing so far, or a text that is no name.
    Nothing,
    /// The group is open, and its text is the beginning of a name.
    Open(usize),
    /// The group has captured a name.
    Name,
}

/// Thread of the automaton: a state, and what the group has captured on the way to it.
type Thread = (StateID, Progress);

impl Search<'_> {
    /// Returns whether the group alone matches a name, without the rest of the pattern.
    fn group_matches_a_name(&self) -> bool {
        let is_start = |state: &State| match state {
            State::Capture { slot, next, .. } if slot.as_usize() == self.start => Some(*next),
            _ => None,
        };
        let starts = self.nfa.states().iter().filter_map(is_start);
        let mut to_visit: Vec<_> = starts.map(|state| (state, self.names.root())).collect();
        let mut visited = BTreeSet::new();
        while let Some((id, node)) = to_visit.pop() {
            if !visited.insert((id, node)) {
                continue;
            }
            let state = self.nfa.state(id);
            match state {
                State::Capture { slot, .. } if slot.as_usize() == self.end => {
                    if self.names.is_end(node) {
                        return true;
                    }
                }
                _ if state.is_epsilon() => {
                    to_visit.extend(epsilons(state).into_iter().map(|next| (next, node)));
                }
                _ => {
                    let bytes = self.names.bytes_after(node);
                    to_visit
                        .extend(bytes.filter_map(|(byte, node)| Some((step(state, byte)?, node))));
                }
            }
        }
        false
    }

    /// Searches for a text in which the whole pattern captures a name. Of several ways to match,
    /// the automaton prefers the first, so at the end of a pattern, `\w+?` captures one letter
    /// only.
    fn some_text_is_captured(&self) -> bool {
        let looks: Vec<Look> = self.nfa.look_set_any().iter().collect();
        if looks.len() > LOOK_LIMIT {
            return true;
        }
        let symbols = self.symbols();
        let first = vec![(self.nfa.start_unanchored(), Progress::Nothing)];
        let mut visited = BTreeSet::from([first.clone()]);
        let mut to_visit = VecDeque::from([(first, true)]);
        let mut steps = 0;
        while let Some((seeds, is_start)) = to_visit.pop_front() {
            for held in subsets(&looks) {
                if held.contains(Look::Start) && !is_start {
                    continue;
                }
                let (threads, matched) = self.closure(&seeds, held);
                if matched == Some(Progress::Name) {
                    return true;
                }
                if held.contains(Look::End) {
                    continue;
                }
                for byte in &symbols {
                    steps += threads.len();
                    let seeds = self.advanced(&threads, *byte);
                    if !seeds.is_empty() && visited.insert(seeds.clone()) {
                        to_visit.push_back((seeds, false));
                    }
                }
                if steps > STEP_LIMIT {
                    return true;
                }
            }
        }
        false
    }

    /// Follows transitions that take no byte, in the order of preference, up to the first match.
    /// Threads behind a match are never used. Returns the threads before the match, and the state
    /// of the group in the match.
    fn closure(&self, seeds: &[Thread], held: LookSet) -> (Vec<Thread>, Option<Progress>) {
        let (mut threads, mut visited) = (Vec::new(), BTreeSet::new());
        let mut to_visit: Vec<Thread> = seeds.iter().rev().copied().collect();
        while let Some((id, progress)) = to_visit.pop() {
            if !visited.insert(id) {
                continue;
            }
            match self.nfa.state(id) {
                State::Match { .. } => return (threads, Some(progress)),
                State::Look { look, .. } if !held.contains(*look) => {}
                State::Capture { slot, next, .. } => {
                    to_visit.push((*next, self.captured(slot.as_usize(), progress)));
                }
                state if state.is_epsilon() => {
                    let next = epsilons(state).into_iter().rev();
                    to_visit.extend(next.map(|next| (next, progress)));
                }
                _ => threads.push((id, progress)),
            }
        }
        (threads, None)
    }

    /// Returns the state of the group after a slot was set.
    fn captured(&self, slot: usize, progress: Progress) -> Progress {
        match progress {
            _ if slot == self.start => Progress::Open(self.names.root()),
            Progress::Open(node) if slot == self.end && self.names.is_end(node) => Progress::Name,
            _ if slot == self.end => Progress::Nothing,
            _ => progress,
        }
    }

    /// Returns the threads after a byte.
    fn advanced(&self, threads: &[Thread], byte: u8) -> Vec<Thread> {
        let (mut seeds, mut known) = (Vec::new(), BTreeSet::new());
        for (id, progress) in threads {
            let Some(next) = step(self.nfa.state(*id), byte) else { continue };
            if known.insert(next) {
                let progress = match progress {
                    Progress::Open(node) => {
                        self.names.after(*node, byte).map_or(Progress::Nothing, Progress::Open)
                    }
                    other => *other,
                };
                seeds.push((next, progress));
            }
        }
        seeds
    }

    /// Returns bytes that stand for all 256: every byte of a name, and one of each class of bytes
    /// that the automaton treats alike.
    fn symbols(&self) -> Vec<u8> {
        let in_names = self.names.bytes();
        let mut others = BTreeMap::new();
        for byte in (0..=u8::MAX).filter(|byte| !in_names.contains(byte)) {
            others.entry(self.nfa.byte_classes().get(byte)).or_insert(byte);
        }
        in_names.iter().chain(others.values()).copied().collect()
    }
}

/// Returns the states after a state that takes no byte, in the order of preference.
fn epsilons(state: &State) -> Vec<StateID> {
    match state {
        State::Union { alternates } => alternates.to_vec(),
        State::BinaryUnion { alt1, alt2 } => vec![*alt1, *alt2],
        State::Capture { next, .. } | State::Look { next, .. } => vec![*next],
        _ => Vec::new(),
    }
}

/// Returns the next state for a byte.
fn step(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches_byte(byte),
        State::Dense(transitions) => transitions.matches_byte(byte),
        _ => None,
    }
}

/// Returns every combination of look-arounds that may hold at one place.
fn subsets(looks: &[Look]) -> impl Iterator<Item = LookSet> {
    (0..1_u32 << looks.len()).map(|choice| {
        let chosen = looks.iter().enumerate().filter(move |(at, _)| choice >> at & 1 == 1);
        chosen.fold(LookSet::empty(), |set, (_, look)| set.insert(*look))
    })
}

#[cfg(test)]
mod tests {
    use tocsin_plugin_api::Urgency;

    use super::*;

    fn can(pattern: &str) -> bool {
        can_capture_name(pattern, "urgency", &UrgencyNames::default())
    }

    #[test]
    fn accepts_patterns_that_capture_a_name_in_some_text() {
        for pattern in [
            r"(?<urgency>low)",
            r"(?<urgency>HIGH)",
            r"(?<urgency>cRiTiCaL|P1)",
            r"(?i)\bsev:(?<urgency>\w+)",
            r"sev=(?<urgency>\S+?)(?:\s|$)",
            r"(?<urgency>.*)",
            r"(?<urgency>.+?)\b",
            r"^(?<urgency>P1|low)$",
            r"(?m)^level: (?<urgency>[a-z]{3,8}?)$",
            r"(?<urgency>[chlmrite]+.*)",
            r"(?<urgency>h|high)$",
            r"(?<urgency>h|high)!",
            r"(?<urgency>\w{3})",
            r"(?:(?<urgency>\w+),)+",
            r"(x)|(?<urgency>high)",
            r"\Bx(?<urgency>low)",
            r"(?<urgency>(?:hi|lo)(?:gh|w))",
            r"(?s-u:.)(?<urgency>low)|\pL{3}(?<other>x)",
            r"(?<urgency>\p{Lu}{4})",
            r"(?<urgency>[^ ]{6}) and 【.+】",
            r"(?<urgency>low){1,3}",
            r"(?<urgency>\w+)+?\B",
        ] {
            assert!(can(pattern), "{pattern}");
        }
    }

    #[test]
    fn rejects_groups_that_match_no_name() {
        for pattern in [
            r"(?<urgency>P1)",
            r"(?<urgency>)",
            r"(?<urgency>\d+)",
            r"(?<urgency>\w)",
            r"(?<urgency>\w)+",
            r"(?<urgency>highs?t)",
            r"(?<urgency> high)",
            r"(?<urgency>sev-\w+)",
            r"(?<urgency>:high:)",
            r"(?<urgency>[a-c]+|[x-z]+)",
            r"(?<urgency>\w{9,})",
            r"(?<urgency>h[^iI]gh)",
            r"(?i)(?<urgency>kritisch|P\d)",
            r"(?<urgency>[^\s\S])",
            r"(?<urgency>\P{ASCII}+)",
            r"(?:[ab].{30})(?<urgency>P1)",
        ] {
            assert!(!can(pattern), "{pattern}");
        }
    }

    #[test]
    fn rejects_groups_that_the_pattern_keeps_from_a_name() {
        for pattern in [
            r"sev:(?<urgency>\w+?)",
            r"(?<urgency>h|high)",
            r"(?<urgency>.*?)",
            r"(?<urgency>\w{0,8}?)",
            r"low|(?<urgency>low)",
            r"\w+|(?<urgency>high)",
            r"(?<urgency>high){0}",
            r"(?<urgency>low)[^\s\S]",
            r"(?<urgency>low$)x",
            r"x(?<urgency>^low)",
        ] {
            assert!(!can(pattern), "{pattern}");
        }
    }

    #[test]
    fn knows_the_operators_own_words() {
        let own = [("P1".to_owned(), Urgency::Critical), ("Élevé".to_owned(), Urgency::High)];
        let names = UrgencyNames::new(own.into(), true).expect("names");
        for pattern in
            [r"(?<urgency>P\d)", r"(?<urgency>p1)", r"(?<urgency>ÉLEVÉ)", r"(?<urgency>low)"]
        {
            assert!(can_capture_name(pattern, "urgency", &names), "{pattern}");
        }
        for pattern in [r"(?<urgency>P[2-9])", r"(?<urgency>eleve)", r"(?<urgency>\w)"] {
            assert!(!can_capture_name(pattern, "urgency", &names), "{pattern}");
        }
    }

    #[test]
    fn accepts_patterns_that_take_too_many_steps() {
        assert!(can(r"[ab].{40}\w{40}(?<urgency>\w+?)"));
    }
}
