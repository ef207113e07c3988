//! Trie of all spellings of the names of urgencies, byte by byte.
//!
//! A trie is built to [check a pattern](crate::pattern_check) and then dropped. Words of messages
//! are looked up in [`UrgencyNames`] instead.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_plugin_api::Urgency;

use crate::urgency_names::{UrgencyNames, folded_character};

/// Last character that may differ from another in case alone.
const LAST_WITH_CASE: char = '\u{1FFFF}';

/// Trie of bytes, in which each path from the root to an end spells a name.
pub(crate) struct NameTrie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    next: BTreeMap<u8, usize>,
    /// Next nodes by folded letters.
    next_letter: BTreeMap<char, usize>,
    is_end: bool,
}

impl NameTrie {
    /// Builds the trie of all names in every case.
    pub(crate) fn of(names: &UrgencyNames) -> Self {
        let mut trie = Self { nodes: vec![Node::default()] };
        for urgency in Urgency::ALL {
            let letters = urgency.as_str().chars();
            trie.insert(letters.map(|c| (c, vec![c, c.to_ascii_uppercase()])));
        }
        let variants = variants(names.own().flat_map(str::chars).collect());
        for name in names.own() {
            trie.insert(name.chars().map(|c| (c, variants[&c].clone())));
        }
        trie
    }

    /// Returns the node at which every name begins.
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

    /// Returns the bytes that can follow at a node, with the next nodes.
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

/// Returns, for each folded character, all characters that fold to it.
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

    fn trie(own: &[&str]) -> NameTrie {
        let own = own.iter().map(|name| (name.to_string(), Urgency::High)).collect();
        NameTrie::of(&UrgencyNames::new(own, true).expect("names"))
    }

    fn spells(trie: &NameTrie, text: &str) -> bool {
        let end = text.bytes().try_fold(trie.root(), |node, byte| trie.after(node, byte));
        end.is_some_and(|node| trie.is_end(node))
    }

    #[test]
    fn the_trie_spells_exactly_the_known_names() {
        let own = ["P1", "Élevé", "kritisch", "緊急", "high-cpu", "🔥"];
        let names = own.iter().map(|name| (name.to_string(), Urgency::High)).collect();
        let names = UrgencyNames::new(names, true).expect("names");
        let trie = trie(&own);
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
            assert_eq!(spells(&trie, text), is_known, "{text}");
        }
    }

    #[test]
    fn no_character_beyond_the_last_one_with_case_is_folded() {
        for character in ('\u{20000}'..=char::MAX).filter(|c| *c > LAST_WITH_CASE) {
            assert_eq!(folded_character(character), character);
        }
    }
}
