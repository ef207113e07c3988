//! The modules of the host and what each imports, read from the sources.
//!
//! Code under `#[cfg(test)]` does not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{Attribute, ItemMod, ItemUse, UseTree, visit::Visit};

use crate::sources::{root, rust_files};

/// The path of a module below the crate, such as `store::sqlite`. The crate itself is empty.
pub(crate) type ModulePath = Vec<String>;

/// The modules of a crate, each a file, with the modules that it names.
#[derive(Debug, Default)]
pub(crate) struct Imports(pub(crate) BTreeMap<ModulePath, BTreeSet<ModulePath>>);

impl Imports {
    /// Reads all files below a crate's `src`, a path in the workspace. `main.rs` is left out: it is another crate.
    ///
    /// # Panics
    ///
    /// If a file cannot be read or parsed.
    pub(crate) fn read(src: &Path) -> Self {
        let files = rust_files(src).into_iter().filter(|file| !file.ends_with("main.rs"));
        let sources = files.map(|file| {
            let text = fs::read_to_string(root().join(&file)).expect("a readable source");
            (module_path(file.strip_prefix(src).expect("a file below src")), text)
        });
        Self::of(&sources.collect())
    }

    /// Reads sources by the path of their module.
    ///
    /// # Panics
    ///
    /// If a source is not Rust.
    pub(crate) fn of(sources: &BTreeMap<ModulePath, String>) -> Self {
        let imports = sources.iter().map(|(module, text)| {
            let parsed =
                syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
            let mut reader = Reader { module: module.clone(), paths: Vec::new() };
            if !is_for_tests(&parsed.attrs) {
                reader.visit_file(&parsed);
            }
            let named = reader.paths.into_iter().map(|path| longest_module(sources, path));
            (module.clone(), named.filter(|named| named != module).collect())
        });
        Self(imports.collect())
    }

    /// Finds a circle of imports. Imports between a module and the modules inside it do not count.
    /// Returns the modules of the circle in order, the first one again at the end.
    pub(crate) fn circle(&self) -> Option<Vec<ModulePath>> {
        let mut done = BTreeSet::new();
        self.0.keys().find_map(|start| self.circle_from(start, &mut Vec::new(), &mut done))
    }

    fn circle_from(
        &self,
        module: &ModulePath,
        way: &mut Vec<ModulePath>,
        done: &mut BTreeSet<ModulePath>,
    ) -> Option<Vec<ModulePath>> {
        if let Some(start) = way.iter().position(|passed| passed == module) {
            return Some(way[start..].iter().chain([module]).cloned().collect());
        }
        if done.contains(module) {
            return None;
        }
        way.push(module.clone());
        let siblings = self.0[module].iter().filter(|next| !is_inside(next, module));
        let circle = siblings.into_iter().find_map(|next| self.circle_from(next, way, done));
        way.pop();
        done.insert(module.clone());
        circle
    }
}

/// Returns whether one of two modules is inside the other.
fn is_inside(one: &ModulePath, other: &ModulePath) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn module_path(file: &Path) -> ModulePath {
    let path = file.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "lib").collect()
}

/// Returns the longest beginning of a path that is a module. The rest is an item in that module.
fn longest_module(sources: &BTreeMap<ModulePath, String>, mut path: ModulePath) -> ModulePath {
    while !sources.contains_key(&path) {
        path.pop();
    }
    path
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// Collects the paths that start with `crate`, `super` or `self`, as paths below the crate.
struct Reader {
    module: ModulePath,
    paths: Vec<ModulePath>,
}

impl Reader {
    fn add(&mut self, segments: &[String]) {
        let mut path = match segments.first().map(String::as_str) {
            Some("crate") => ModulePath::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(path.pop()),
                name => path.push(name.to_owned()),
            }
        }
        self.paths.push(path);
    }

    fn add_tree(&mut self, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_tree(before, &path.tree);
                before.pop();
            }
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.add(before);
                before.pop();
            }
            UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                self.add(before);
                before.pop();
            }
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.add_tree(&mut Vec::new(), &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.module.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        syn::visit::visit_path(self, path);
    }
}
