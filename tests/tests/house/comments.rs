//! Counts two properties of doc comments: the first word (a pronoun or a wh-word makes a reader look for
//! its noun elsewhere), and links to other items. The test cannot judge if a sentence is clear; only a
//! reader can.
//!
//! `cargo test -p tocsin-tests --test house -- --nocapture comments` prints the figures.

use std::{
    collections::BTreeMap,
    fmt, fs, iter,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

use crate::sources::{root, rust_files};

/// Most doc comments, in percent, that may open with one of [`OPENINGS`] or [`QUANTIFIERS`].
const MOST_OPENINGS: f64 = 7.0;

/// Fewest doc comments, in percent, that must link to an item.
const FEWEST_LINKS: f64 = 15.0;

/// Pronouns and wh-words that always count as an opening.
const OPENINGS: &[&str] = &[
    // Wh-words.
    "what",
    "whatever",
    "who",
    "whoever",
    "whom",
    "whose",
    "which",
    "whichever",
    "whether",
    "where",
    "wherever",
    "when",
    "whenever",
    "how",
    "however",
    "why",
    // Personal and possessive pronouns.
    "i",
    "me",
    "my",
    "we",
    "us",
    "our",
    "you",
    "your",
    "it",
    "its",
    "itself",
    "he",
    "him",
    "his",
    "she",
    "her",
    "they",
    "them",
    "their",
    "theirs",
    "themselves",
    // Demonstrative pronouns.
    "this",
    "that",
    "these",
    "those",
    "such",
    // Indefinite pronouns.
    "one",
    "ones",
    "some",
    "somebody",
    "someone",
    "something",
    "anybody",
    "anyone",
    "anything",
    "everybody",
    "everyone",
    "everything",
    "nobody",
    "nothing",
    "others",
];

/// Words that count as an opening only in front of one of [`AFTER_A_QUANTIFIER`]: "All of them" and
/// "Both that are due" count, "All alerts" does not.
const QUANTIFIERS: &[&str] =
    &["all", "another", "any", "both", "each", "either", "few", "many", "most", "neither", "none"];

/// Words that turn one of [`QUANTIFIERS`] into a pronoun.
const AFTER_A_QUANTIFIER: &[&str] = &["of", "that", "which", "who", "whose"];

/// A link whose text is code, as rustdoc resolves it by itself, or a link to a path.
static LINK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\[`[^`\]]+`\]|\[[^\]]+\]\(([\w:]+(?:!|\(\))?(?:#[\w-]+)?)\)").expect("a pattern")
});

/// A run of doc lines on one item.
#[derive(Debug, PartialEq)]
struct Comment {
    text: String,
    is_inner: bool,
}

impl Comment {
    /// The comment as one line, without its code blocks.
    fn prose(&self) -> String {
        let mut is_code = false;
        let lines = self.text.lines().map(str::trim).filter(|line| {
            let is_fence = line.starts_with("```");
            is_code ^= is_fence;
            !is_fence && !is_code
        });
        lines.collect::<Vec<_>>().join(" ")
    }

    fn opens_with_a_pronoun(&self) -> bool {
        let prose = self.prose();
        // "It's" counts as "It"; a comment that opens with code or a link opens with no word.
        let mut words =
            prose.trim_start_matches(['#', '*', '_', ' ']).split_whitespace().map(|word| {
                let word = word.split(['\'', '’', '-']).next().unwrap_or_default();
                word.trim_end_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
            });
        let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        OPENINGS.contains(&&*first)
            || (QUANTIFIERS.contains(&&*first) && AFTER_A_QUANTIFIER.contains(&&*second))
    }

    fn has_a_link(&self) -> bool {
        LINK.is_match(&self.prose())
    }
}

/// Returns the doc comments of a source text. `/** */` and `#[doc]` are used nowhere and do not count.
fn comments(source: &str) -> Vec<Comment> {
    let mut found: Vec<Comment> = Vec::new();
    // Only code ends a run: blank lines and plain comments leave the next doc line on the same item.
    let mut run_goes_on = false;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest);
        let (token, after) = rest.split_at(length);
        if let Some(line) = doc_line(token) {
            match found.last_mut() {
                Some(last) if run_goes_on && last.is_inner == line.is_inner => {
                    last.text.push('\n');
                    last.text.push_str(&line.text);
                }
                _ => found.push(line),
            }
            run_goes_on = true;
        } else if !first.is_whitespace() && !token.starts_with("//") && !token.starts_with("/*") {
            run_goes_on = false;
        }
        rest = after;
    }
    found
}

