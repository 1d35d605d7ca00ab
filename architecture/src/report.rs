//! The check of a checkout.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::arrows::{Arrow, Place, arrows};
use crate::circles::circles;
use crate::module::Tree;
use crate::order::{self, Order};
use crate::walks;

/// What [`check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// The number of crates.
    pub crates: usize,
    /// The number of files.
    pub files: usize,
    /// The number of arrows between files.
    pub arrows: usize,
    /// The faults, each with its file and line.
    pub faults: Vec<String>,
}

/// Checks all crates below `root`, which contains `ARCHITECTURE.md`.
///
/// # Errors
/// Fails if a file cannot be read, or if `ARCHITECTURE.md` has no order, or has one for a crate that does not exist.
pub fn check(root: &Path) -> Result<Report, String> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .map_err(|error| format!("{}: {error}", root.join("ARCHITECTURE.md").display()))?;
    let mut orders = order::parse(&text)?;
    let mut report = Report::default();
    let folders = crates(root)?;
    report.faults.extend(walks::faults(root, &folders, &text));
    for folder in folders {
        let order = orders.remove(&folder);
        let src = root.join(&folder).join("src");
        for start in roots(&src)? {
            let tree = Tree::read(&src, &start)?;
            let house = House {
                folder: &folder,
                tree: &tree,
                arrows: arrows(&tree),
            };
            report.crates += 1;
            report.files += tree.files.len();
            report.arrows += house.arrows.len();
            report.faults.extend(house.circles());
            // The order applies to the library. A program in the same folder uses it from outside.
            if let Some(order) = order.as_ref().filter(|_| start.ends_with("lib.rs")) {
                report.faults.extend(house.against(order));
            }
        }
    }
    match orders.keys().next() {
        Some(folder) => Err(format!(
            "ARCHITECTURE.md gives the rooms of `{folder}`, which is no crate here"
        )),
        None => Ok(report),
    }
}

/// Returns the folders of all crates, including examples and tools, relative to `root`.
fn crates(root: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for parent in ["", "benchmarks", "examples"] {
        let folder = root.join(parent);
        if !folder.is_dir() {
            continue;
        }
        for entry in entries(&folder)? {
            if entry.join("Cargo.toml").is_file() && entry.join("src").is_dir() {
                let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push(if parent.is_empty() {
                    name
                } else {
                    format!("{parent}/{name}")
                });
            }
        }
    }
    if found.is_empty() {
        return Err(format!("there is no crate in {}", root.display()));
    }
    Ok(found)
}

/// Returns the root files of a crate's library and programs.
fn roots(src: &Path) -> Result<Vec<PathBuf>, String> {
    let mut roots: Vec<PathBuf> = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().collect();
    let programs = src.join("bin");
    if programs.is_dir() {
        roots.extend(entries(&programs)?);
    }
    roots.retain(|root| root.is_file());
    Ok(roots)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let fault = |error| format!("{}: {error}", folder.display());
    let read = std::fs::read_dir(folder).map_err(fault)?;
    let mut entries = read
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    entries.sort();
    Ok(entries)
}

/// One crate and its order.
struct House<'a> {
    folder: &'a str,
    tree: &'a Tree,
    arrows: BTreeMap<Arrow, Place>,
}

impl House<'_> {
    fn path(&self, file: usize) -> String {
        format!("{}/src/{}", self.folder, self.tree.files[file].path.display())
    }

    /// Returns the room of a file: the folder or file directly in `src`. Returns `None` for the root, which is above
    /// all rooms.
    fn room(&self, file: usize) -> Option<String> {
        let path = &self.tree.files[file].path;
        let first = path.iter().next()?;
        let room = Path::new(first).file_stem()?.to_string_lossy().into_owned();
        (room != "lib").then_some(room)
    }

    fn line(&self, arrow: &Arrow, place: &Place) -> String {
        format!(
            "{}:{}: uses `{}` of {}",
            self.path(arrow.from),
            place.line,
            place.name,
            self.path(arrow.to)
        )
    }

    fn circles(&self) -> Vec<String> {
        let found = circles(self.tree.files.len(), self.arrows.keys());
        found
            .iter()
            .map(|circle| {
                let within = self
                    .arrows
                    .iter()
                    .filter(|(arrow, _)| circle.contains(&arrow.from) && circle.contains(&arrow.to));
                let lines: Vec<String> = within.map(|(arrow, place)| self.line(arrow, place)).collect();
                format!(
                    "{}: {} files in a circle:\n    {}",
                    self.folder,
                    circle.len(),
                    lines.join("\n    ")
                )
            })
            .collect()
    }

    fn against(&self, order: &Order) -> Vec<String> {
        let mut faults = Vec::new();
        let mut seen = HashSet::new();
        for file in 0..self.tree.files.len() {
            let Some(room) = self.room(file) else { continue };
            if order.place(&room).is_none() {
                faults.push(format!(
                    "{}: `{room}` is no room of `{}` in ARCHITECTURE.md: add it there, or move the file",
                    self.path(file),
                    self.folder
                ));
            }
            seen.insert(room);
        }
        for room in order.names().iter().filter(|room| !seen.contains(*room)) {
            faults.push(format!(
                "ARCHITECTURE.md: the room `{room}` of `{}` has no file: remove it there",
                self.folder
            ));
        }
        for (arrow, place) in &self.arrows {
            let (Some(from), Some(to)) = (self.room(arrow.from), self.room(arrow.to)) else {
                continue;
            };
            let (Some(above), Some(below)) = (order.place(&from), order.place(&to)) else {
                continue;
            };
            if from != to && below >= above {
                faults.push(format!(
                    "{}, but `{from}` does not stand after `{to}` in ARCHITECTURE.md",
                    self.line(arrow, place)
                ));
            }
        }
        faults
    }
}
