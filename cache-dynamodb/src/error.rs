//! The conversion of errors of DynamoDB and of the SDK to the toolkit's.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use cache_core::{Error, ErrorKind};

/// The name of this backend in errors.
pub(crate) const NAME: &str = "dynamodb";

/// Its name in metrics and traces, by OpenTelemetry's conventions.
pub(crate) const SYSTEM_NAME: &str = "aws.dynamodb";

/// Returns an error of this backend.
pub(crate) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message.into()).with_backend(NAME)
}

/// Returns an error of a setting or the URL.
pub(crate) fn configuration(message: impl Into<String>) -> Error {
    error(ErrorKind::Configuration, message)
}

/// Returns the error of a call on a closed handle.
pub(crate) fn closed() -> Error {
    error(ErrorKind::Unavailable, "the handle was closed").with_retryable(false)
}

/// Returns the error of a batch that DynamoDB repeatedly left unprocessed.
pub(crate) fn throttled(left: usize) -> Error {
    let message = format!("{left} keys of a batch were still not processed after several attempts");
    error(ErrorKind::Rejected, message).with_retryable(true)
}

/// Converts an error of the SDK's. Only its text is passed on, so that its type does not become public.
pub(crate) fn from_sdk<E>(sdk: &SdkError<E, HttpResponse>, table: &str) -> Error
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    if let SdkError::ServiceError(service) = sdk {
        let status = service.raw().status().as_u16();
        let (code, message) = (service.err().code(), service.err().message());
        return from_service(code.unwrap_or_default(), message.unwrap_or_default(), status, table);
    }
    let text = chain(sdk);
    if caused_by_credentials(sdk) {
        return error(ErrorKind::Auth, text);
    }
    let kind = match sdk {
        SdkError::TimeoutError(_) => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_io() => ErrorKind::Unavailable,
        SdkError::DispatchFailure(failure) if failure.is_user() => ErrorKind::Configuration,
        SdkError::DispatchFailure(failure) if failure.as_other().is_some() => ErrorKind::Unavailable,
        // An answer that a proxy or a broken connection has damaged.
        SdkError::ResponseError(_) => ErrorKind::Unavailable,
        SdkError::ConstructionFailure(_) => ErrorKind::Configuration,
        _ => ErrorKind::Other,
    };
    error(kind, text)
}

/// Converts an error answer of DynamoDB.
fn from_service(code: &str, message: &str, status: u16, table: &str) -> Error {
    let (kind, retryable) = classify(code, message, status);
    let text = match (code, message) {
        ("ResourceNotFoundException", _) => format!(
            "there is no table {table:?} in this account and region ({message}): create it, or let \
             `create_table_if_missing` do so"
        ),
        ("", "") => format!("HTTP status {status}"),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    error(kind, text).with_retryable(retryable)
}

/// Returns the kind of an error by its code, and whether a retry can help.
fn classify(code: &str, message: &str, status: u16) -> (ErrorKind, bool) {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "LimitExceededException"
        | "SlowDown" => (ErrorKind::Rejected, true),
        "TransactionConflictException" | "ReplicatedWriteConflictException" => (ErrorKind::Conflict, true),
        "ResourceInUseException" => (ErrorKind::Rejected, true),
        "ItemCollectionSizeLimitExceededException" | "RequestEntityTooLarge" => (ErrorKind::TooLarge, false),
        "ResourceNotFoundException" | "TableNotFoundException" => (ErrorKind::Configuration, false),
        // The messages are DynamoDB's and, for the key, also DynamoDB Local's.
        "ValidationException" if message.contains("Item size") => (ErrorKind::TooLarge, false),
        "ValidationException"
            if message.contains("Size of hashkey") || message.contains("Hash primary key values must be") =>
        {
            (ErrorKind::InvalidKey, false)
        }
        // The remaining causes: a table with another key, or an invalid table name.
        "ValidationException" => (ErrorKind::Configuration, false),
        "AccessDeniedException"
        | "AccessDenied"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => (ErrorKind::Auth, false),
        "KMSAccessDeniedException" => (ErrorKind::Auth, false),
        _ if status >= 500 => (ErrorKind::Unavailable, true),
        _ if status == 429 => (ErrorKind::Rejected, true),
        _ if status == 413 => (ErrorKind::TooLarge, false),
        _ => (ErrorKind::Other, false),
    }
}

fn caused_by_credentials(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn StdError>::is::<CredentialsError>)
}

/// Returns an error and its causes in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&error| error.source()) {
        let cause = cause.to_string();
        // Some errors end with the text of their cause.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_the_kind() {
        let cases = [
            (
                "ProvisionedThroughputExceededException",
                "",
                400,
                ErrorKind::Rejected,
                true,
            ),
            ("ThrottlingException", "", 400, ErrorKind::Rejected, true),
            ("RequestLimitExceeded", "", 400, ErrorKind::Rejected, true),
            (
                "ItemCollectionSizeLimitExceededException",
                "",
                400,
                ErrorKind::TooLarge,
                false,
            ),
            (
                "ValidationException",
                "Item size has exceeded the maximum allowed size",
                400,
                ErrorKind::TooLarge,
                false,
            ),
            (
                "ValidationException",
                "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 \
                 bytes",
                400,
                ErrorKind::InvalidKey,
                false,
            ),
            (
                "ValidationException",
                "The provided key element does not match the schema",
                400,
                ErrorKind::Configuration,
                false,
            ),
            ("ResourceNotFoundException", "", 400, ErrorKind::Configuration, false),
            ("UnrecognizedClientException", "", 400, ErrorKind::Auth, false),
            ("ExpiredTokenException", "", 400, ErrorKind::Auth, false),
            ("TransactionConflictException", "", 400, ErrorKind::Conflict, true),
            ("InternalServerError", "", 500, ErrorKind::Unavailable, true),
            ("", "", 503, ErrorKind::Unavailable, true),
            ("", "", 413, ErrorKind::TooLarge, false),
            ("SomethingNew", "", 400, ErrorKind::Other, false),
        ];
        for (code, message, status, kind, retryable) in cases {
            let error = from_service(code, message, status, "cache");
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
            assert!(!error.message().is_empty());
        }
    }

    #[test]
    fn a_missing_table_is_named_with_the_remedy() {
        let error = from_service("ResourceNotFoundException", "not found", 400, "sessions");
        let text = error.to_string();
        assert!(
            text.contains("\"sessions\"") && text.contains("create_table_if_missing"),
            "{text}"
        );
    }

    #[test]
    fn credentials_that_cannot_be_had_are_an_auth_error() {
        let cause = CredentialsError::not_loaded("no providers in the chain");
        let sdk: SdkError<aws_sdk_dynamodb::operation::get_item::GetItemError, HttpResponse> =
            SdkError::construction_failure(cause);
        let error = from_sdk(&sdk, "cache");
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.message().contains("no providers in the chain"), "{error}");
        let sdk: SdkError<aws_sdk_dynamodb::operation::get_item::GetItemError, HttpResponse> =
            SdkError::timeout_error("2 s");
        assert_eq!(from_sdk(&sdk, "cache").kind(), ErrorKind::Timeout);
    }
}
