//! Requests to addresses that others named: pages of links, media, and whatever scripts call.
//!
//! They go to public addresses only, unless the settings allow more: the resolved address is
//! checked when the connection is made, literal addresses and each redirect before it. Proxy
//! variables are not followed, and our own ports are never called.

mod guard;
mod send;
mod time;

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, HeaderMap, LOCATION, USER_AGENT};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

pub use guard::{Allowed, parse_allowed};
use guard::{Guard, is_public};
pub use send::Request;
use time::Time;

/// Most redirects that are followed.
const HOPS: usize = 10;

/// The part of each answer that may be held without asking. Of a larger one the rest waits until there is
/// room for all that may come of it: whoever begins to be held can be held whole.
const SMALL: usize = 64 << 10;
/// Bytes of larger answers that are held at once, over all who fetch; and as many of files, which are so
/// large and so slow that answers would wait behind them.
const ROOM: usize = 128 << 20;
const FILE: usize = 16 << 20;

/// Fetches. Cheap to clone; all clones follow one set of rules.
#[derive(Clone)]
pub struct Fetch {
    client: Client,
    guard: Arc<RwLock<Guard>>,
    answers: Arc<Semaphore>,
    files: Arc<Semaphore>,
}

/// How much may be fetched.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For everything, redirects included.
    pub time: Duration,
    /// Most bytes of the body that are read.
    pub bytes: usize,
}

/// What came.
#[derive(Debug)]
pub struct Fetched {
    /// The address at the end of all redirects.
    pub url: Url,
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// The body, as far as the bounds allow.
    pub body: Vec<u8>,
    /// Whether that is the whole of it.
    pub whole: bool,
    /// The addresses that redirected, in order.
    pub hops: Vec<Url>,
    /// From the first request to the last byte.
    pub took: Duration,
    /// The room that a large body takes.
    _room: Option<OwnedSemaphorePermit>,
}

impl Fetched {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The type that the server gives, without parameters, in lower case.
    pub fn mime(&self) -> Option<String> {
        let kind = self.header("content-type")?.split(';').next()?.trim().to_ascii_lowercase();
        (!kind.is_empty()).then_some(kind)
    }

    /// How many bytes the whole has, if that is known.
    pub fn size(&self) -> Option<u64> {
        match self.whole {
            true => Some(self.body.len() as u64),
            false => self.header("content-length")?.parse().ok(),
        }
    }
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not an address that may be called.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers there, or not as HTTP wants it.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("no answer came within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// One redirect after the other.
    #[error("more than {HOPS} redirects, the last of them to {0}")]
    Circles(String),
}

impl Fetch {
    /// Fetches from public addresses and what `allowed` names besides.
    ///
    /// # Errors
    /// When the machine's certificates cannot be read.
    pub fn new(allowed: Vec<Allowed>) -> Result<Self, String> {
        // A second call finds the provider installed, which is all that it wants.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let guard = Arc::new(RwLock::new(Guard { allowed, own_ports: Vec::new() }));
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Guarded(guard.clone())))
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| error.to_string())?;
        let room = || Arc::new(Semaphore::new(ROOM));
        Ok(Self { client, guard, answers: room(), files: room() })
    }

    /// Changes what is allowed besides public addresses.
    pub fn allow(&self, allowed: Vec<Allowed>) {
        self.guard.write().unwrap_or_else(PoisonError::into_inner).allowed = allowed;
    }

    /// Names addresses of ours, which are never called.
    pub fn never(&self, own: &[SocketAddr]) {
        let ports = own.iter().map(SocketAddr::port).collect();
        self.guard.write().unwrap_or_else(PoisonError::into_inner).own_ports = ports;
    }

    /// Gets an address as `agent`, follows redirects, reads as much as the bounds allow.
    ///
    /// # Errors
    /// [`FetchError`]; a status that is no success is no error.
    pub async fn get(&self, url: &str, agent: &str, accept: &str, bounds: Bounds) -> Result<Fetched, FetchError> {
        let url = Url::parse(url).map_err(|error| FetchError::Refused(format!("`{url}` is no address: {error}")))?;
        let time = Time::new(bounds.time);
        time.bounds(self.follow(url, agent, accept, bounds.bytes, &time)).await
    }

    async fn follow(
        &self,
        mut url: Url,
        agent: &str,
        accept: &str,
        most: usize,
        time: &Time,
    ) -> Result<Fetched, FetchError> {
        let mut hops = Vec::new();
        loop {
            self.check(&url).await?;
            let request = self.client.get(url.clone()).header(USER_AGENT, agent).header(ACCEPT, accept);
            let response = request.send().await.map_err(|error| unreachable(&url, &error))?;
            if let Some(next) = redirect(&url, &response) {
                hops.push(std::mem::replace(&mut url, next));
                if hops.len() > HOPS {
                    return Err(FetchError::Circles(shown(&url)));
                }
                continue;
            }
            return self
                .fetched(response, url, hops, most, time)
                .await
                .map_err(|(url, error)| unreachable(&url, &error));
        }
    }

    /// Reads an answer, as far as the bounds allow.
    async fn fetched(
        &self,
        mut response: Response,
        url: Url,
        hops: Vec<Url>,
        most: usize,
        time: &Time,
    ) -> Result<Fetched, (Url, reqwest::Error)> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let told = response.content_length().and_then(|length| usize::try_from(length).ok());
        let (mut body, mut room, mut whole) = (Vec::new(), None, true);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => return Err((url, error)),
            };
            let left = most - body.len();
            whole = chunk.len() <= left;
            let chunk = &chunk[..chunk.len().min(left)];
            if room.is_none() && body.len() + chunk.len() > SMALL {
                let wanted = told.unwrap_or(most).min(most).min(ROOM);
                let rooms = if most > FILE { &self.files } else { &self.answers };
                // Nobody ever closes it.
                let wanted_room = rooms.clone().acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX));
                room = time.stopped(wanted_room).await.ok();
                if told.is_some() {
                    body.reserve_exact(wanted.saturating_sub(body.len()));
                }
            }
            body.extend_from_slice(chunk);
            if !whole {
                break;
            }
        }
        Ok(Fetched { url, status, headers, body, whole, hops, took: time.spent(), _room: room })
    }

    /// Whether somebody may be asked to fetch an address for us, such as a gateway: by its text, and by what
    /// its name leads to now.
    ///
    /// # Errors
    /// [`FetchError::Refused`]; [`FetchError::Unreachable`] when the name is known to nobody here, though it
    /// does not look like one of a private network.
    pub async fn permits(&self, text: &str) -> Result<(), FetchError> {
        let url = guard::unequivocal(text)?;
        self.check(&url).await?;
        let Some(url::Host::Domain(name)) = url.host() else { return Ok(()) };
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((name, 0)).await.map(Iterator::collect).unwrap_or_default();
        self.guard.read().unwrap_or_else(PoisonError::into_inner).leads_out(name, found.iter().map(SocketAddr::ip))
    }

    /// What can be said before a connection is made.
    async fn check(&self, url: &Url) -> Result<(), FetchError> {
        let (literal, own) = self.guard.read().unwrap_or_else(PoisonError::into_inner).look(url)?;
        let port = url.port_or_known_default().unwrap_or_default();
        if let (false, true, Some(host)) = (literal, own, url.host_str()) {
            // A name that leads back to us.
            let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
            if found.into_iter().flatten().any(|address| !is_public(address.ip())) {
                return Err(guard::own_port(url));
            }
        }
        Ok(())
    }
}

