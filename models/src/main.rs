//! Explores the protocol. `scripts/model` runs it. With an argument, it runs only the scenarios with that text in their
//! names.

use std::process::ExitCode;
use std::time::Instant;

use cache_model::{Protocol, explore, large, print_trace};

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let (mut states, mut violations) = (0, 0);
    for config in large() {
        let name = config.name;
        if !name.contains(&wanted) {
            continue;
        }
        let began = Instant::now();
        let explored = explore(Protocol::new(config));
        println!(
            "{:9} states {:5.1} s  {name}",
            explored.states,
            began.elapsed().as_secs_f32()
        );
        for (property, path) in &explored.violations {
            println!("violated: {property}");
            print_trace(path);
        }
        states += explored.states;
        violations += explored.violations.len();
    }
    println!("model: {states} states, {violations} violations");
    if violations == 0 && states > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
