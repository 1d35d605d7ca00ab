//! A headless Chromium, controlled and observed through the DevTools protocol.
//!
//! The messages are read as plain JSON. Crates with a type for each message drop messages of a newer Chromium that they
//! do not know, and a dropped "was fetched" would look like "was not fetched".

use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(60);

/// The variable for another browser than the one on the path.
const VARIABLE: &str = "CACHE_TEST_CHROMIUM";

type Replies = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A browser with an empty cache of its own, and one page in it.
pub struct Chromium {
    commands: mpsc::UnboundedSender<Value>,
    replies: Replies,
    events: mpsc::UnboundedReceiver<Value>,
    session: Option<String>,
    sent: u64,
    complaints: Vec<String>,
    _process: Process,
}

impl Chromium {
    /// # Panics
    ///
    /// Panics if there is no Chromium. The message says what to do.
    pub async fn start() -> Self {
        let mut process = Process::start();
        let socket = connect(&process.devtools().await).await;
        let (commands, to_send) = mpsc::unbounded_channel();
        let (to_keep, events) = mpsc::unbounded_channel();
        let replies = Replies::default();
        tokio::spawn(converse(socket, to_send, Arc::clone(&replies), to_keep));
        let mut browser = Self {
            commands,
            replies,
            events,
            session: None,
            sent: 0,
            complaints: Vec::new(),
            _process: process,
        };
        let target = browser
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.enable", json!({})).await;
        browser.call("Network.enable", json!({})).await;
        browser.call("Log.enable", json!({})).await;
        browser.call("Runtime.enable", json!({})).await;
        browser
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let (reply, replied) = oneshot::channel();
        self.replies.lock().unwrap().insert(self.sent, reply);
        let mut command = json!({ "id": self.sent, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.send(command).unwrap();
        let mut reply = timeout(PATIENCE, replied).await.expect(method).expect(method);
        assert_eq!(reply["error"], Value::Null, "{method}");
        reply["result"].take()
    }

    /// Visits a page as if by typing its address, and waits until it is complete. Goes through another page first,
    /// since the same address again would be a reload.
    pub async fn visit(&mut self, url: &str) -> Vec<Fetched> {
        self.load("Page.navigate", json!({ "url": "about:blank" })).await;
        self.load("Page.navigate", json!({ "url": url })).await
    }

    /// Reloads the page: as by `F5`, or with `anew` a reload that bypasses caches.
    pub async fn reload(&mut self, anew: bool) -> Vec<Fetched> {
        self.load("Page.reload", json!({ "ignoreCache": anew })).await
    }

    async fn load(&mut self, how: &str, parameters: Value) -> Vec<Fetched> {
        self.note_complaints();
        let result = self.call(how, parameters).await;
        assert_eq!(result.get("errorText"), None, "{result}");
        let mut traffic = Traffic::default();
        let deadline = Instant::now() + PATIENCE;
        while !traffic.is_over() {
            let event = tokio::time::timeout_at(deadline, self.events.recv()).await;
            let Ok(event) = event else {
                panic!("the page does not end to load: {traffic:#?}")
            };
            let event = event.expect("the browser is still there");
            self.complaints.extend(complaint(&event));
            traffic.take(&event);
        }
        traffic.fetched
    }

    fn note_complaints(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.complaints.extend(complaint(&event));
        }
    }

    /// Returns what the browser has complained about since the last call: errors of scripts, and violations of policies.
    pub fn complaints(&mut self) -> Vec<String> {
        self.note_complaints();
        std::mem::take(&mut self.complaints)
    }

    /// Waits until an expression on the page is true.
    pub async fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression).await != json!(true) {
            if Instant::now() > deadline {
                let page = self.evaluate("document.body.innerText").await;
                panic!("{expression} does not come true: {}", page.as_str().unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Presses and releases a key, such as `Tab` or `Enter`.
    pub async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "ArrowDown" => (40, ""),
            _ => panic!("{key:?} has no code here"),
        };
        let event = |kind: &str| json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
        self.call("Input.dispatchKeyEvent", event("keyDown")).await;
        self.call("Input.dispatchKeyEvent", event("keyUp")).await;
    }

    /// Types a text into the element that has the focus.
    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses `Tab` until the element with this `id` has the focus.
    pub async fn tab_to(&mut self, id: &str) {
        for _ in 0..200 {
            if self.evaluate("document.activeElement.id").await == id {
                return;
            }
            self.press("Tab").await;
        }
        panic!("{id} is not reached by the keyboard");
    }

    /// Makes the window so wide, as on a phone.
    pub async fn narrow(&mut self, width: u32) {
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": true });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Returns the value of an expression on the page, after its promise has settled.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", parameters).await;
        assert_eq!(result.get("exceptionDetails"), None, "{expression}");
        result["result"]["value"].take()
    }
}

/// The source of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It came over the network.
    Fetched,
    /// It was revalidated over the network, and had not changed.
    Revalidated,
    /// It came from the browser's cache, without a request.
    OwnCache,
}

/// One resource of a page.
#[derive(Debug, Clone)]
pub struct Fetched {
    id: String,
    pub path: String,
    /// The status as the page sees it.
    pub status: u64,
    /// The status that came over the network, if there was a request.
    wire: Option<u64>,
    pub headers: HashMap<String, String>,
    from_cache: bool,
    expects_wire: bool,
    answered: bool,
    ended: bool,
}

impl Fetched {
    pub fn source(&self) -> Source {
        match self.wire {
            _ if self.from_cache => Source::OwnCache,
            Some(304) => Source::Revalidated,
            Some(_) => Source::Fetched,
            None => panic!("neither from the cache nor from the network: {self:?}"),
        }
    }

