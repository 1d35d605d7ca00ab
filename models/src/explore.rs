//! Visits every state, and reports which properties do not hold.

use stateright::{Checker, HasDiscoveries, Model};

use crate::action::Action;
use crate::protocol::{IT_ENDS, Protocol};
use crate::state::State;

/// The descriptions of the steps of a path, from the initial state on.
pub type Trace = Vec<String>;

/// The result of an exploration.
#[derive(Debug)]
pub struct Explored {
    /// The number of states.
    pub states: usize,
    /// The properties that do not hold, each with the shortest path to a state that violates it.
    pub violations: Vec<(&'static str, Trace)>,
}

/// Visits every state of `protocol`, or as many as it takes to violate each of its properties.
#[must_use]
pub fn explore(protocol: Protocol) -> Explored {
    let checker = protocol
        .checker()
        .finish_when(HasDiscoveries::AllFailures)
        .spawn_bfs()
        .join();
    let mut violations: Vec<_> = checker
        .discoveries()
        .into_iter()
        .filter(|(property, _)| *property != IT_ENDS)
        .map(|(property, path)| (property, trace(checker.model(), path.into_vec())))
        .collect();
    if checker.discovery(IT_ENDS).is_none() {
        violations.push((IT_ENDS, Trace::new()));
    }
    violations.sort_by_key(|(property, _)| *property);
    Explored {
        states: checker.unique_state_count(),
        violations,
    }
}

fn trace(protocol: &Protocol, path: Vec<(State, Option<Action>)>) -> Trace {
    let first = path.first().map(|(state, _)| {
        let invalidations = state.invalidations.iter().flatten();
        let invalidations: Vec<_> = invalidations.map(|it| (it.kind, it.process)).collect();
        format!("{:?}, invalidations {invalidations:?}", state.store)
    });
    let steps = path
        .iter()
        .filter_map(|(state, action)| action.map(|action| protocol.describe(state, action)));
    first.into_iter().chain(steps).collect()
}

/// Prints a trace.
pub fn print_trace(trace: &Trace) {
    for step in trace {
        println!("    {step}");
    }
}
