//! Removes the containers of this process when it has ended, for any reason.
//!
//! Shared containers are in statics, which are never dropped, and a killed process drops nothing at all. So a small
//! shell reads from a pipe. When the process ends, the system closes the pipe, and the shell removes the containers
//! that it has read.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const SCRIPT: &str = r#"
names=
while read -r name; do names="$names $name"; done
exec docker rm --force --volumes $names
"#;

/// Registers a container. Call it before the container is created, so that none is missed.
pub(crate) fn remove_at_exit(container: &str) {
    static REAPER: OnceLock<Mutex<ChildStdin>> = OnceLock::new();
    if std::env::var("TESTCONTAINERS_COMMAND").as_deref() == Ok("keep") {
        return;
    }
    let mut reaper = REAPER
        .get_or_init(|| Mutex::new(start()))
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    writeln!(reaper, "{container}").expect("the shell that removes the containers at exit is gone");
}

#[expect(clippy::zombie_processes, reason = "it outlives this process, that is its purpose")]
fn start() -> ChildStdin {
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT])
        // In a process group of its own, so that Ctrl-C ends the tests and not the clean-up.
        .process_group(0)
        .stdin(Stdio::piped())
        // A reader of the tests' output must not wait for the clean-up.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` is needed to remove containers at exit");
    child.stdin.take().expect("stdin was piped")
}
