//! What WhatsApp's crawler would make of a link: the card, and everything that stands in its way.
//!
//! The rules are from Meta's page on link previews and from GOWA's code, which makes its cards
//! itself.

mod page;
mod robots;

use std::time::Duration;

use serde::Serialize;
use url::Url;

use crate::fetch::{Bounds, Fetch, FetchError, Fetched, shown};
use crate::plain::plain;
use page::Head;

/// The crawler's name; servers tell it by how it begins.
pub const AGENT: &str = "WhatsApp/2.24.20 A";
/// What it takes.
const PAGES: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5";

/// Tags further down are not seen.
const HEAD: usize = 300_000;
/// Pictures above this are left out of cards.
const HEAVY: u64 = 600_000;
/// Most bytes of a picture that are looked at.
const PICTURE: usize = 2_000_000;
const NARROW: usize = 300;
const SMALL: usize = 200;
/// Far more than any card shows.
const LONGEST_TITLE: usize = 300;
const LONGEST_DESCRIPTION: usize = 1_000;
const LONGEST_ADDRESS: usize = 2_048;
/// Longer than this, people see a bare link first.
const SLOW: Duration = Duration::from_secs(3);

/// What a page gives for a card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Card {
    /// First line.
    pub title: Option<String>,
    /// Below it.
    pub description: Option<String>,
    /// A whole address.
    pub image: Option<String>,
    /// The site's name.
    pub site: Option<String>,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// There will be no card.
    Error,
    /// It will lack something.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing about a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A short word for programs, such as `image_small`.
    pub kind: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// A link as the crawler sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The link.
    pub url: String,
    /// Where it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads_to: Option<String>,
    /// HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The card.
    pub card: Card,
    /// Everything found, the worst first.
    pub findings: Vec<Finding>,
}

/// The card of a page, and nothing else.
///
/// # Errors
/// A sentence: it cannot be had, or is no page.
pub async fn card(fetch: &Fetch, url: &str, time: Duration) -> Result<Card, String> {
    let page = fetch.get(url, AGENT, PAGES, Bounds { time, bytes: HEAD }).await.map_err(|error| error.to_string())?;
    if !(200..300).contains(&page.status) {
        return Err(format!("the page answers {}", page.status));
    }
    match page.mime() {
        Some(mime) if !is_page(&mime) => Err(format!("the link leads to {mime}, not to a page")),
        _ => Ok(card_of(&read(&page).ok_or_else(|| packed(&page))?)),
    }
}

/// The head of a page, unless it came packed in a way that nobody asked for and we cannot undo.
fn read(page: &Fetched) -> Option<Head> {
    let body = page::unpacked(&page.body, page.header("content-encoding"), HEAD)?;
    Some(page::head(&page::decode(&body, page.header("content-type")), &page.url))
}

fn packed(page: &Fetched) -> String {
    let way = page.header("content-encoding").unwrap_or_default();
    format!("the page comes compressed (`content-encoding: {}`), which was not asked for", plain(way))
}

fn card_of(head: &Head) -> Card {
    let first = |places: [&Option<String>; 2], most: usize| {
        let text = places.into_iter().find_map(Option::as_ref)?;
        Some(text.chars().take(most).collect::<String>())
    };
    Card {
        title: first([&head.og_title, &head.title], LONGEST_TITLE),
        description: first([&head.og_description, &head.description], LONGEST_DESCRIPTION),
        // An address that was cut would be another one.
        image: first([&head.og_image, &head.twitter_image], usize::MAX).filter(|url| url.len() <= LONGEST_ADDRESS),
        site: first([&head.site_name, &None], LONGEST_TITLE),
    }
}

fn is_page(mime: &str) -> bool {
    matches!(mime, "text/html" | "application/xhtml+xml")
}

/// Looks at a link in every way that the crawler would, and more.
pub async fn look(fetch: &Fetch, link: &str, time: Duration) -> Preview {
    let mut preview =
        Preview { url: link.into(), leads_to: None, status: None, card: Card::default(), findings: Vec::new() };
    let mut looking = Looking { fetch, time, preview: &mut preview };
    looking.all(link).await;
    preview.findings.sort_by_key(|finding| finding.weight);
    preview
}

struct Looking<'a> {
    fetch: &'a Fetch,
    time: Duration,
    preview: &'a mut Preview,
}

