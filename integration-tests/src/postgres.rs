//! A PostgreSQL server, which is a program of this machine and not a container: the tests want a database of transactions,
//! and Debian has one.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;

use crate::{external, ports};

const VARIABLE: &str = "CACHE_TEST_POSTGRES";

/// The programs of PostgreSQL that the tests use.
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "pg_isready", "createdb"];

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// How long a server may take to start, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the server until the test process closes the pipe, which the system does for a killed one.
const SUPERVISOR: &str = r#"
folder=$1
shift
"$@" >"$folder/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$folder"
"#;

/// A server with an empty folder of its own, on a free port of 127.0.0.1. It ends with the value, or with the process.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    databases: AtomicUsize,
    _supervisor: ChildStdin,
}

impl Postgres {
    /// Returns the server that all tests of this process share.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Postgres> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// Starts a server for one test.
    ///
    /// # Panics
    ///
    /// Panics if there is no PostgreSQL, or if it does not start.
    pub async fn start() -> Self {
        let programs = programs();
        for _ in 0..3 {
            if let Some(server) = Self::start_on(&programs, ports::free_ports(1)[0]).await {
                return server;
            }
        }
        panic!("PostgreSQL finds no free port");
    }

    /// Returns `None` if another process has taken the port.
    async fn start_on(programs: &Path, port: u16) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("cache-test-postgres-{}-{port}", std::process::id()));
        std::fs::create_dir(&folder).expect("a temporary folder can be created");
        let user = unprivileged();
        if let Some(user) = &user {
            run(Command::new("chown").arg(user).arg(&folder));
        }
        let data = folder.join("data");
        run(as_user(user.as_deref(), &programs.join("initdb"))
            .args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .current_dir(&folder));
        let mut server = as_user(user.as_deref(), &programs.join("postgres"));
        server
            .arg("-D")
            .arg(&data)
            .args(["-F", "-h", "127.0.0.1", "-p", &port.to_string()]);
        for setting in [
            "unix_socket_directories=",
            "max_connections=100",
            "shared_buffers=16MB",
            "autovacuum=off",
        ] {
            server.args(["-c", setting]);
        }
        let supervisor = supervise(&folder, &server);
        let server = Self {
            programs: programs.to_owned(),
            port,
            databases: AtomicUsize::new(0),
            _supervisor: supervisor,
        };
        let begun = Instant::now();
        while !server.is_ready() {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            if log.contains("Address already in use") {
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(server)
    }

    fn is_ready(&self) -> bool {
        let mut ready = Command::new(self.programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        ready.status().is_ok_and(|status| status.success())
    }

    /// Returns `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Creates a database for a test. Returns its name.
    pub fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = Command::new(self.programs.join("createdb"));
        create.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", &name]);
        run(&mut create);
        name
    }

    /// Returns the URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        url_at(&self.address(), database)
    }
}

/// Returns the URL of a database at `host:port`, which may be a proxy.
pub fn url_at(address: &str, database: &str) -> String {
    format!("postgres://postgres@{address}/{database}?sslmode=disable")
}

/// Returns the folder with the programs of PostgreSQL.
fn programs() -> PathBuf {
    if let Some(folder) = external::variable(VARIABLE) {
        let folder = PathBuf::from(folder);
        for program in PROGRAMS {
            let path = folder.join(program);
            assert!(path.exists(), "{VARIABLE}: there is no {}", path.display());
        }
        return folder;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    versions.sort();
    std::env::split_paths(&path)
        .chain(versions.into_iter().rev())
        .find(|folder| PROGRAMS.iter().all(|program| folder.join(program).exists()))
        .unwrap_or_else(|| {
            panic!("there is no PostgreSQL: run scripts/postgres, or set {VARIABLE} to the folder of its programs")
        })
}

/// Returns the user to run the server as, if this process is root: PostgreSQL refuses to run as root.
fn unprivileged() -> Option<String> {
    let id = Command::new("id").arg("-u").output().expect("`id` is needed");
    if id.stdout.trim_ascii() != b"0" {
        return None;
    }
    let users = ["postgres", "nobody"];
    let exists = |user: &&str| {
        Command::new("id")
            .arg(user)
            .output()
            .is_ok_and(|id| id.status.success())
    };
    let user = users.into_iter().find(exists);
    Some(
        user.expect("root needs the user `postgres` or `nobody` to run PostgreSQL as")
            .to_owned(),
    )
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            let group = if user == "nobody" { "nogroup" } else { user };
            command
                .args(["--reuid", user, "--regid", group, "--clear-groups", "--"])
                .arg(program);
            command
        }
    }
}

#[expect(clippy::zombie_processes, reason = "it ends when the pipe is closed")]
fn supervise(folder: &Path, server: &Command) -> ChildStdin {
    let mut supervisor = Command::new("sh");
    supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(folder);
    supervisor.arg(server.get_program()).args(server.get_args());
    let mut child = supervisor
        .current_dir(folder)
        // In a process group of its own, so that Ctrl-C ends the tests and not the clean-up.
        .process_group(0)
        .stdin(Stdio::piped())
        // A reader of the tests' output must not wait for the clean-up.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("`sh` is needed to run PostgreSQL");
    child.stdin.take().expect("stdin was piped")
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
    if !output.status.success() {
        let _ = std::io::stderr().write_all(&output.stderr);
        panic!("{:?} failed", command.get_program());
    }
}
