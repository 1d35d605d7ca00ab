//! A running container that can be used from the runtime of any test.

use std::fmt::Debug;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use testcontainers::core::{CmdWaitFor, ExecCommand, IntoContainerPort};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt};
use tokio::runtime::Runtime;

use crate::ports::free_ports;
use crate::reaper;

/// The runtime of the connections to Docker. A test's own runtime ends with the test; this one lasts as long as the
/// shared containers.
static DOCKER: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("docker")
        .enable_all()
        .build()
        .expect("a runtime for Docker could not be started")
});

/// How often a start is tried if another process has taken a port meanwhile, and how often a freeze.
const ATTEMPTS: usize = 5;

/// The description of a container.
pub(crate) struct Spec {
    /// The image's name and tag, as `scripts/stores` prepares them.
    pub(crate) image: (&'static str, &'static str),
    /// The number of host ports on 127.0.0.1 that lead into the container.
    pub(crate) ports: usize,
    /// Where the host ports lead.
    pub(crate) inner: Inner,
    /// The environment variable that can name a running store instead, for the message of a failure.
    pub(crate) variable: &'static str,
}

/// The ports inside of a container.
pub(crate) enum Inner {
    /// Each host port leads to this one.
    One(u16),
    /// Each host port leads to the same port inside, for servers that announce their address to clients.
    Same,
    /// Each host port leads to another one of these, for servers that announce an address where a proxy listens.
    Announced(Vec<u16>),
}

impl Inner {
    /// Returns the port inside for each host port.
    fn ports(&self, outer: &[u16]) -> Vec<u16> {
        match self {
            Self::One(port) => vec![*port; outer.len()],
            Self::Same => outer.to_vec(),
            Self::Announced(ports) => ports.clone(),
        }
    }

    /// Returns the addresses that the servers announce, if a proxy listens there.
    pub(crate) fn announced(&self) -> Option<Vec<String>> {
        match self {
            Self::Announced(ports) => Some(ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()),
            Self::One(_) | Self::Same => None,
        }
    }
}

pub(crate) struct Container {
    name: String,
    ports: Vec<u16>,
    // Only `drop` takes it.
    inner: Option<Arc<ContainerAsync<GenericImage>>>,
}

impl Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("name", &self.name)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Starts a container. `command` gets the ports inside. Returns when the container runs, which may be before the
    /// server is ready.
    ///
    /// # Panics
    ///
    /// Panics if there is no Docker or no such image. The message says what to do.
    pub(crate) async fn start(spec: &Spec, command: impl Fn(&[u16]) -> Vec<String>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let (image, tag) = spec.image;
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let ports = free_ports(spec.ports);
            let inner = spec.inner.ports(&ports);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            // Process ids are reused, and two machines may share a daemon, so the name has a random part.
            let name = format!("cache-test-{}-{number}-{:08x}", std::process::id(), fastrand::u32(..));
            let mut request = GenericImage::new(image, tag)
                .with_container_name(&name)
                .with_cmd(command(&inner))
                .with_label("cache-test", image)
                .with_startup_timeout(Duration::from_secs(120));
            for (&port, &inner) in ports.iter().zip(&inner) {
                request = request.with_mapped_port(port, inner.tcp());
            }
            reaper::remove_at_exit(&name);
            match run(start(request)).await {
                Ok(container) => {
                    return Self {
                        name,
                        ports,
                        inner: Some(Arc::new(container)),
                    };
                }
                Err(error) if error.contains("already allocated") || error.contains("already in use") => {
                    failure = Some(error);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        panic!(
            "the container {image}:{tag} could not be started: {}\n\
             Run `scripts/stores up`, which starts Docker and prepares the images, or set {} to a running store.",
            failure.unwrap_or_default(),
            spec.variable,
        );
    }

    /// Returns `127.0.0.1:port` for each host port. A restart does not change them.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
    }

    /// Kills every process in the container. Connections break without a clean shutdown.
    pub(crate) async fn kill(&self) {
        self.with("be stopped", |c| async move { c.stop_with_timeout(Some(0)).await })
            .await;
    }

    /// Starts the container again after [`kill`](Self::kill).
    pub(crate) async fn restart(&self) {
        self.with("be restarted", |c| async move { c.start().await }).await;
    }

    /// Freezes the processes: connections stay open, and nothing answers.
    pub(crate) async fn freeze(&self) {
        self.with("be frozen", |c| async move {
            for _ in 1..ATTEMPTS {
                // On a busy machine, the system may not catch all processes at once, and then lets them go again.
                if c.pause().await.is_ok() {
                    return Ok(());
                }
            }
            c.pause().await
        })
        .await;
    }

    /// Ends [`freeze`](Self::freeze).
    pub(crate) async fn thaw(&self) {
        self.with("be thawed", |c| async move { c.unpause().await }).await;
    }

    /// Runs a command inside the container, and waits until it ends.
    ///
    /// # Panics
    ///
    /// Panics if the command fails.
    pub(crate) async fn exec(&self, command: Vec<String>) {
        let what = format!("run {command:?}");
        self.with(&what, |c| async move {
            let command = ExecCommand::new(command).with_cmd_ready_condition(CmdWaitFor::exit_code(0));
            c.exec(command).await.map(|_| ())
        })
        .await;
    }

    /// Returns the container's output so far, for a message.
    pub(crate) async fn logs(&self) -> String {
        let inner = self.inner();
        run(async move {
            let out = inner.stdout_to_vec().await.unwrap_or_default();
            let err = inner.stderr_to_vec().await.unwrap_or_default();
            format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&err))
        })
        .await
    }

    fn inner(&self) -> Arc<ContainerAsync<GenericImage>> {
        self.inner.clone().expect("present until dropped")
    }

    async fn with<F, R>(&self, what: &str, action: F)
    where
        F: FnOnce(Arc<ContainerAsync<GenericImage>>) -> R,
        R: Future<Output = Result<(), testcontainers::TestcontainersError>> + Send + 'static,
    {
        if let Err(error) = run(action(self.inner())).await {
            panic!("the container {} could not {what}: {error}", self.name);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Removed on Docker's runtime, since `testcontainers` cannot be dropped outside of one. Waits, so that a test
        // leaves nothing behind.
        let Some(container) = self.inner.take() else { return };
        let (done, wait) = std::sync::mpsc::channel::<()>();
        DOCKER.spawn(async move {
            drop(container);
            drop(done);
        });
        let _ = wait.recv_timeout(Duration::from_secs(20));
    }
}

async fn start(request: ContainerRequest<GenericImage>) -> Result<ContainerAsync<GenericImage>, String> {
    request.start().await.map_err(|error| error.to_string())
}

/// Runs the future on Docker's runtime.
async fn run<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    match DOCKER.spawn(future).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("Docker's runtime has ended: {error}"),
        },
    }
}
