//! Every spelling of the names of urgencies, byte by byte.
//!
//! A tree is built for the question whether a pattern can capture a name (see [`crate::capture`]) and
//! then dropped. Words of messages are looked up in [`Names`] instead.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_plugin_api::Urgency;

use crate::names::{Names, folded_character};

/// The last character that may differ from another in case alone.
const LAST_WITH_CASE: char = '\u{1FFFF}';

/// A tree of bytes, in which each way from the root to an end spells a name.
pub(crate) struct Spellings {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    next: BTreeMap<u8, usize>,
    /// Next node for a letter in any case.
    next_letter: BTreeMap<char, usize>,
    is_end: bool,
}

impl Spellings {
    /// Spells the names of urgencies.
    pub(crate) fn of(names: &Names) -> Self {
        let mut spellings = Self { nodes: vec![Node::default()] };
        for urgency in Urgency::ALL {
            let letters = urgency.as_str().chars();
            spellings.insert(letters.map(|c| (c, vec![c, c.to_ascii_uppercase()])));
        }
        let variants = variants(names.own().flat_map(str::chars).collect());
        for name in names.own() {
            spellings.insert(name.chars().map(|c| (c, variants[&c].clone())));
        }
        spellings
    }

    /// Returns the node at which every spelling begins.
    pub(crate) fn root(&self) -> usize {
        0
    }

    /// Returns the next node for a byte.
    pub(crate) fn after(&self, node: usize, byte: u8) -> Option<usize> {
        self.nodes[node].next.get(&byte).copied()
    }

    /// Returns whether a name ends at a node.
    pub(crate) fn is_end(&self, node: usize) -> bool {
        self.nodes[node].is_end
    }

    /// Returns the bytes that lead on from a node, with the next nodes.
    pub(crate) fn bytes_after(&self, node: usize) -> impl Iterator<Item = (u8, usize)> {
        self.nodes[node].next.iter().map(|(byte, node)| (*byte, *node))
    }

    /// Returns every byte that occurs in a name.
    pub(crate) fn bytes(&self) -> BTreeSet<u8> {
        self.nodes.iter().flat_map(|node| node.next.keys().copied()).collect()
    }

    fn insert(&mut self, letters: impl Iterator<Item = (char, Vec<char>)>) {
        let mut node = self.root();
        for (letter, variants) in letters {
            let target = match self.nodes[node].next_letter.get(&letter) {
                Some(target) => *target,
                None => self.push(),
            };
            self.nodes[node].next_letter.insert(letter, target);
            for variant in variants {
                self.insert_variant(node, variant, target);
            }
            node = target;
        }
        self.nodes[node].is_end = true;
    }

    fn insert_variant(&mut self, mut node: usize, variant: char, target: usize) {
        let mut buffer = [0; 4];
        let bytes = variant.encode_utf8(&mut buffer).as_bytes();
        let Some((last, first)) = bytes.split_last() else { return };
        for byte in first {
            let next = match self.after(node, *byte) {
                Some(next) => next,
                None => self.push(),
            };
            self.nodes[node].next.insert(*byte, next);
            node = next;
        }
        self.nodes[node].next.insert(*last, target);
    }

    fn push(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }
}

/// Returns the characters that fold to each of these.
fn variants(folded: BTreeSet<char>) -> BTreeMap<char, Vec<char>> {
    let mut variants: BTreeMap<_, Vec<_>> = folded
        .into_iter()
        .map(|c| (c, if c > LAST_WITH_CASE { vec![c] } else { vec![] }))
        .collect();
    if variants.is_empty() {
        return variants;
    }
    for character in '\0'..=LAST_WITH_CASE {
        if let Some(known) = variants.get_mut(&folded_character(character)) {
            known.push(character);
        }
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spellings(own: &[&str]) -> Spellings {
        let own = own.iter().map(|name| (name.to_string(), Urgency::High)).collect();
        Spellings::of(&Names::new(own, true).expect("names"))
    }

    fn spells(spellings: &Spellings, text: &str) -> bool {
        let end = text.bytes().try_fold(spellings.root(), |node, byte| spellings.after(node, byte));
        end.is_some_and(|node| spellings.is_end(node))
    }

    #[test]
    fn names_are_spelt_as_they_are_looked_up() {
        let own = ["P1", "Élevé", "kritisch", "緊急", "high-cpu", "🔥"];
        let names = own.iter().map(|name| (name.to_string(), Urgency::High)).collect();
        let names = Names::new(names, true).expect("names");
        let spellings = spellings(&own);
        for text in [
            "low",
            "HIGH",
            "cRitICal",
            "p1",
            "P1",
            "élevé",
            "ÉLEVÉ",
            "KRİTISCH",
            "\u{212A}ritisch",
            "緊急",
            "High\u{2011}CPU",
            "🔥",
            "",
            "hi",
            "highs",
            "P",
            "P2",
            "eleve",
            "CRİTİCAL",
            "緊",
        ] {
            let is_known = names.urgency(text).is_some();
            assert_eq!(spells(&spellings, text), is_known, "{text}");
        }
    }

    #[test]
    fn no_character_without_a_place_in_the_tree_has_case() {
        for character in ('\u{20000}'..=char::MAX).filter(|c| *c > LAST_WITH_CASE) {
            assert_eq!(folded_character(character), character);
        }
    }
}
