//! The arrows of one crate. An arrow leads from a file to a file whose definitions it uses.

use std::collections::{BTreeMap, HashSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::module::{Id, Tree, imports, is_test};

/// An arrow between two files, by their places in [`Tree::files`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Where an arrow was found, and the name that is used.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// Returns all arrows of a crate, each with the first place where it was found.
pub(crate) fn arrows(tree: &Tree) -> BTreeMap<Arrow, Place> {
    let mut found = Found {
        tree,
        arrows: BTreeMap::new(),
    };
    for (id, module) in tree.modules.iter().enumerate() {
        let imports = module.imports.values().chain(&module.globs);
        for import in imports.filter(|import| !import.is_re_export) {
            found.add(module.file, id, &import.path, import.line);
        }
    }
    for (from, file) in tree.files.iter().enumerate() {
        let mut names = Names {
            found: &mut found,
            from,
            module: file.module,
        };
        names.visit_file(&file.syntax);
    }
    found.arrows
}

struct Found<'a> {
    tree: &'a Tree,
    arrows: BTreeMap<Arrow, Place>,
}

impl Found<'_> {
    fn add(&mut self, from: usize, module: Id, path: &[String], line: usize) {
        let Some(to) = resolve(self.tree, module, path, &mut HashSet::new()) else {
            return;
        };
        let is_end = |file: usize| !self.tree.files[file].is_face;
        if from == to || !is_end(from) || !is_end(to) {
            return;
        }
        self.arrows.entry(Arrow { from, to }).or_insert_with(|| Place {
            line,
            name: path.join("::"),
        });
    }
}

/// Returns the file that defines `path` as seen from `module`. Returns `None` for names of other crates, and for a
/// whole module, which uses none of its parts yet.
fn resolve(tree: &Tree, module: Id, path: &[String], seen: &mut HashSet<(Id, String)>) -> Option<usize> {
    let mut at = module;
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            at = 0;
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                at = tree.modules[at].parent?;
                rest = &rest[1..];
            }
        }
        _ => {}
    }
    loop {
        let (name, after) = rest.split_first()?;
        let here = &tree.modules[at];
        if let Some(child) = here.children.get(name) {
            at = *child;
            rest = after;
            continue;
        }
        if here.defines.contains(name) {
            return Some(here.file);
        }
        if !seen.insert((at, name.clone())) {
            return None;
        }
        if let Some(import) = here.imports.get(name) {
            let mut whole = import.path.clone();
            whole.extend_from_slice(after);
            // An import of a name from a module of the same name resolves to itself, so it is skipped.
            return resolve(tree, at, &whole, seen);
        }
        return here.globs.iter().find_map(|glob| {
            let mut whole = glob.path.clone();
            whole.extend_from_slice(rest);
            resolve(tree, at, &whole, seen)
        });
    }
}

/// Collects the paths in a file's code.
struct Names<'a, 'b> {
    found: &'a mut Found<'b>,
    from: usize,
    module: Id,
}

impl Names<'_, '_> {
    fn add(&mut self, path: &[String], line: usize) {
        self.found.add(self.from, self.module, path, line);
    }

    /// Collects the paths among the tokens of a macro call.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_mark =
            |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(it)) if it.as_char() == mark);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Ident(first) => {
                    // A field, a variable of `quote!`, or the rest of a path that began before.
                    let is_part = at > 1 && ['.', '#', ':'].iter().any(|mark| is_mark(at - 2, *mark));
                    let mut path = vec![first.to_string()];
                    while is_mark(at, ':')
                        && is_mark(at + 1, ':')
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    // In `name: path`, the colon does not make `path` the rest of a path.
                    let is_field = at > 1 && is_mark(at - 2, ':') && !(at > 2 && is_mark(at - 3, ':'));
                    if !is_part || is_field {
                        self.add(&path, first.span().start().line);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_, '_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let outer = self.module;
        let inner = self.found.tree.modules[outer].children.get(&item.ident.to_string());
        if let Some(inner) = inner
            && item.content.is_some()
        {
            self.module = *inner;
            visit::visit_item_mod(self, item);
            self.module = outer;
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let line = first.ident.span().start().line;
            let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&names, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in imports(item).filter(|import| !import.is_re_export) {
            self.add(&import.path, import.line);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        visit::visit_macro(self, called);
        self.add_tokens(called.tokens.clone());
    }

    // `pub(in crate::…)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}
