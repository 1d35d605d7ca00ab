//! Just enough of each store's protocol to check that it answers, without a client library.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// The time limit of one command and its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a command such as `PING` or `INFO replication` to Redis on a new connection, and returns the answer. The
/// elements of an array are joined by spaces.
///
/// # Errors
///
/// Fails without a connection or an answer within five seconds, and if the answer is an error.
pub async fn redis(address: &str, command: &str) -> io::Result<String> {
    within(async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        let mut pending = 1_usize;
        while pending > 0 {
            pending -= 1;
            let line = line(&mut stream).await?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or(("", ""));
            match kind {
                "+" | ":" => answer.push(rest.to_owned()),
                "-" => return Err(io::Error::other(rest.to_owned())),
                "$" if rest != "-1" => {
                    let mut bulk = vec![0; number(rest)? + 2];
                    stream.read_exact(&mut bulk).await?;
                    bulk.truncate(bulk.len() - 2);
                    answer.push(String::from_utf8_lossy(&bulk).into_owned());
                }
                "$" => {}
                "*" => pending += number(rest)?,
                _ => return Err(invalid(&line)),
            }
        }
        Ok(answer.join(" "))
    })
    .await
}

/// Sends a command such as `version` or `get key` to memcached, and returns the lines of the answer.
///
/// # Errors
///
/// Fails without a connection or an answer within five seconds.
pub async fn memcached(address: &str, command: &str) -> io::Result<Vec<String>> {
    within(async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut lines = Vec::new();
        loop {
            let line = line(&mut stream).await?;
            let more = line.starts_with("VALUE ") || (lines.len() % 2 == 1 && !line.starts_with("END"));
            lines.push(line);
            if !more {
                return Ok(lines);
            }
        }
    })
    .await
}

/// Sends an operation with its JSON to DynamoDB, and returns the status and the body of the answer. The signature is
/// not valid; DynamoDB Local checks only the key id.
///
/// # Errors
///
/// Fails without a connection or an answer within five seconds, and if the answer is not HTTP.
pub async fn dynamodb(address: &str, operation: &str, json: &str) -> io::Result<(u16, String)> {
    within(async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/x-amz-json-1.0\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/dynamodb/aws4_request, \
             SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        status.zip(body).ok_or_else(|| invalid(&answer))
    })
    .await
}

/// Calls `ask` until it returns `Ok`.
///
/// # Errors
///
/// Fails with the last error when the time is over.
pub(crate) async fn until<T, F>(limit: Duration, mut ask: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + limit;
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn within<T>(question: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, question)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| invalid(text))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected answer: {what:?}"))
}
