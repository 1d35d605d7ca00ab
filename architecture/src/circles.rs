//! Circles: files that use each other in a loop.

use std::collections::BTreeSet;

use crate::arrows::Arrow;

/// Returns the strongly connected components of more than one file, by Tarjan's algorithm.
pub(crate) fn circles<'a>(files: usize, arrows: impl Iterator<Item = &'a Arrow>) -> Vec<BTreeSet<usize>> {
    let mut targets = vec![Vec::new(); files];
    for arrow in arrows {
        targets[arrow.from].push(arrow.to);
    }
    let mut search = Search {
        targets,
        index: vec![None; files],
        low: vec![0; files],
        stack: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for file in 0..files {
        if search.index[file].is_none() {
            search.visit(file);
        }
    }
    search.found
}

struct Search {
    targets: Vec<Vec<usize>>,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    stack: Vec<usize>,
    next: usize,
    found: Vec<BTreeSet<usize>>,
}

impl Search {
    /// Visits a file and all files that it reaches. Returns the lowest index on the stack that can be reached from it.
    fn visit(&mut self, file: usize) -> usize {
        let own = self.next;
        self.next += 1;
        self.index[file] = Some(own);
        self.low[file] = own;
        self.stack.push(file);
        for target in self.targets[file].clone() {
            let reached = match self.index[target] {
                None => self.visit(target),
                Some(index) if self.stack.contains(&target) => index,
                Some(_) => continue,
            };
            self.low[file] = self.low[file].min(reached);
        }
        if self.low[file] == own {
            let mut circle = BTreeSet::new();
            while let Some(top) = self.stack.pop() {
                circle.insert(top);
                if top == file {
                    break;
                }
            }
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
        self.low[file]
    }
}
