//! The order of rooms in `ARCHITECTURE.md`.

use std::collections::HashMap;

/// The rooms of one crate.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// The place of each room. Rooms with the same place do not use each other.
    places: HashMap<String, usize>,
    names: Vec<String>,
}

impl Order {
    pub(crate) fn place(&self, room: &str) -> Option<usize> {
        self.places.get(room).copied()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

/// Parses the orders of all crates from the code blocks of `text` that have the language `rooms`.
///
/// A line has a crate's folder and its rooms in order: `cache-engine: event < store < tags`. Rooms separated by commas
/// share a place. A line that begins with white space continues the line before.
pub(crate) fn parse(text: &str) -> Result<HashMap<String, Order>, String> {
    let mut orders = HashMap::new();
    for line in statements(text) {
        let (folder, rooms) = line
            .split_once(':')
            .ok_or_else(|| format!("`{line}` is no order of rooms: write `crate: room < room, room`"))?;
        let mut order = Order::default();
        for (place, peers) in rooms.split('<').enumerate() {
            for room in peers.split(',').map(str::trim) {
                if room.is_empty() {
                    return Err(format!("`{line}` has a place without a room"));
                }
                if order.places.insert(room.to_owned(), place).is_some() {
                    return Err(format!("`{line}` names the room `{room}` twice"));
                }
                order.names.push(room.to_owned());
            }
        }
        if orders.insert(folder.trim().to_owned(), order).is_some() {
            return Err(format!("the rooms of `{}` are given twice", folder.trim()));
        }
    }
    if orders.is_empty() {
        return Err("ARCHITECTURE.md has no code block marked `rooms`".to_owned());
    }
    Ok(orders)
}

fn statements(text: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside && line.trim_end() == "```rooms";
            continue;
        }
        if !inside || line.trim().is_empty() {
            continue;
        }
        match statements.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => statements.push(line.trim().to_owned()),
        }
    }
    statements
}
