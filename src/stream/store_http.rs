//! Requests of `object_store` over the connections of the client.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpResponseBody, HttpService,
};

use super::answer::wish;
use super::client::{AGENT, Shared, describe};
use super::retry::Failure;

/// How long machines of a cloud may take to say which keys are theirs; anywhere else nobody answers.
const METADATA: Duration = Duration::from_secs(2);

/// Why a request of `object_store` brought nothing, as far as it does not tell itself.
#[derive(Debug)]
pub(super) enum Fault {
    /// The next attempt may succeed.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// Nobody has keys for us.
    NoCredentials(String),
    /// Another attempt would fail in the same way.
    Refused(String),
    /// The range leaves the object.
    Unsatisfiable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Again { why, .. } => why,
            Self::NoCredentials(why) | Self::Refused(why) => why,
            Self::Unsatisfiable => "416",
        })
    }
}

impl StdError for Fault {}

impl Fault {
    /// The fault that an error comes from.
    pub(super) fn within<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut at = error;
        loop {
            if let Some(fault) = at.downcast_ref() {
                return Some(fault);
            }
            at = at.source()?;
        }
    }

    fn error(self) -> HttpError {
        HttpError::new(HttpErrorKind::Unknown, self)
    }
}

/// Gives `object_store` the connections of the client.
#[derive(Debug)]
pub(super) struct Connector {
    shared: Arc<Shared>,
}

impl Connector {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allowed = options.get_config_value(&ClientConfigKey::AllowHttp);
        Ok(HttpClient::new(Service {
            shared: Arc::clone(&self.shared),
            plain: allowed.as_deref() == Some("true"),
        }))
    }
}

#[derive(Debug)]
struct Service {
    shared: Arc<Shared>,
    /// Whether requests without TLS are allowed.
    plain: bool,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Service {
    // What `async_trait` makes of an `async fn`.
    fn call<'a, 'f>(&'a self, request: HttpRequest) -> Answer<'f>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.exchange(request).await.map_err(Fault::error) })
    }
}

impl Service {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, Fault> {
        let metadata = is_metadata(request.uri());
        let (mut head, body) = request.into_parts();
        if head.uri.scheme_str() != Some("https") && !self.plain && !metadata {
            let place = head.uri.host().unwrap_or_default();
            return Err(Fault::Refused(format!(
                "{place} has no TLS; allow that with AWS_ALLOW_HTTP=true (GOOGLE_, AZURE_)"
            )));
        }
        prepare(&mut head.headers);
        let body = body.collect().await.map_err(|e| again(describe(&e)))?;
        let request = Request::from_parts(head, Full::new(body.to_bytes()));
        if metadata {
            return self.keys(request).await;
        }
        let answer = self.shared.exchange(request, "the store").await;
        let answer = answer.map_err(|failure| match failure {
            Failure::Final(error) => Fault::Refused(error.to_string()),
            Failure::Transient { why, after } => Fault::Again { why, after },
        })?;
        check(answer.status(), answer.headers())?;
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(|e| again(describe(&e)).error()))))
    }

    /// Asks the machine for its keys, briefly.
    async fn keys(&self, request: Request<Full<bytes::Bytes>>) -> Result<HttpResponse, Fault> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let none = |why: &str| Fault::NoCredentials(format!("{host} has none either: {why}"));
        let answer = self.shared.exchange(request, "the machine");
        match tokio::time::timeout(METADATA, answer).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(answer
                .map(|body| HttpResponseBody::new(body.map_err(|e| again(describe(&e)).error())))),
            Ok(Ok(answer)) => Err(none(answer.status().as_str())),
            Ok(Err(_)) | Err(_) => Err(none("no answer")),
        }
    }
}

fn again(why: String) -> Fault {
    Fault::Again { why, after: None }
}

/// What is not left to `object_store`: trouble that may pass, and ranges that are none.
fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), Fault> {
    match status.as_u16() {
        408 | 425 | 429 | 500..=599 => Err(Fault::Again {
            why: format!("the store answers {status}"),
            after: wish(headers, SystemTime::now()),
        }),
        416 => Err(Fault::Unsatisfiable),
        _ => Ok(()),
    }
}

fn prepare(headers: &mut HeaderMap) {
    let agent = HeaderValue::from_static(AGENT);
    headers.entry(header::USER_AGENT).or_insert(agent);
    let identity = HeaderValue::from_static("identity");
    headers.entry(header::ACCEPT_ENCODING).or_insert(identity);
}

/// Whether this is where machines of a cloud find their keys.
fn is_metadata(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    host.starts_with("169.254.") || host == "metadata" || host.starts_with("metadata.google.")
}
