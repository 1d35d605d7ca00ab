//! A proxy between a client and DynamoDB Local, which treats each request as the test decides.

use std::io;
use std::sync::{Arc, Mutex};

use integration_tests::wire;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The treatment of a request.
pub(crate) enum Fate {
    /// Pass it to the server.
    Pass,
    /// Pass it to the server, and break the connection before the answer.
    LoseAnswer,
    /// Break the connection before the server gets it.
    LoseRequest,
    /// Never answer.
    Hang,
    /// Answer with this status and error code.
    Fail(u16, &'static str),
    /// Pass the first half of the batch to the server, and report the rest as unprocessed.
    Half,
    /// Report all of the batch as unprocessed.
    Nothing,
}

/// A request that was received: the operation and its JSON.
pub(crate) type Seen = (String, Json);

pub(crate) struct Proxy {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Proxy {
    /// Starts the proxy. `fate` decides about each request, by its operation and its number among the requests of that
    /// operation, from 0.
    pub(crate) async fn start(server: &str, fate: impl Fn(&str, usize) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::default();
        let connections = Connections {
            server: server.to_owned(),
            fate: Arc::new(fate),
            seen: Arc::clone(&seen),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connections = connections.clone();
                tokio::spawn(async move { connections.serve(stream).await });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the requests of an operation.
    pub(crate) fn seen(&self, operation: &str) -> Vec<Json> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(name, _)| name == operation)
            .map(|(_, request)| request.clone())
            .collect()
    }
}

type Judge = dyn Fn(&str, usize) -> Fate + Send + Sync;

#[derive(Clone)]
struct Connections {
    server: String,
    fate: Arc<Judge>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Connections {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (operation, request) = read(&mut stream).await?;
            let number = {
                let mut seen = self.seen.lock().unwrap();
                seen.push((operation.clone(), request.clone()));
                seen.iter().filter(|(name, _)| *name == operation).count() - 1
            };
            let (status, answer) = match (self.fate)(&operation, number) {
                Fate::Pass => self.ask(&operation, &request).await?,
                Fate::LoseAnswer => {
                    self.ask(&operation, &request).await?;
                    return Ok(());
                }
                Fate::LoseRequest => return Ok(()),
                Fate::Hang => std::future::pending().await,
                Fate::Fail(status, code) => {
                    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
                    (status, json!({"__type": kind, "message": "made up"}))
                }
                Fate::Half => {
                    let (first, rest) = halves(request);
                    let (status, mut answer) = self.ask(&operation, &first).await?;
                    answer[unprocessed(&operation)] = rest["RequestItems"].clone();
                    (status, answer)
                }
                Fate::Nothing => (200, json!({ (unprocessed(&operation)): request["RequestItems"] })),
            };
            let answer = answer.to_string();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
        }
    }

    async fn ask(&self, operation: &str, request: &Json) -> io::Result<(u16, Json)> {
        let (status, body) = wire::dynamodb(&self.server, operation, &request.to_string()).await?;
        Ok((status, serde_json::from_str(&body)?))
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Seen> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(": ").or(line.trim_end().split_once(':')) {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("x-amz-target") => {
                operation = value.rsplit('.').next().unwrap().to_owned();
            }
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((operation, serde_json::from_slice(&body)?))
}

fn unprocessed(operation: &str) -> &'static str {
    match operation {
        "BatchGetItem" => "UnprocessedKeys",
        "BatchWriteItem" => "UnprocessedItems",
        _ => panic!("{operation} is no batch"),
    }
}

/// Splits a batch for one table into the first half, rounded up, and the rest.
fn halves(request: Json) -> (Json, Json) {
    let (mut first, mut rest) = (request.clone(), request);
    let list = |request: &mut Json, part: fn(&mut Vec<Json>)| {
        let items = request["RequestItems"].as_object_mut().unwrap();
        let table = items.values_mut().next().unwrap();
        let list = match table {
            Json::Array(list) => list,
            table => table["Keys"].as_array_mut().unwrap(),
        };
        part(list);
        let empty = list.is_empty();
        if empty {
            items.clear();
        }
    };
    list(&mut first, |list| list.truncate(list.len().div_ceil(2)));
    list(&mut rest, |list| drop(list.drain(..list.len().div_ceil(2))));
    (first, rest)
}
