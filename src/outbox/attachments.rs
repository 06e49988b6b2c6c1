//! Attachments: the file of a message, in a form that its gateway takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use url::Url;

use super::addresses::{handed_out, our_address, refused};
use super::file_types;
use crate::blobs::Blobs;
use crate::clock::{SharedClock, after};
use crate::fetch::{Bounds, Fetch, FetchError};
use crate::links::LinkKey;
use crate::model::capability::{Capabilities, Intake};
use crate::model::delivery::{ErrorClass, SendError};
use crate::model::message::{Content, Media, Source};
use crate::model::mime;
use crate::transport::{Attached, FilePlace};

/// How long an address for a gateway that fetches is good: some put a message into a queue first.
const GOOD_FOR: Duration = Duration::from_secs(3600);
/// What a text goes as where its own type is not taken; the name stays.
const PLAIN: &str = "text/plain";
/// Whole files that are fetched at once for one account, and how long each may take.
const DOWNLOADS: usize = 4;
const DOWNLOAD_TIME: Duration = Duration::from_secs(30);
/// Who looks at files; some servers refuse callers without a name.
const AGENT: &str = concat!("postrider/", env!("CARGO_PKG_VERSION"));

/// Where files come from. Cheap to clone.
#[derive(Clone)]
pub struct Attachments {
    blobs: Blobs,
    fetch: Fetch,
    /// Signs addresses of ours.
    key: LinkKey,
    clock: SharedClock,
    /// Room for whole files that are fetched, which are held in memory for a moment.
    downloads: Arc<Semaphore>,
}

impl Attachments {
    /// From copies, and from addresses that others named.
    pub fn new(blobs: Blobs, fetch: Fetch, key: LinkKey, clock: SharedClock) -> Self {
        Self { blobs, fetch, key, clock, downloads: Arc::new(Semaphore::new(DOWNLOADS)) }
    }

    /// The same with room of its own for files, so that one account's slow ones hold up no other.
    pub fn with_own_room(&self) -> Self {
        Self { downloads: Arc::new(Semaphore::new(DOWNLOADS)), ..self.clone() }
    }

    /// The file of a part, as the gateway takes it.
    ///
    /// # Errors
    /// It is too large, of a type that the gateway does not take, or cannot be had.
    pub async fn of(
        &self,
        content: &Content,
        capabilities: &Capabilities,
        public: Option<&Url>,
    ) -> Result<Option<Attached>, SendError> {
        let kind = content.kind();
        let Some(media) = content.media() else { return Ok(None) };
        let Some(intake) = capabilities.kind(kind).and_then(|kind| kind.media) else { return Ok(None) };
        let file = match &media.source {
            Source::Url { url } => self.behind(url, kind, media, &intake, public).await?,
            Source::Snapshot(copy) => self.local(&copy.blob, copy.size, &copy.file_name, media).await?,
            Source::Inline { file_name, text } => self.kept(text.clone().into_bytes(), file_name, media).await?,
        };
        let mut file = named(file, media);
        if let FilePlace::Local { size, .. } = file.place {
            file.mime = fits(kind, &intake, Some(size), file.mime)?;
            if size > intake.bytes {
                file.place = FilePlace::Url(self.hosted(&file, kind, &intake, public)?);
            }
        }
        Ok(Some(file))
    }

    /// A copy, with the type that its beginning tells.
    async fn local(&self, blob: &str, size: u64, name: &str, media: &Media) -> Result<Attached, SendError> {
        let path = self.blobs.path(blob);
        let telling = called(media, name).to_owned();
        let mime = may_block({
            let (blobs, blob) = (self.blobs.clone(), blob.to_owned());
            move || Ok(file_types::of_copy(&blobs, &blob, &telling))
        });
        let mime = mime.await.map_err(|error| rejected(format!("the file cannot be read: {error}")))?;
        Ok(Attached { place: FilePlace::Local { path, size }, mime: mime.map(str::to_owned), name: name.into() })
    }

    /// Keeps bytes as a file.
    async fn kept(&self, bytes: Vec<u8>, name: &str, media: &Media) -> Result<Attached, SendError> {
        let blobs = self.blobs.clone();
        let kept = may_block(move || blobs.keep(&mut bytes.as_slice())).await;
        let (blob, size) = kept.map_err(|error| rejected(format!("the file cannot be kept: {error}")))?;
        self.local(&blob, size, name, media).await
    }

