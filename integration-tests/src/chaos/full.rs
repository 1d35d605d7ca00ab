//! Makes memcached full. Its memory is in slabs of one size class each, so it is full for each class on its own.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wire;

/// The lowest limit that memcached takes while it runs, and that of
/// [`start_without_eviction`](crate::Memcached::start_without_eviction), in megabytes.
const LOW: u32 = 8;
const USUAL: u32 = 64;

/// The sizes of values that are refused afterwards: larger ones than those of the load. The steps are shorter than those
/// between two classes.
const SIZES: std::ops::RangeInclusive<usize> = 1..=1200;
const STEP: usize = 16;

/// The bytes that are written between two questions.
const BATCH: usize = 256 * 1024;

/// Fills the server until it refuses values.
pub(super) async fn fill(address: &str) -> io::Result<()> {
    wire::memcached(address, &format!("cache_memlimit {LOW}")).await?;
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let mut number = 0_u64;
    for size in SIZES.step_by(STEP) {
        let value = "x".repeat(size);
        loop {
            let question = format!("set junk-{number} 0 0 {size}\r\n{value}\r\n");
            stream.write_all(question.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_line(&mut answer).await?;
            if answer.starts_with("SERVER_ERROR out of memory") {
                break;
            }
            let mut batch = String::with_capacity(2 * BATCH);
            while batch.len() < BATCH {
                number += 1;
                batch += &format!("set junk-{number} 0 0 {size} noreply\r\n{value}\r\n");
            }
            number += 1;
            stream.write_all(batch.as_bytes()).await?;
        }
    }
    Ok(())
}

/// Gives the server memory again.
pub(super) async fn relieve(address: &str) -> io::Result<()> {
    wire::memcached(address, &format!("cache_memlimit {USUAL}")).await?;
    Ok(())
}