    fn is_over(&self) -> bool {
        // The two events about a response come in any order.
        self.ended && self.answered && (self.wire.is_some() || !self.expects_wire)
    }
}

/// Returns what an event complains about.
fn complaint(event: &Value) -> Option<String> {
    let said = &event["params"];
    match event["method"].as_str()? {
        "Log.entryAdded" if said["entry"]["level"] == "error" => Some(said["entry"]["text"].to_string()),
        "Runtime.exceptionThrown" => Some(said["exceptionDetails"].to_string()),
        _ => None,
    }
}

#[derive(Debug, Default)]
struct Traffic {
    fetched: Vec<Fetched>,
    /// The statuses from the network of requests whose first event has not arrived yet.
    early: HashMap<String, u64>,
    loaded: bool,
}

impl Traffic {
    fn is_over(&self) -> bool {
        self.loaded && self.fetched.iter().all(Fetched::is_over)
    }

    fn take(&mut self, event: &Value) {
        let (said, id) = (
            &event["params"],
            event["params"]["requestId"].as_str().unwrap_or_default(),
        );
        match event["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loaded = true,
            "Network.requestWillBeSent" => {
                let url = said["request"]["url"].as_str().unwrap();
                // If a page names no icon, the browser may request one at any time, and may not report how that ended.
                if url.starts_with("http") && !url.ends_with("/favicon.ico") {
                    self.fetched.push(Fetched {
                        id: id.to_owned(),
                        path: format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_default()),
                        status: 0,
                        wire: self.early.remove(id),
                        headers: HashMap::new(),
                        from_cache: false,
                        expects_wire: false,
                        answered: false,
                        ended: false,
                    });
                }
            }
            "Network.responseReceivedExtraInfo" => {
                let status = said["statusCode"].as_u64().unwrap();
                match self.of(id) {
                    Some(fetched) => fetched.wire = Some(status),
                    None => drop(self.early.insert(id.to_owned(), status)),
                }
            }
            "Network.loadingFailed" if self.of(id).is_some() => panic!("{event}"),
            _ => {
                let Some(fetched) = self.of(id) else { return };
                match event["method"].as_str().unwrap_or_default() {
                    "Network.requestServedFromCache" => fetched.from_cache = true,
                    "Network.responseReceived" => {
                        let response = &said["response"];
                        fetched.status = response["status"].as_u64().unwrap();
                        fetched.from_cache |= response["fromDiskCache"].as_bool().unwrap();
                        fetched.expects_wire = said["hasExtraInfo"].as_bool().unwrap();
                        fetched.answered = true;
                        let headers = response["headers"].as_object().unwrap().iter();
                        fetched.headers = headers
                            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
                            .collect();
                    }
                    "Network.loadingFinished" => fetched.ended = true,
                    _ => {}
                }
            }
        }
    }

    fn of(&mut self, id: &str) -> Option<&mut Fetched> {
        self.fetched.iter_mut().find(|fetched| fetched.id == id)
    }
}

/// Sends commands and passes on messages until one side is closed.
async fn converse(
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut to_send: mpsc::UnboundedReceiver<Value>,
    replies: Replies,
    events: mpsc::UnboundedSender<Value>,
) {
    let (mut sink, mut stream) = socket.split();
    loop {
        tokio::select! {
            command = to_send.recv() => {
                let Some(command) = command else { return };
                if sink.send(Message::text(command.to_string())).await.is_err() {
                    return;
                }
            }
            message = stream.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(Ok(said)) = message.to_text().map(serde_json::from_str::<Value>) else { continue };
                let _ = match said["id"].as_u64().and_then(|id| replies.lock().unwrap().remove(&id)) {
                    Some(reply) => reply.send(said).is_ok(),
                    None => events.send(said).is_ok(),
                };
            }
        }
    }
}

async fn connect(url: &str) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket
}

/// The browser's process and its profile, including its cache. Both are removed soon after this is dropped or this
/// process has ended, for any reason: the shell then reads the end of its input.
struct Process {
    program: String,
    profile: PathBuf,
    shell: Child,
}

const SCRIPT: &str = r#"
profile=$1
shift
command -v "$1" >/dev/null || exit
setsid "$@" </dev/null >/dev/null 2>&1 &
read -r end
# All of its processes: one that outlives the others would go on writing to the profile.
kill -KILL -$!
sleep 0.5
until rm -rf "$profile" 2>/dev/null; do sleep 0.1; done
"#;

impl Process {
    fn start() -> Self {
        let program = std::env::var(VARIABLE).unwrap_or_else(|_| "chromium".to_owned());
        let profile = std::env::temp_dir().join(format!("cache-test-browser-{:016x}", fastrand::u64(..)));
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "browser"])
            .arg(&profile)
            .arg(&program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-breakpad",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            // In a process group of its own, so that Ctrl-C ends the tests and not the clean-up.
            .process_group(0)
            .stdin(Stdio::piped())
            // A reader of the tests' output must not wait for the clean-up.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`sh` starts and ends the browser");
        Self {
            program,
            profile,
            shell,
        }
    }

    /// Returns the address of DevTools, which the browser writes to a file.
    async fn devtools(&mut self) -> String {
        let file = self.profile.join("DevToolsActivePort");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(said) = std::fs::read_to_string(&file)
                && let Some((port, path)) = said.trim().split_once('\n')
            {
                return format!("ws://127.0.0.1:{port}{path}");
            }
            let has_ended = self.shell.try_wait().unwrap().is_some();
            assert!(
                !has_ended && Instant::now() < deadline,
                "{} does not start.\n\
                 Run `scripts/browser`, which installs Chromium, or set {VARIABLE} to the program of a Chromium.",
                self.program
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}
