//! A process that carries out cache operations for a test. See [`integration_tests::worker`].

use std::process::ExitCode;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(store) = std::env::args().nth(1) else {
        eprintln!("cache-worker: error: give the URL of a store");
        return ExitCode::from(2);
    };
    match integration_tests::worker::serve(&store).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cache-worker: error: {error}");
            ExitCode::FAILURE
        }
    }
}
