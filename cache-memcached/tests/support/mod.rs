//! A fake memcached in this process, which can be frozen, stopped and made to misbehave.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cache_core::{Backend, Error, Key, Prefix, SetOptions, Value};
use cache_memcached::{MemcachedBackend, MemcachedBackendBuilder};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf,
};
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub(crate) struct Fake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    mood: watch::Sender<Mood>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

/// A connection that is open.
struct Open(Fake);

impl Open {
    fn new(fake: &Fake) -> Self {
        fake.0.open.fetch_add(1, Ordering::SeqCst);
        Self(fake.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Default)]
struct State {
    items: HashMap<String, Item>,
    commands: Vec<String>,
    token: u64,
    max_value: Option<usize>,
    out_of_memory: bool,
    cas_is_off: bool,
    evicts_what_is_read: bool,
}

#[derive(Debug)]
struct Item {
    value: Vec<u8>,
    token: u64,
    expiry: Option<Instant>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Mood {
    frozen: bool,
    /// Connections opened before the last restart are closed.
    life: usize,
    refuses: bool,
    /// A line that is sent on every connection without a command.
    stray: Option<(usize, &'static str)>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            mood: watch::Sender::new(Mood::default()),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn freeze(&self) {
        self.0.mood.send_modify(|mood| mood.frozen = true);
    }

    pub(crate) fn thaw(&self) {
        self.0.mood.send_modify(|mood| mood.frozen = false);
    }

    /// Closes all connections and refuses new ones. The items stay, as in a network failure.
    pub(crate) fn vanish(&self) {
        self.0.mood.send_modify(|mood| {
            mood.life += 1;
            mood.refuses = true;
        });
    }

    /// Closes all connections, and nothing else happens to the server.
    pub(crate) fn hang_up(&self) {
        self.0.mood.send_modify(|mood| mood.life += 1);
    }

    pub(crate) fn come_back(&self) {
        self.0.mood.send_modify(|mood| mood.refuses = false);
    }

    /// Closes all connections and removes all items.
    pub(crate) fn restart(&self) {
        self.0.state.lock().unwrap().items.clear();
        self.0.mood.send_modify(|mood| mood.life += 1);
    }

    /// As [`restart`](Self::restart), and counts tokens from the beginning, as a server does that was started again.
    pub(crate) fn restart_counting(&self) {
        self.restart();
        self.0.state.lock().unwrap().token = 0;
    }

    /// Returns the token of an item.
    pub(crate) fn token(&self, key: &str) -> u64 {
        self.0.state.lock().unwrap().items[key].token
    }

    /// Gives an item another token, as memcached does when it moves the item in its memory.
    pub(crate) fn move_in_memory(&self, key: &str) {
        let mut state = self.0.state.lock().unwrap();
        state.token += 1;
        let token = state.token;
        state.items.get_mut(key).unwrap().token = token;
    }

    pub(crate) fn say_unasked(&self, line: &'static str) {
        self.0.mood.send_modify(|mood| {
            let count = mood.stray.map_or(0, |(count, _)| count) + 1;
            mood.stray = Some((count, line));
        });
    }

    pub(crate) fn limit_values(&self, bytes: usize) {
        self.0.state.lock().unwrap().max_value = Some(bytes);
    }

    pub(crate) fn run_out_of_memory(&self, out: bool) {
        self.0.state.lock().unwrap().out_of_memory = out;
    }

    pub(crate) fn switch_cas_off(&self) {
        self.0.state.lock().unwrap().cas_is_off = true;
    }

    /// Evicts an item after it was read.
    pub(crate) fn evict_what_is_read(&self) {
        self.0.state.lock().unwrap().evicts_what_is_read = true;
    }

    /// Returns the commands since the last call, without their values.
    pub(crate) fn take_commands(&self) -> Vec<String> {
        std::mem::take(&mut self.0.state.lock().unwrap().commands)
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.state.lock().unwrap().items.keys().cloned().collect()
    }

    /// Evicts a record.
    pub(crate) fn evict(&self, key: &str) {
        assert!(self.0.state.lock().unwrap().items.remove(key).is_some(), "{key}");
    }

    pub(crate) fn put_raw(&self, key: &str, value: &[u8]) {
        self.0.state.lock().unwrap().put(key, value.to_vec(), 0);
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        let mut state = self.0.state.lock().unwrap();
        let value = state.items[from].value.clone();
        state.put(to, value, 0);
    }

    /// Returns how many connections were opened so far.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Returns how many connections are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    pub(crate) fn connect(&self) -> io::Result<DuplexStream> {
        if self.0.mood.borrow().refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        self.0.connections.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let mut mood = self.0.mood.subscribe();
        let (fake, life, stray) = (self.clone(), mood.borrow().life, mood.borrow().stray);
        let open = Open::new(self);
        tokio::spawn(async move {
            let _open = open;
            let (read, mut write) = tokio::io::split(theirs);
            let mut read = BufReader::new(read);
            loop {
                let mut line = Vec::new();
                tokio::select! {
                    biased;
                    stray = stray_line(&mut mood, life, stray) => {
                        if let Some(stray) = stray {
                            write.write_all(stray.as_bytes()).await?;
                            // The command after it may be anything.
                            std::future::pending::<()>().await;
                        }
                        return Ok(());
                    }
                    count = read.read_until(b'\n', &mut line) => if count? == 0 { return Ok(()) },
                }
                let is_over = mood
                    .wait_for(|mood| !mood.frozen || mood.life != life)
                    .await
                    .map(|mood| mood.life != life)
                    .map_err(io::Error::other)?;
                if is_over {
                    return Ok(());
                }
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                let words: Vec<&str> = line.split(' ').collect();
                let value = match words[0] {
                    "set" | "add" | "cas" => {
                        let mut value = vec![0; words[4].parse::<usize>().map_err(io::Error::other)? + 2];
                        read.read_exact(&mut value).await?;
                        value.truncate(value.len() - 2);
                        value
                    }
                    _ => Vec::new(),
                };
                let answer = fake.0.state.lock().unwrap().answer(&line, value);
                write.write_all(&answer).await?;
            }
            #[allow(unreachable_code)]
            Ok::<(), io::Error>(())
        });
        Ok(ours)
    }
}

/// Waits until the server sends a stray line or closes the connection.
async fn stray_line(
    mood: &mut watch::Receiver<Mood>,
    life: usize,
    before: Option<(usize, &'static str)>,
) -> Option<&'static str> {
    let mood = mood
        .wait_for(|mood| mood.life != life || mood.stray != before)
        .await
        .ok()?;
    mood.stray.filter(|_| mood.life == life).map(|(_, line)| line)
}

impl State {
    fn answer(&mut self, line: &str, value: Vec<u8>) -> Vec<u8> {
        self.commands.push(line.to_owned());
        let now = Instant::now();
        self.items
            .retain(|_, item| item.expiry.is_none_or(|expiry| now < expiry));
        let words: Vec<&str> = line.split(' ').collect();
        let quiet = words.last() == Some(&"noreply");
        let too_large = self.max_value.is_some_and(|most| value.len() > most);
        let answer = match words[0] {
            "get" | "gets" => {
                let mut answer = Vec::new();
                for key in &words[1..] {
                    if let Some(item) = self.items.get(*key) {
                        let token = match words[0] {
                            "gets" if self.cas_is_off => " 0".to_owned(),
                            "gets" => format!(" {}", item.token),
                            _ => String::new(),
                        };
                        answer.extend(format!("VALUE {key} 0 {}{token}\r\n", item.value.len()).into_bytes());
                        answer.extend(&item.value);
                        answer.extend(b"\r\n");
                    }
                }
                answer.extend(b"END\r\n");
                if self.evicts_what_is_read {
                    self.items.clear();
                }
                return answer;
            }
            "set" | "add" | "cas" if too_large || self.out_of_memory && !value.is_empty() => {
                if words[0] == "set" {
                    self.items.remove(words[1]);
                }
                if too_large {
                    "SERVER_ERROR object too large for cache"
                } else {
                    "SERVER_ERROR out of memory storing object"
                }
            }
            "add" if self.items.contains_key(words[1]) => "NOT_STORED",
            "cas" => match self.items.get(words[1]) {
                None => "NOT_FOUND",
                Some(item) if words[5] != item.token.to_string() => "EXISTS",
                Some(_) => self.put(words[1], value, words[3].parse().unwrap()),
            },
            "set" | "add" => self.put(words[1], value, words[3].parse().unwrap()),
            "delete" if self.items.remove(words[1]).is_some() => "DELETED",
            "delete" => "NOT_FOUND",
            "flush_all" => {
                self.items.clear();
                "OK"
            }
            "version" => "VERSION 1.6.38",
            _ => "ERROR",
        };
        if quiet {
            Vec::new()
        } else {
            format!("{answer}\r\n").into_bytes()
        }
    }

