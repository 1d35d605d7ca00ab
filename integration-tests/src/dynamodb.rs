//! Amazon's DynamoDB Local.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::container::{Container, Inner, Spec};
use crate::{external, wire};

const VARIABLE: &str = "CACHE_TEST_DYNAMODB_URL";

/// It runs for a minute beside other servers on few cores: one simple compiler and one thread for garbage take half of the
/// processor's time that the defaults take until the first answer. Without telemetry it calls nobody when it starts.
const COMMAND: [&str; 8] = [
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-jar",
    "DynamoDBLocal.jar",
    "-inMemory",
    "-sharedDb",
    "-disableTelemetry",
];

/// DynamoDB Local with its data in memory, which all regions and key ids share. It accepts any credentials.
#[derive(Debug)]
pub struct DynamoDb {
    endpoint: String,
    address: String,
    container: Option<Container>,
}

impl DynamoDb {
    /// Returns the server that all tests of this process share: the one in `CACHE_TEST_DYNAMODB_URL`, or a container.
    /// Each test creates its own table.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<DynamoDb> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match external::variable(VARIABLE) {
                    Some(value) => Self::running(value).await,
                    None => Self::start().await,
                }
            })
            .await
    }

    /// Starts a container for one test, which is removed on drop.
    pub async fn start() -> Self {
        let spec = Spec {
            image: ("amazon/dynamodb-local", "latest"),
            ports: 1,
            inner: Inner::One(8000),
            variable: VARIABLE,
        };
        let container = Container::start(&spec, |_| COMMAND.map(str::to_owned).to_vec()).await;
        let address = container.addresses().remove(0);
        let dynamodb = Self {
            endpoint: format!("http://{address}"),
            address,
            container: Some(container),
        };
        dynamodb.ready().await;
        dynamodb
    }

    async fn running(value: String) -> Self {
        let url = external::parse(VARIABLE, &value, &["http", "https"]);
        let port = url.port_or_known_default().unwrap_or(80);
        let addresses = external::addresses(&url, port);
        external::must_answer(VARIABLE, &addresses).await;
        Self {
            endpoint: value,
            address: addresses[0].clone(),
            container: None,
        }
    }

    /// Returns the endpoint for clients: `http://host:port`, or the value of the environment variable.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Kills the server. Its data is lost.
    pub async fn kill(&self) {
        self.container().kill().await;
    }

    /// Starts the server again, empty, at the same address, and waits until it answers.
    pub async fn restart(&self) {
        self.container().restart().await;
        self.ready().await;
    }

    /// Freezes the server: connections stay open, and nothing answers.
    pub async fn freeze(&self) {
        self.container().freeze().await;
    }

    /// Ends [`freeze`](Self::freeze).
    pub async fn thaw(&self) {
        self.container().thaw().await;
    }

    fn container(&self) -> &Container {
        self.container
            .as_ref()
            .expect("only a server from `DynamoDb::start` may be broken")
    }

    async fn ready(&self) {
        let answer = wire::until(Duration::from_secs(60), || async {
            match wire::dynamodb(&self.address, "ListTables", "{}").await {
                Ok((200, _)) => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        })
        .await;
        if let Err(error) = answer {
            panic!(
                "DynamoDB Local does not answer: {error}\n{}",
                self.container().logs().await
            );
        }
        self.warm_up().await;
    }

    /// Calls each operation once. The first calls load classes, which takes seconds on a busy machine: longer than some
    /// tests let a call take.
    async fn warm_up(&self) {
        const NAME: &str = r#""TableName":"warm-up""#;
        const ID: &str = r#"{"id":{"S":"1"}}"#;
        for (operation, rest) in [
            (
                "CreateTable",
                r#","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],
                    "AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]"#
                    .to_owned(),
            ),
            (
                "PutItem",
                format!(r#","Item":{ID},"ConditionExpression":"attribute_not_exists(id)""#),
            ),
            ("GetItem", format!(r#","Key":{ID},"ConsistentRead":true"#)),
            (
                "UpdateItem",
                format!(
                    r#","Key":{ID},"UpdateExpression":"SET n = :n",
                        "ExpressionAttributeValues":{{":n":{{"N":"1"}}}}"#
                ),
            ),
            (
                "Query",
                r#","KeyConditionExpression":"id = :id","ExpressionAttributeValues":{":id":{"S":"1"}}"#.to_owned(),
            ),
            ("DeleteItem", format!(r#","Key":{ID},"ReturnValues":"ALL_OLD""#)),
            ("DeleteTable", String::new()),
        ] {
            let content = format!("{{{NAME}{rest}}}");
            let timed_out = AtomicBool::new(false);
            let answer = wire::until(Duration::from_secs(60), || async {
                match wire::dynamodb(&self.address, operation, &content).await {
                    Ok((200, _)) => Ok(()),
                    // What timed out may have been carried out, and is refused the second time.
                    Ok((400, _)) if timed_out.load(Relaxed) => Ok(()),
                    answer => {
                        timed_out.fetch_or(answer.is_err(), Relaxed);
                        Err(format!("{answer:?}"))
                    }
                }
            })
            .await;
            assert!(answer.is_ok(), "{operation}: {answer:?}");
        }
    }
}