    /// The file behind an address: the address itself where the gateway will see there what we see,
    /// else its bytes.
    async fn behind(
        &self,
        url: &str,
        kind: &str,
        media: &Media,
        intake: &Intake,
        public: Option<&Url>,
    ) -> Result<Attached, SendError> {
        let name = name_of(url);
        let ends = intake.endings.is_empty()
            || intake.endings.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
        if intake.url
            && ends
            && let Some(file) = self.handed_on(url, kind, called(media, &name), intake, public).await?
        {
            return Ok(Attached { name, ..file });
        }
        self.downloaded(url, &name, media, intake).await
    }

    /// An address for the gateway to fetch, looked at first as far as that tells something; none when it is to get
    /// the bytes instead. `telling` is the name that tells the type.
    async fn handed_on(
        &self,
        url: &str,
        kind: &str,
        telling: &str,
        intake: &Intake,
        public: Option<&Url>,
    ) -> Result<Option<Attached>, SendError> {
        handed_out(&self.fetch, url, public).await?;
        let guess = mime::by_name(telling).map(str::to_owned);
        let mut file = Attached { place: FilePlace::Url(url.into()), mime: guess, name: telling.into() };
        // Where there is nothing to check and nothing to tell, nobody looks.
        if !(intake.largest.is_some() || intake.typed || intake.served) {
            return Ok(Some(file));
        }
        // What we cannot reach the gateway may: only what was seen is held against it.
        match self.fetch.get(url, AGENT, "*/*", file_types::PEEK).await {
            Ok(seen) if seen.status == 200 => {
                let known = file_types::of_fetched(&seen, telling).or(file.mime.take());
                file.mime = fits(kind, intake, seen.size(), known)?;
                // The gateway would believe its server, if that says something else. Then it gets the bytes, with
                // the right type, where it can.
                let believes = intake.served && file.mime.is_some() && file.mime != seen.mime();
                let gets_bytes = believes && (intake.bytes > 0 || public.is_some());
                Ok((!gets_bytes).then_some(file))
            }
            Ok(seen) if file_types::is_gone(seen.status) => Err(missing(seen.status)),
            // It sends whoever comes on to where nobody may be sent.
            Err(FetchError::Refused(why)) => refused(url, public, &why).map(|()| Some(file)),
            _ => Ok(Some(file)),
        }
    }

    /// The bytes behind an address.
    async fn downloaded(&self, url: &str, name: &str, media: &Media, intake: &Intake) -> Result<Attached, SendError> {
        let most = intake.largest.unwrap_or(crate::blobs::LARGEST).min(crate::blobs::LARGEST);
        // Nobody ever closes it.
        let _room = self.downloads.acquire().await;
        let bounds = Bounds { time: DOWNLOAD_TIME, bytes: usize::try_from(most).unwrap_or(usize::MAX) };
        let got = self.fetch.get(url, AGENT, "*/*", bounds).await.map_err(|error| unreached(&error))?;
        if got.status != 200 {
            return Err(missing(got.status));
        }
        if !got.whole {
            let message = format!("the file has more than {most} bytes, which the gateway does not take");
            return Err(SendError::new(ErrorClass::TooLarge, message));
        }
        let mime = file_types::of_fetched(&got, called(media, name));
        let mut file = self.kept(got.body, name, media).await?;
        file.mime = mime.or(file.mime);
        Ok(file)
    }

    /// An address of ours for a file that the gateway is to fetch.
    fn hosted(&self, file: &Attached, kind: &str, intake: &Intake, public: Option<&Url>) -> Result<String, SendError> {
        let FilePlace::Local { path, size } = &file.place else { return Err(rejected("no file".into())) };
        let Some(public) = public.filter(|_| intake.url) else {
            let message = match intake.bytes {
                0 => format!(
                    "this gateway fetches the {kind} from an address; give one instead of a file, \
                     or set `public_url` in postrider.yaml so that it can fetch files from here"
                ),
                most => format!(
                    "the {kind} has {size} bytes and travels with the request up to {most}; \
                     set `public_url` in postrider.yaml so that the gateway can fetch it from here"
                ),
            };
            let class = if intake.bytes == 0 { ErrorClass::Unsupported } else { ErrorClass::TooLarge };
            return Err(SendError::new(class, message));
        };
        let blob = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let ending = file
            .name
            .rsplit_once('.')
            .map(|(_, ending)| ending)
            .filter(|ending| (1..=5).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_alphanumeric()));
        let ending = ending.map(|ending| format!(".{}", ending.to_ascii_lowercase())).unwrap_or_default();
        let until = after(self.clock.now(), GOOD_FOR);
        let token = self.key.media(&blob, until, &ending).ok_or_else(|| rejected("no address can be made".into()))?;
        Ok(our_address(public, &format!("media/{token}")))
    }
}