    fn put(&mut self, key: &str, value: Vec<u8>, expiration: u64) -> &'static str {
        const MONTH: u64 = 60 * 60 * 24 * 30;
        self.token += 1;
        let seconds = match expiration {
            0 => None,
            seconds if seconds <= MONTH => Some(seconds),
            date => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                Some(date.saturating_sub(now))
            }
        };
        let item = Item {
            value,
            token: self.token,
            expiry: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        };
        self.items.insert(key.to_owned(), item);
        "STORED"
    }
}

/// Returns a backend over fakes, which have the names `a:1`, `b:1` and so on.
pub(crate) fn over(fakes: &[Fake]) -> MemcachedBackendBuilder {
    let name = |builder: MemcachedBackendBuilder, name: &String| builder.server(name);
    names(fakes).iter().fold(reaching(fakes), name)
}

/// Returns the names of fakes.
pub(crate) fn names(fakes: &[Fake]) -> Vec<String> {
    ('a'..).take(fakes.len()).map(|name| format!("{name}:1")).collect()
}

/// Returns a backend that reaches fakes by their names, and has no servers yet.
pub(crate) fn reaching(fakes: &[Fake]) -> MemcachedBackendBuilder {
    let servers: HashMap<String, Fake> = names(fakes).into_iter().zip(fakes.iter().cloned()).collect();
    MemcachedBackend::builder().connector(move |name| {
        let fake = servers[&name].clone();
        async move { fake.connect() }
    })
}

pub(crate) fn over_one(fake: &Fake) -> MemcachedBackendBuilder {
    over(std::slice::from_ref(fake))
}

pub(crate) fn key(name: &str) -> Key {
    Prefix::new("p").namespace("n").key(name)
}

pub(crate) fn hour() -> SetOptions {
    SetOptions::new(Duration::from_secs(3600))
}

pub(crate) async fn put(backend: &MemcachedBackend, name: &str, value: &str) -> Result<(), Error> {
    let value = Value::Bytes(Bytes::copy_from_slice(value.as_bytes()));
    backend.set(&key(name), value, hour()).await.map(drop)
}

pub(crate) async fn read(backend: &MemcachedBackend, name: &str) -> Result<Option<String>, Error> {
    let record = backend.get(&key(name)).await?;
    Ok(record.map(|record| String::from_utf8_lossy(record.value.as_bytes().unwrap()).into_owned()))
}

/// A stream that counts its writes.
pub(crate) struct Counting {
    stream: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl Counting {
    pub(crate) fn new(stream: DuplexStream, writes: Arc<AtomicUsize>) -> Self {
        Self { stream, writes }
    }
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
