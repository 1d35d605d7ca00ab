//! The modules of a crate, and what each defines and imports.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

/// A module's place in its [`Tree`].
pub(crate) type Id = usize;

/// An import, or a re-export.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// Whether the item is a re-export.
    pub(crate) is_re_export: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) parent: Option<Id>,
    /// The file of the module, by its place in [`Tree::files`].
    pub(crate) file: usize,
    pub(crate) children: HashMap<String, Id>,
    pub(crate) defines: HashSet<String>,
    pub(crate) imports: HashMap<String, Import>,
    pub(crate) globs: Vec<Import>,
}

pub(crate) struct File {
    /// Relative to the crate's `src`.
    pub(crate) path: PathBuf,
    pub(crate) syntax: syn::File,
    pub(crate) module: Id,
    /// Whether the file only declares modules and re-exports.
    pub(crate) is_face: bool,
}

/// The modules below one root file.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the crate with the root file `root`, which is directly in `src`.
    pub(crate) fn read(src: &Path, root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.modules.push(Module::default());
        let children_in = root.parent().unwrap_or(src).to_owned();
        tree.read_file(src, root, &children_in, 0)?;
        Ok(tree)
    }

    fn read_file(&mut self, src: &Path, path: &Path, children_in: &Path, module: Id) -> Result<(), String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let syntax = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = self.files.len();
        self.modules[module].file = file;
        let items = syntax.items.clone();
        let is_face = items
            .iter()
            .filter(|item| !is_test(attributes(item)))
            .all(|item| matches!(item, Item::Mod(inner) if inner.content.is_none()) || matches!(item, Item::Use(_)));
        self.files.push(File {
            path: path.strip_prefix(src).unwrap_or(path).to_owned(),
            syntax,
            module,
            is_face,
        });
        self.read_items(src, &items, children_in, module, file)
    }

    fn read_items(
        &mut self,
        src: &Path,
        items: &[Item],
        children_in: &Path,
        module: Id,
        file: usize,
    ) -> Result<(), String> {
        for item in items {
            if is_test(attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let id = self.modules.len();
                    self.modules.push(Module {
                        parent: Some(module),
                        file,
                        ..Module::default()
                    });
                    self.modules[module].children.insert(name.clone(), id);
                    let below = children_in.join(&name);
                    match &inner.content {
                        Some((_, items)) => self.read_items(src, items, &below, id, file)?,
                        None => {
                            let flat = children_in.join(format!("{name}.rs"));
                            let path = if flat.is_file() { flat } else { below.join("mod.rs") };
                            self.read_file(src, &path, &below, id)?;
                        }
                    }
                }
                Item::Use(item) => {
                    for (name, import) in named_imports(item) {
                        let module = &mut self.modules[module];
                        match name {
                            Some(name) => drop(module.imports.insert(name, import)),
                            None => module.globs.push(import),
                        }
                    }
                }
                other => {
                    if let Some(name) = defined(other) {
                        self.modules[module].defines.insert(name);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the imports of a `use` item, each with the name that it introduces. A glob introduces none.
fn named_imports(item: &ItemUse) -> Vec<(Option<String>, Import)> {
    type Named = (Option<String>, Vec<String>, usize);
    fn walk(tree: &UseTree, path: &mut Vec<String>, found: &mut Vec<Named>) {
        let mut add = |name: Option<String>, last: Option<&syn::Ident>, line: usize| {
            let mut path = path.clone();
            // `use a::{self}` imports `a`.
            path.extend(last.filter(|last| *last != "self").map(ToString::to_string));
            let name = name.map(|name| {
                if name == "self" {
                    path.last().cloned().unwrap_or(name)
                } else {
                    name
                }
            });
            found.push((name, path, line));
        };
        match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                walk(&inner.tree, path, found);
                path.pop();
            }
            UseTree::Name(inner) => {
                let line = inner.ident.span().start().line;
                add(Some(inner.ident.to_string()), Some(&inner.ident), line);
            }
            UseTree::Rename(inner) => {
                // `as _` imports a trait without a name. It gets a name that nothing else can have.
                let name = match inner.rename.to_string() {
                    name if name == "_" => format!("_ {}", inner.ident),
                    name => name,
                };
                add(Some(name), Some(&inner.ident), inner.ident.span().start().line);
            }
            UseTree::Glob(inner) => add(None, None, inner.star_token.spans[0].start().line),
            UseTree::Group(inner) => {
                for tree in &inner.items {
                    walk(tree, path, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(&item.tree, &mut Vec::new(), &mut found);
    let is_re_export = !matches!(item.vis, Visibility::Inherited);
    let import = |path, line| Import {
        path,
        line,
        is_re_export,
    };
    found
        .into_iter()
        .map(|(name, path, line)| (name, import(path, line)))
        .collect()
}

/// Returns the imports of a `use` item.
pub(crate) fn imports(item: &ItemUse) -> impl Iterator<Item = Import> {
    named_imports(item).into_iter().map(|(_, import)| import)
}

fn defined(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::TraitAlias(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Returns whether an item with these attributes is compiled only for tests: unit tests, doc tests of a README,
/// schedules.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string().replace(' ', "");
        attribute.path().is_ident("cfg")
            && (condition == "test" || condition == "doctest" || condition.starts_with("all(test,"))
    })
}