/// Works with files on a thread that may block.
async fn may_block<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn rejected(message: String) -> SendError {
    SendError::new(ErrorClass::MediaRejected, message)
}

fn unreached(error: &FetchError) -> SendError {
    let class = match error {
        // A moment later it may be there.
        FetchError::Unreachable(_) | FetchError::Slow(_) => ErrorClass::Upstream { retry_after: None },
        FetchError::Refused(_) | FetchError::Circles(_) => ErrorClass::MediaRejected,
    };
    SendError::new(class, format!("the file cannot be fetched for the gateway: {error}"))
}

/// Whether size and type are what the gateway takes for this kind. Gives the type that the file
/// goes by there.
fn fits(kind: &str, intake: &Intake, size: Option<u64>, mime: Option<String>) -> Result<Option<String>, SendError> {
    if let (Some(size), Some(most)) = (size, intake.largest)
        && size > most
    {
        let message = format!("the {kind} has {size} bytes, this gateway takes up to {most}");
        return Err(SendError::new(ErrorClass::TooLarge, message));
    }
    if size == Some(0) {
        return Err(rejected(format!("the {kind} is empty: it has no bytes")));
    }
    let family = match kind {
        "image" | "sticker" => "image/",
        "video" => "video/",
        "audio" | "voice" => "audio/",
        _ => "",
    };
    let unknown = mime.as_deref().is_none_or(|mime| mime == "application/octet-stream");
    // A picture whose type nobody can tell may be one; a document is only what its type says.
    let must_be_known = family.is_empty() && !intake.formats.is_empty();
    if unknown && !must_be_known {
        return Ok(mime);
    }
    let mime = mime.unwrap_or_else(|| "application/octet-stream".into());
    // A film without pictures is a sound to some, and OGG is both.
    let related = mime == "application/ogg" && family == "audio/";
    if !mime.starts_with(family) && !related {
        let hint =
            if mime == "text/html" { "; does the address lead to a page?" } else { "; send it with `send_file`" };
        return Err(rejected(format!("the {kind} is of type {mime}{hint}")));
    }
    if intake.formats.is_empty() || related || intake.formats.contains(&mime.as_str()) {
        return Ok(Some(mime));
    }
    if family.is_empty() && intake.formats.contains(&PLAIN) && mime::is_readable(&mime) {
        return Ok(Some(PLAIN.into()));
    }
    let takes = intake.formats.join(", ");
    Err(rejected(format!("the {kind} is of type {mime}, this gateway takes {takes}")))
}

fn missing(status: u16) -> SendError {
    rejected(format!("the file's address answers {status}"))
}

/// The name that says what a file is: the author's if it has an ending that is known, else its own.
fn called<'a>(media: &'a Media, own: &'a str) -> &'a str {
    media.name.as_deref().filter(|name| mime::by_name(name).is_some()).unwrap_or(own)
}

/// The last part of an address's path.
fn name_of(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let last = parsed.as_ref().and_then(|url| url.path_segments()?.next_back()).unwrap_or_default();
    let name = percent_encoding::percent_decode_str(last).decode_utf8_lossy().replace(['/', '\\'], "-");
    if name.is_empty() { "file".into() } else { name }
}

/// The name that the person sees: what the author wrote, else the file's own. It travels in headers
/// and ends up on disks, so it is one line, no path, and of a length that disks take.
fn named(mut file: Attached, media: &Media) -> Attached {
    let name = media.name.as_ref().unwrap_or(&file.name);
    let clean: String = name.chars().map(|c| if c.is_control() || "/\\\"".contains(c) { '-' } else { c }).collect();
    let (stem, ending) = match clean.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 10 => (stem, format!(".{ending}")),
        _ => (clean.as_str(), String::new()),
    };
    file.name = format!("{}{ending}", stem.chars().take(120).collect::<String>());
    file
}