/// Returns the line of a doc comment, if the token is one.
fn doc_line(token: &str) -> Option<Comment> {
    let outer = token.strip_prefix("///").filter(|text| !text.starts_with('/'));
    let (text, is_inner) = match outer {
        Some(text) => (text, false),
        None => (token.strip_prefix("//!")?, true),
    };
    Some(Comment { text: text.into(), is_inner })
}

/// Returns the length in bytes of the token at the start of a text that is not empty: a comment, a
/// string, a character, a word, or one other character.
fn token_length(text: &str) -> usize {
    let to = |end: Option<usize>| end.unwrap_or(text.len());
    let first = text.chars().next().map_or(0, char::len_utf8);
    if text.starts_with("//") {
        return to(text.find('\n'));
    }
    if text.starts_with("/*") {
        return to(text.find("*/").map(|end| end + 2));
    }
    if text.starts_with('"') {
        return quoted_length(text, '"');
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let mut inside = inside.chars();
        let is_character =
            matches!((inside.next(), inside.next()), (Some('\\'), _) | (_, Some('\'')));
        return if is_character { quoted_length(text, '\'') } else { first };
    }
    let word = to(text.find(|c: char| !c.is_alphanumeric() && c != '_'));
    if !matches!(&text[..word], "r" | "br" | "cr") {
        return word.max(first);
    }
    let hashes = text[word..].find(|c| c != '#').unwrap_or_default();
    if !text[word + hashes..].starts_with('"') {
        return word;
    }
    let inside = word + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    to(text[inside..].find(&close).map(|end| inside + end + close.len()))
}

/// Returns the length of a literal between two quotes.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(end, _)| end + 1)
}

/// Figures of a set of comments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Figures {
    comments: usize,
    openings: usize,
    links: usize,
}

impl Figures {
    fn of(source: &str) -> Self {
        let mut figures = Self::default();
        for comment in comments(source) {
            figures.comments += 1;
            figures.openings += usize::from(comment.opens_with_a_pronoun());
            figures.links += usize::from(comment.has_a_link());
        }
        figures
    }

    fn add(&mut self, other: Self) {
        self.comments += other.comments;
        self.openings += other.openings;
        self.links += other.links;
    }

    fn percent(self, part: usize) -> f64 {
        100.0 * part as f64 / self.comments.max(1) as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { comments, openings, links } = *self;
        let (openings_share, links_share) = (self.percent(openings), self.percent(links));
        write!(
            f,
            "{comments:5} comments, {openings:4} open with a pronoun or wh-word ({openings_share:4.1} %), \
             {links:4} link to an item ({links_share:4.1} %)"
        )
    }
}

/// Returns the source folders that count, relative to the workspace.
fn source_folders() -> Vec<PathBuf> {
    let plugins = fs::read_dir(root().join("plugins")).expect("a folder of plugins");
    let mut folders: Vec<_> = plugins
        .map(|entry| Path::new("plugins").join(entry.expect("an entry").file_name()))
        .collect();
    folders.extend(["host", "plugin-api", "plugin-kit", "tests"].map(PathBuf::from));
    folders.sort();
    folders.into_iter().map(|one| one.join("src")).filter(|one| root().join(one).is_dir()).collect()
}

/// Returns the names under which a file's figures are summed: its crate and, in the host, its folder.
fn groups(folder: &Path, file: &Path) -> Vec<String> {
    let within = file.strip_prefix(folder).expect("the file lies in the folder");
    let package = folder.parent().expect("a package").display().to_string();
    let subfolder = (package == "host").then(|| match within.components().count() {
        1 => "host/src".into(),
        _ => format!(
            "host/src/{}",
            within.components().next().expect("a folder").as_os_str().display()
        ),
    });
    iter::once(package).chain(subfolder).collect()
}