impl Looking<'_> {
    fn find(&mut self, weight: Weight, kind: &'static str, message: impl Into<String>, hint: &'static str) {
        self.preview.findings.push(Finding { kind, weight, message: message.into(), hint });
    }

    async fn all(&mut self, link: &str) {
        let Ok(url) = Url::parse(link).map_err(|_| ()).and_then(|url| match url.scheme() {
            "http" | "https" if url.has_host() => Ok(url),
            _ => Err(()),
        }) else {
            let hint = "write the link with `https://` in front";
            return self.find(Weight::Error, "scheme", "the link does not begin with http:// or https://", hint);
        };
        if url.scheme() == "http" {
            let hint = "offer the page by https://";
            self.find(Weight::Warning, "no_https", "the link is not encrypted (http://)", hint);
        }
        let bounds = Bounds { time: self.time, bytes: HEAD };
        let page = match self.fetch.get(link, AGENT, PAGES, bounds).await {
            Ok(page) => page,
            Err(error) => return self.unreached(&error),
        };
        self.preview.leads_to = (page.url != url).then(|| page.url.to_string());
        self.preview.status = Some(page.status);
        self.way(&url, &page);
        if !self.robots(&page.url).await {
            let hint = "allow the user agent `WhatsApp` in robots.txt";
            self.find(Weight::Warning, "robots", "robots.txt asks crawlers to stay away from this page", hint);
        }
        if !(200..300).contains(&page.status) {
            return;
        }
        if let Some(mime) = page.mime().filter(|mime| !is_page(mime)) {
            let what = match mime.as_str() {
                "application/pdf" => "a PDF".to_owned(),
                mime if mime.starts_with("video/") => format!("a film ({mime})"),
                mime if mime.starts_with("image/") => format!("a picture ({mime})"),
                mime => mime.to_owned(),
            };
            let hint = "link to a page about it, or send the file itself with `send_file` or `send_image`";
            let message = format!("the link leads to {what}, not to a page: there is nothing to make a card of");
            return self.find(Weight::Error, "no_page", message, hint);
        }
        let Some(head) = read(&page) else {
            let hint = "let the server compress only what is asked for by `accept-encoding`";
            return self.find(Weight::Error, "compressed", packed(&page), hint);
        };
        self.preview.card = card_of(&head);
        self.tags(&head, &page);
        if let Some(image) = self.preview.card.image.clone() {
            self.picture(&image).await;
        }
        let message = "cards are cached: what you change on the page may not show for some time, and never in \
            messages that are sent already";
        self.find(Weight::Note, "cached", message, "add something like `?v=2` to the link to get a fresh card");
    }

    fn unreached(&mut self, error: &FetchError) {
        let (kind, hint) = match error {
            FetchError::Refused(_) => ("not_public", "WhatsApp can only show pages that everybody can reach"),
            FetchError::Slow(_) => ("slow", "make the page answer faster"),
            FetchError::Circles(_) => ("redirects", "link to where the redirects end"),
            FetchError::Unreachable(_) => ("unreachable", "is the address right, and the server up?"),
        };
        self.find(Weight::Error, kind, error.to_string(), hint);
    }

    /// Status, redirects, time, and where it all ended.
    fn way(&mut self, url: &Url, page: &Fetched) {
        match page.status {
            200..=299 => {}
            401 | 403 => {
                let message = format!("the page is not public: it answers {}", page.status);
                self.find(Weight::Error, "not_public", message, "let visitors in without a login");
            }
            404 | 410 => {
                self.find(Weight::Error, "gone", format!("the page answers {}", page.status), "check the link")
            }
            status => {
                let message = format!("the page answers {status}");
                self.find(Weight::Error, "status", message, "the page must answer 200");
            }
        }
        let login = ["login", "signin", "sign-in", "sign_in", "/auth", "/sso", "accounts.google."];
        let at_login = |url: &Url| login.iter().any(|word| url.as_str().to_ascii_lowercase().contains(word));
        if !page.hops.is_empty() && at_login(&page.url) && !at_login(url) {
            let message = format!("the link leads to a login page ({})", shown(&page.url));
            self.find(Weight::Error, "not_public", message, "link to a page that is open to everybody");
        }
        if page.hops.len() > 1 {
            let message = format!("the link goes through {} redirects", page.hops.len());
            self.find(Weight::Warning, "redirects", message, "link to where they end");
        }
        if page.took > SLOW {
            let message = format!("the page took {:.1} seconds", page.took.as_secs_f64());
            self.find(Weight::Warning, "slow", message, "the card may come late or not at all; make it faster");
        }
        let host = page.url.host_str().unwrap_or_default().trim_start_matches("www.");
        let maps = host.starts_with("maps.") || (host.contains("google.") && page.url.path().starts_with("/maps"));
        let what = match host {
            "apps.apple.com" | "play.google.com" => "an app in a store",
            "youtube.com" | "youtu.be" | "vimeo.com" => "a film",
            "goo.gl" => "a place on a map",
            _ if maps => "a place on a map",
            _ => return,
        };
        let message = format!("the link leads to {what}; the card is what that service makes of it");
        self.find(Weight::Note, "service", message, "a place can be sent as a location, a film as a file");
    }

    fn tags(&mut self, head: &Head, page: &Fetched) {
        for (kind, there, instead, what) in [
            ("og_title", &head.og_title, head.title.as_deref(), "og:title"),
            ("og_description", &head.og_description, head.description.as_deref(), "og:description"),
            ("og_image", &head.og_image, head.twitter_image.as_deref(), "og:image"),
            ("og_url", &head.og_url, head.canonical.as_deref(), "og:url"),
        ] {
            if there.is_some() {
                continue;
            }
            let weight = match (kind, instead) {
                ("og_title", None) => Weight::Error,
                ("og_url", Some(_)) => Weight::Note,
                _ => Weight::Warning,
            };
            let message = match instead {
                Some(instead) => format!("the page has no `{what}`; instead there is \"{}\"", short(instead)),
                None => format!("the page has no `{what}`, and nothing instead of it"),
            };
            self.find(weight, kind, message, "add the tag to the page's head");
        }
        for (kind, there, what) in
            [("og_site_name", &head.site_name, "og:site_name"), ("og_type", &head.og_type, "og:type")]
        {
            if there.is_none() {
                self.find(Weight::Note, kind, format!("the page has no `{what}`"), "add the tag to the page's head");
            }
        }
        if !page.whole {
            let message = "the page is longer than 300 KB; tags further down are not seen";
            self.find(Weight::Note, "long", message, "put the tags near the beginning of the head");
        }
    }

    async fn picture(&mut self, image: &str) {
        if image.starts_with("http://") {
            let message = "the picture's address is not encrypted (http://)";
            self.find(Weight::Warning, "image_no_https", message, "offer the picture by https://");
        }
        let bounds = Bounds { time: self.time, bytes: PICTURE };
        let picture = match self.fetch.get(image, AGENT, "image/*", bounds).await {
            Ok(picture) if (200..300).contains(&picture.status) => picture,
            Ok(picture) => {
                let message = format!("the picture answers {} ({image})", picture.status);
                return self.find(Weight::Warning, "image_missing", message, "mend the address in `og:image`");
            }
            Err(error) => {
                let message = format!("the picture cannot be had: {error}");
                return self.find(Weight::Warning, "image_missing", message, "mend the address in `og:image`");
            }
        };
        if picture.took > SLOW {
            let message = format!("the picture took {:.1} seconds", picture.took.as_secs_f64());
            self.find(Weight::Warning, "image_slow", message, "make it smaller, or serve it from nearer to people");
        }
        let found = infer::get(&picture.body).map(|kind| kind.mime_type());
        if !matches!(found, Some("image/jpeg" | "image/png")) {
            let what = found.map(str::to_owned).or_else(|| picture.mime()).unwrap_or("of no known type".into());
            let message = format!("the picture is {what}");
            self.find(Weight::Warning, "image_format", message, "use a JPEG or PNG picture");
        }
        match picture.size() {
            Some(size) if size > HEAVY => {
                let message = format!("the picture weighs {} KB, more than the 600 that are taken", size / 1000);
                self.find(Weight::Warning, "image_heavy", message, "compress it");
            }
            None if !picture.whole => {
                self.find(Weight::Warning, "image_heavy", "the picture weighs more than 2 MB", "compress it");
            }
            _ => {}
        }
        let Ok(size) = imagesize::blob_size(&picture.body) else { return };
        let said = format!("{} × {} pixels", size.width, size.height);
        if size.width < SMALL || size.height < SMALL {
            let message = format!("the picture has {said}, less than 200 × 200");
            self.find(Weight::Warning, "image_small", message, "use 1200 × 630 pixels");
        } else if size.width < NARROW {
            let message = format!("the picture has {said}; below a width of 300 it may be left out");
            self.find(Weight::Warning, "image_small", message, "use 1200 × 630 pixels");
        }
        let (long, short) = (size.width.max(size.height), size.width.min(size.height).max(1));
        if long > short * 4 {
            let message = format!("the picture has {said}: one side is more than four times the other");
            self.find(Weight::Warning, "image_ratio", message, "use a ratio of 1.91 to 1, such as 1200 × 630 pixels");
        }
    }

    async fn robots(&self, url: &Url) -> bool {
        let Ok(place) = url.join("/robots.txt") else { return true };
        let bounds = Bounds { time: self.time, bytes: 512 << 10 };
        // Whatever is wrong with it, a file that cannot be had forbids nothing.
        match self.fetch.get(place.as_str(), AGENT, "text/plain,*/*;q=0.5", bounds).await {
            Ok(robots) if robots.status == 200 => {
                let text = String::from_utf8_lossy(&robots.body);
                robots::allows(&text, "whatsapp", &url[url::Position::BeforePath..url::Position::AfterQuery])
            }
            _ => true,
        }
    }
}

fn short(text: &str) -> String {
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}
