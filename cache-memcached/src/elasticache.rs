//! Auto discovery: a node of a cluster tells the list of all nodes, as ElastiCache and Memorystore do.

use std::io;
use std::time::Duration;

use cache_core::{Error, ErrorKind};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::error::error;
use crate::nodes::NodeList;
use crate::stream::{Address, BoxedStream};
use crate::transport::Transport;

/// The longest list that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Asks the endpoints for the list, one after the other, until one answers. Each may take as long as `limit`.
pub(crate) async fn ask(transport: &Transport, endpoints: &[Address], limit: Duration) -> Result<NodeList, Error> {
    let mut failed = None;
    for endpoint in endpoints {
        let answer = timeout(limit, ask_one(transport, endpoint)).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(list) => return Ok(list),
            Err(problem) => {
                failed.get_or_insert_with(|| {
                    let message = format!("the configuration endpoint {}: {problem}", endpoint.name());
                    error(ErrorKind::Unavailable, message).with_source(problem)
                });
            }
        }
    }
    Err(failed.unwrap_or_else(|| error(ErrorKind::Configuration, "there is no configuration endpoint")))
}

async fn ask_one(transport: &Transport, endpoint: &Address) -> io::Result<NodeList> {
    let mut stream = BufReader::new(transport.open(endpoint).await?);
    // Before version 1.4.14 the list was an ordinary value.
    for command in ["config get cluster", "get AmazonElastiCache:cluster"] {
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        stream.flush().await?;
        let header = line(&mut stream).await?;
        let words: Vec<&str> = header.split(' ').collect();
        match words[..] {
            [
                "CONFIG" | "VALUE",
                "cluster" | "AmazonElastiCache:cluster",
                _flags,
                length,
            ] => {
                let length: u64 = length.parse().map_err(|_| unexpected(&header))?;
                if length > LONGEST {
                    return Err(unexpected(&header));
                }
                let mut body = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                stream.read_exact(&mut body).await?;
                let body = String::from_utf8(body).map_err(|_| unexpected("no text"))?;
                return parse(&body).map_err(|problem| unexpected(&problem));
            }
            ["ERROR" | "END", ..] => {}
            _ => return Err(unexpected(&header)),
        }
    }
    Err(io::Error::other(
        "this server knows no list of nodes: name the configuration endpoint of a cluster with auto discovery",
    ))
}

/// Parses the version, and on the next line the nodes: `host|ip|port host|ip|port`.
fn parse(body: &str) -> Result<NodeList, String> {
    let mut lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
    let (Some(version), nodes) = (lines.next(), lines.next().unwrap_or_default()) else {
        return Err("no version of the list".to_owned());
    };
    let version = version
        .parse()
        .map_err(|_| format!("{version:?} as the version of the list"))?;
    let mut servers = Vec::new();
    for node in nodes.split_ascii_whitespace() {
        let words: Vec<&str> = node.split('|').collect();
        // The name stays when a node gets another address, and certificates are for it.
        let host = match words[..] {
            ["", ip, _] => ip,
            [host, _, _] => host,
            _ => return Err(format!("{node:?} as a node")),
        };
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        servers.push(format!("{host}:{}", words[2]));
    }
    Ok(NodeList::new(servers).with_version(version))
}

async fn line(stream: &mut BufReader<BoxedStream>) -> io::Result<String> {
    let mut line = String::new();
    AsyncReadExt::take(stream, LONGEST).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.trim_end().to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("an unexpected answer: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_list_of_the_manual() {
        let body = "12\nmyCluster.0001.use1.cache.amazonaws.com|10.82.235.120|11211 \
                    myCluster.0002.use1.cache.amazonaws.com|10.80.249.27|11211\n";
        let nodes = [
            "myCluster.0001.use1.cache.amazonaws.com:11211",
            "myCluster.0002.use1.cache.amazonaws.com:11211",
        ];
        assert_eq!(parse(body), Ok(NodeList::new(nodes).with_version(12)));
    }

    #[test]
    fn a_node_without_a_name_has_its_address() {
        let list = NodeList::new(["10.0.0.1:11211", "[2001:db8::1]:11212", "a:1"]).with_version(1);
        assert_eq!(parse("1\r\n|10.0.0.1|11211 |2001:db8::1|11212 a||1\r\n"), Ok(list));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (body, part) in [("", "no version"), ("x\na|b|1", "\"x\""), ("1\na|1", "\"a|1\"")] {
            let problem = parse(body).unwrap_err();
            assert!(problem.contains(part), "{body:?}: {problem}");
        }
    }

    proptest! {
        #[test]
        fn any_list_comes_back(
            version: u64, nodes in prop::collection::btree_map("[a-z][a-z0-9.-]{0,20}", 1_u16.., 0..5), ip in "[0-9.]{0,9}",
        ) {
            let text: Vec<String> = nodes.iter().map(|(host, port)| format!("{host}|{ip}|{port}")).collect();
            let list = NodeList::new(nodes.iter().map(|(host, port)| format!("{host}:{port}"))).with_version(version);
            prop_assert_eq!(parse(&format!("{version}\n{}\n", text.join(" "))), Ok(list));
        }

        #[test]
        fn any_text_is_read_or_refused(body in ".*|[0-9]{0,2}\n[a-z|:0-9 ]{0,20}") {
            let _ = parse(&body);
        }
    }
}