#[test]
fn doc_comments_open_with_a_noun_or_a_verb_and_link_to_items() {
    let mut all = Figures::default();
    let mut by_group: BTreeMap<String, Figures> = BTreeMap::new();
    let mut by_file = Vec::new();
    for folder in source_folders() {
        for file in rust_files(&folder) {
            let figures =
                Figures::of(&fs::read_to_string(root().join(&file)).expect("a source file"));
            all.add(figures);
            for group in groups(&folder, &file) {
                by_group.entry(group).or_default().add(figures);
            }
            by_file.push((figures, file));
        }
    }
    by_file.sort_by_key(|(figures, _)| std::cmp::Reverse(figures.openings));
    let row = |name: &str, figures: Figures| format!("{name:38}{figures}\n");
    let table: String = by_group.iter().map(|(name, figures)| row(name, *figures)).collect();
    let worst = by_file.iter().filter(|(figures, _)| figures.openings > 0).take(20);
    let worst: String =
        worst.map(|(figures, file)| row(&file.display().to_string(), *figures)).collect();
    let report = format!("{table}{}\nfiles with the most openings:\n{worst}", row("all", all));
    println!("{report}");
    let openings = all.percent(all.openings);
    let links = all.percent(all.links);
    assert!(openings <= MOST_OPENINGS, "{openings:.1} % > {MOST_OPENINGS} %\n{report}");
    assert!(links >= FEWEST_LINKS, "{links:.1} % < {FEWEST_LINKS} %\n{report}");
}

#[test]
fn a_run_of_doc_lines_is_one_comment() {
    let source = "//! A file.\n//! More.\n\n/// A type.\n///\n/// More.\nstruct A {\n    /// A field.\n    \
                  a: u8,\n    /// Another.\n    b: u8,\n}\n/// A function.\nfn f() {}\n";
    let texts: Vec<_> = comments(source).into_iter().map(|comment| comment.prose()).collect();
    assert_eq!(texts, ["A file. More.", "A type.  More.", "A field.", "Another.", "A function."]);
}

#[test]
fn only_doc_comments_count() {
    let source = r##"
        // What a plain comment says.
        /* What a block says. */
        const A: &str = "\"\n/// What a string says.\\";
        const B: &str = r#"
            /// What a "raw" string says.
        "#;
        const C: [char; 3] = ['"', '\'', '\\'];
        //// What four slashes say.
        fn d<'a>(r#type: &'a str) -> &'a str { r#type }
        /// The only comment.
        struct E;
    "##;
    let texts: Vec<_> = comments(source).into_iter().map(|comment| comment.text).collect();
    assert_eq!(texts, [" The only comment."]);
}

#[test]
fn doc_comments_in_macros_count() {
    let source = "macro_rules! m {\n () => {\n /// What it makes.\n struct M;\n } }";
    assert_eq!(Figures::of(source), Figures { comments: 1, openings: 1, links: 0 });
}

#[test]
fn pronouns_and_wh_words_are_openings() {
    let opens = |text: &str| Comment { text: text.into(), is_inner: false }.opens_with_a_pronoun();
    for text in [
        "What the host makes of it.",
        "Whether it runs.",
        " where it lies",
        "It's there.",
        "*This* is it.",
        "These, too.",
        "One of them.",
        "Its name.",
        "All of them.",
        "None that is due.",
        "```\ncode\n```\nThat was an example.",
    ] {
        assert!(opens(text), "{text}");
    }
    for text in [
        "",
        "Returns what it found.",
        "Identity, size and times of a file.",
        "All alerts.",
        "Each plugin once.",
        "`This` in code.",
        "[`It`], linked.",
        "Items of a list.",
        "Onerous work.",
        "# Errors",
    ] {
        assert!(!opens(text), "{text}");
    }
}

#[test]
fn links_to_items_count_and_links_to_pages_do_not() {
    let links = |text: &str| Comment { text: text.into(), is_inner: false }.has_a_link();
    for text in [
        "Fails like [`open`].",
        "See [`Store`](crate::store::Store).",
        "See [the store](crate::store).",
        "See [the\nlimits](Limits::MAX).",
        "See [how](Self::open()).",
    ] {
        assert!(links(text), "{text}");
    }
    for text in [
        "No link.",
        "See `[0]` and `tokens[1]`.",
        "See [the page](https://example.com/page).",
        "See [below](#below).",
        "```\nlet a = [`b`];\n```",
    ] {
        assert!(!links(text), "{text}");
    }
}
