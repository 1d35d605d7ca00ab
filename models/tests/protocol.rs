//! The protocol holds, in the parts of it that take no time to explore; `scripts/model` does the rest.

use cache_model::{Protocol, explore, small};

#[test]
fn the_protocol_holds() {
    for config in small() {
        let name = config.name;
        let explored = explore(Protocol::new(config));
        assert!(explored.violations.is_empty(), "{name}: {:#?}", explored.violations);
        println!("{name}: {} states", explored.states);
    }
}
