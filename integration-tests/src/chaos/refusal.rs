//! Errors of the real DynamoDB that DynamoDB Local never answers.

/// Which requests are refused, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All of them: the key id or its secret is not valid.
    Credentials,
    /// Those that write: the role may only read.
    Writes,
    /// Those that write: they are more than the table's capacity.
    Capacity,
}

impl Refusal {
    /// Returns the error's code, or `None` if the request is carried out. `operation` is in lower case.
    fn code(self, operation: &str) -> Option<&'static str> {
        let is_write = !matches!(operation, "getitem" | "batchgetitem" | "query" | "describetable");
        match self {
            Self::Credentials => Some("com.amazon.coral.service#UnrecognizedClientException"),
            Self::Writes => is_write.then_some("com.amazon.coral.service#AccessDeniedException"),
            Self::Capacity => {
                is_write.then_some("com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException")
            }
        }
    }
}

/// The requests on one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// How much of the body of a refused request is still to come.
    skip: usize,
}

impl Requests {
    /// Returns the answer if these bytes of a connection are a refused request, an empty one if they are the rest of such a
    /// request, or `None` if they are to be passed on. A request's head comes in one piece.
    pub(super) fn refuse(&mut self, refusal: Refusal, bytes: &[u8]) -> Option<Vec<u8>> {
        if self.skip > 0 {
            self.skip = self.skip.saturating_sub(bytes.len());
            return Some(Vec::new());
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let operation = field("x-amz-target")?.rsplit('.').next()?.trim().to_owned();
        let code = refusal.code(&operation)?;
        let length: usize = field("content-length").map_or(0, |length| length.trim().parse().unwrap_or(0));
        self.skip = length.saturating_sub(bytes.len() - end - 4);
        let body = format!(r#"{{"__type":"{code}","message":"refused"}}"#);
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Some(answer.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(operation: &str, length: usize) -> Vec<u8> {
        format!(
            "POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Length: {length}\r\n\r\n{{}}"
        )
        .into_bytes()
    }

    #[test]
    fn only_writes_are_refused_and_their_bodies_are_skipped() {
        let mut requests = Requests::default();
        assert_eq!(requests.refuse(Refusal::Writes, &request("GetItem", 2)), None);
        let refused = requests.refuse(Refusal::Writes, &request("PutItem", 7)).unwrap();
        assert!(String::from_utf8(refused).unwrap().contains("AccessDeniedException"));
        assert_eq!(requests.refuse(Refusal::Writes, b"12345"), Some(Vec::new()));
        assert!(requests.refuse(Refusal::Credentials, &request("GetItem", 2)).is_some());
        assert_eq!(requests.refuse(Refusal::Capacity, &request("BatchGetItem", 2)), None);
    }
}
