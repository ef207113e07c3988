//! Pages of Markdown, and the code blocks and tables in them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;
use tocsin_tests::libraries;

/// Page of the documentation.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Path from the top folder, such as `docs/api.md`.
    pub(crate) path: String,
    /// Whole text.
    pub(crate) text: String,
}

/// Block of code between two fences of a [`Page`].
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Path of the page, as [`Page::path`].
    pub(crate) page: String,
    /// Line of the opening fence.
    pub(crate) line: usize,
    /// Word after the fence, without attributes.
    pub(crate) language: String,
    /// Text between the fences, without their indentation.
    pub(crate) text: String,
    /// Comment above the block, if there is one.
    pub(crate) marker: Option<Marker>,
}

/// Comment above a [`Block`] that names another check than running the block in a scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// `<!-- not run: REASON -->`: only the names of commands, options and targets are checked.
    NotRun,
    /// `<!-- run by: FILE -->`: a test in that file reads the page and runs the block.
    RunBy(String),
    /// `<!-- checked as: Cargo.toml -->`: TOML that is no configuration of a host.
    CheckedAs(String),
    /// `<!-- needs: PROGRAM -->`: if the program is not installed, the block is left out, which the
    /// test prints.
    Needs(String),
}

impl Page {
    /// Reads one page by its path from the top folder.
    #[track_caller]
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(libraries::workspace().join(path));
        let text = text.unwrap_or_else(|error| panic!("`{path}`: {error}"));
        Self { path: path.into(), text }
    }

    /// Reads all pages.
    pub(crate) fn all() -> Vec<Self> {
        let top = libraries::workspace();
        let named = ["README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "SECURITY"];
        let mut paths: Vec<_> = named.map(|name| top.join(format!("{name}.md"))).into();
        add_pages(&top.join("docs"), &mut paths);
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(top).expect("it lies there");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        paths.iter().map(relative).map(|path| Self::read(&path)).collect()
    }

    /// Returns each [`Block`] of the page.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut marker) = (Vec::new(), None);
        let mut lines = self.text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let indent = line.len() - line.trim_start().len();
            let Some(info) = line.trim_start().strip_prefix("```") else {
                if !line.trim().is_empty() {
                    marker = self.marker(at, line.trim());
                }
                continue;
            };
            let inner = lines.by_ref().map(|(_, line)| line);
            let inner = inner.take_while(|line| line.trim() != "```");
            let text = inner.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()));
            blocks.push(Block {
                page: self.path.clone(),
                line: at + 1,
                language: info.split(',').next().unwrap_or_default().into(),
                text: text.collect(),
                marker: marker.take(),
            });
        }
        blocks
    }

    fn marker(&self, at: usize, line: &str) -> Option<Marker> {
        let (kind, value) = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.split_once(": ")?;
        Some(match kind {
            "not run" => Marker::NotRun,
            "run by" => Marker::RunBy(value.into()),
            "checked as" => Marker::CheckedAs(value.into()),
            "needs" => Marker::Needs(value.into()),
            _ => panic!("{}:{}: `{kind}` is not known here", self.path, at + 1),
        })
    }

    /// Returns the rows of all tables, each as a list of cells.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        let rows = self.text.lines().map(str::trim);
        let rows = rows.filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
        rows.map(cells).collect()
    }
}

/// Returns the texts of the code spans of a line.
pub(crate) fn code_spans(line: &str) -> Vec<String> {
    static SPAN: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("``(.+?)``|`([^`]+)`").expect("a pattern"));
    let spans = SPAN.captures_iter(line);
    spans.filter_map(|span| Some(span.get(1).or(span.get(2))?.as_str().trim().into())).collect()
}

/// Splits a row of a table at its bars. Within a cell, a bar is written `\|`.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\0");
    let row = row.strip_prefix('|').unwrap_or(&row);
    let row = row.strip_suffix('|').unwrap_or(row);
    row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

fn add_pages(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of pages");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            add_pages(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}
