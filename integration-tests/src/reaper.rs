//! Removes this process's containers when it has ended, however it ended.
//!
//! Shared containers live in statics, which are never dropped, and a killed process drops nothing at all. So a small
//! shell waits at the other end of a pipe: the system closes the pipe with the process, and the shell removes what it was
//! told about.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const SCRIPT: &str = r#"
names=
while read -r name; do names="$names $name"; done
exec docker rm --force --volumes $names
"#;

/// To be called before the container is created, so that none is missed.
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
        // A group of its own: Ctrl-C ends the tests, not the clean-up after them.
        .process_group(0)
        .stdin(Stdio::piped())
        // Whoever reads the tests' output to its end must not wait for the clean-up.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` is needed to remove containers at exit");
    child.stdin.take().expect("stdin was piped")
}
