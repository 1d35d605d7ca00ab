//! Checks a checkout: `architecture-check [FOLDER]`. Default: the current folder. Exits with 1 if it finds a fault.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    match architecture_check::check(&root) {
        Ok(report) => {
            for fault in &report.faults {
                eprintln!("{fault}");
            }
            println!(
                "architecture: {} crates, {} files, {} arrows, {} faults",
                report.crates,
                report.files,
                report.arrows,
                report.faults.len()
            );
            ExitCode::from(u8::from(!report.faults.is_empty()))
        }
        Err(message) => {
            eprintln!("architecture: error: {message}");
            ExitCode::from(2)
        }
    }
}