fn redirect(url: &Url, response: &Response) -> Option<Url> {
    let there = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(LOCATION).filter(|_| there)?;
    url.join(location.to_str().ok()?).ok()
}

/// An address as it may be shown: without credentials, query and fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Addresses that cannot have them keep nothing to hide.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

fn unreachable(url: &Url, error: &reqwest::Error) -> FetchError {
    cannot_be_reached(&shown(url), error)
}

/// An address's server alone, where its path is nobody's business either.
fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn cannot_be_reached(place: &str, error: &reqwest::Error) -> FetchError {
    match chain(error).find_map(|cause| cause.downcast_ref::<FetchError>()) {
        Some(refused) => refused.clone(),
        None => FetchError::Unreachable(format!("{place} cannot be reached: {}", causes(error))),
    }
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// What a request failed of, without the address (which may hold a secret) and without the names of the layers that
/// passed it on.
pub fn causes(error: &reqwest::Error) -> String {
    const LAYERS: [&str; 4] =
        ["client error (Connect)", "client error (SendRequest)", "tcp connect error", "dns error"];
    let mut texts: Vec<String> = Vec::new();
    for text in chain(error).map(ToString::to_string) {
        let text = LAYERS.iter().fold(text.as_str(), |text, layer| text.strip_prefix(layer).unwrap_or(text));
        let text = text.trim_start_matches(": ");
        if !text.is_empty() && !texts.iter().any(|known| known.contains(text)) {
            texts.push(text.to_owned());
        }
    }
    match texts.is_empty() {
        true => "no reason given".into(),
        false => texts.join(": "),
    }
}

/// Resolves names, and forgets the addresses that may not be called.
struct Guarded(Arc<RwLock<Guard>>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let all: Vec<SocketAddr> = found.collect();
            let guard = guard.read().unwrap_or_else(PoisonError::into_inner);
            let kept: Vec<SocketAddr> =
                all.iter().copied().filter(|address| guard.may_call(name.as_str(), address.ip())).collect();
            if kept.is_empty() && !all.is_empty() {
                return Err(Box::new(guard::private(name.as_str())) as Box<dyn std::error::Error + Send + Sync>);
            }
            Ok(Box::new(kept.into_iter()) as Addrs)
        })
    }
}
