//! Which webhook a path leads to. Paths are compared as they are meant: decoded, part by part.

use std::collections::HashMap;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Flow, Webhook};

/// What is written encoded in a path that is compared, however it was sent. No webhook's own path has
/// one of these, so none of them makes a part another part.
const ENCODED: &AsciiSet = &CONTROLS.add(b'/').add(b'%');

/// One webhook trigger of one flow.
#[derive(Clone)]
pub struct Route {
    /// The flow.
    pub flow: Arc<Flow>,
    /// The trigger itself.
    pub webhook: Arc<Webhook>,
}

/// Where a path leads.
pub struct Matched<'a> {
    /// Webhooks with this path, one for each method at most.
    pub routes: &'a [Route],
    /// The path's parameters, decoded.
    pub params: Vec<(String, String)>,
}

/// The webhooks of a set of flows.
#[derive(Default)]
pub(super) struct Routes {
    router: matchit::Router<usize>,
    places: HashMap<String, usize>,
    lists: Vec<Vec<Route>>,
    /// Places by how many parts their paths have and whether some are parameters, then by the first part
    /// if it is none: among thousands of webhooks few have to be compared.
    shapes: HashMap<(usize, bool), Group>,
}

type Group = HashMap<Option<String>, Vec<usize>>;

impl Routes {
    /// The webhooks with just this path.
    pub(super) fn list(&self, path: &str) -> &[Route] {
        self.places.get(path).map_or(&[], |place| &self.lists[*place])
    }

    /// What the path of a request leads to.
    pub(super) fn find(&self, path: &str) -> Option<Matched<'_>> {
        let path = canonical(path)?;
        let found = self.router.at(&path).ok()?;
        let decoded = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), decoded(value))).collect();
        Some(Matched { routes: &self.lists[*found.value], params })
    }

    /// A webhook that some requests for this one would reach as well, by another path.
    pub(super) fn beside<'a>(&'a self, webhook: &Webhook) -> Option<&'a Route> {
        let ((parts, has_parameters), first) = shape(&webhook.path);
        // Two paths without parameters overlap only if they are one.
        let groups = [true, false].into_iter().filter(|other| has_parameters || *other);
        let groups = groups.filter_map(|other| self.shapes.get(&(parts, other)));
        let alike = |group: &'a Group| -> Vec<&'a Vec<usize>> {
            match &first {
                Some(_) => [group.get(&first), group.get(&None)].into_iter().flatten().collect(),
                None => group.values().collect(),
            }
        };
        let places = groups.flat_map(alike).flatten();
        let mut routes = places.flat_map(|place| &self.lists[*place]);
        routes.find(|route| route.webhook.path != webhook.path && overlap(&route.webhook, webhook))
    }

    /// Makes room for a path; says whether it is new, or which path it cannot be told from.
    pub(super) fn add(&mut self, path: &str) -> Result<bool, String> {
        if self.places.contains_key(path) {
            return Ok(false);
        }
        match self.router.insert(encoded(path), self.lists.len()) {
            Ok(()) => {
                self.places.insert(path.into(), self.lists.len());
                self.lists.push(Vec::new());
                Ok(true)
            }
            Err(matchit::InsertError::Conflict { with }) => {
                Err(percent_decode_str(&with).decode_utf8_lossy().into_owned())
            }
            Err(other) => Err(other.to_string()),
        }
    }

    /// Undoes the last [`Self::add`] that is not undone.
    pub(super) fn take_back(&mut self, path: &str) {
        self.router.remove(encoded(path));
        self.places.remove(path);
        self.lists.pop();
    }

    /// Leads a path that has room to a webhook.
    pub(super) fn lead(&mut self, flow: &Arc<Flow>, webhook: &Arc<Webhook>) {
        let Some(place) = self.places.get(&webhook.path) else { return };
        if self.lists[*place].is_empty() {
            let (key, first) = shape(&webhook.path);
            self.shapes.entry(key).or_default().entry(first).or_default().push(*place);
        }
        self.lists[*place].push(Route { flow: flow.clone(), webhook: webhook.clone() });
    }
}

/// Whether one request can be meant by both webhooks.
pub(super) fn overlap(one: &Webhook, other: &Webhook) -> bool {
    let (mut parts, mut others) = (one.path.split('/'), other.path.split('/'));
    let paths = loop {
        match (parts.next(), others.next()) {
            (None, None) => break true,
            (Some(part), Some(other)) if part == other || is_parameter(part) || is_parameter(other) => {}
            _ => break false,
        }
    };
    paths && one.methods.iter().any(|method| other.methods.contains(method))
}

fn is_parameter(part: &str) -> bool {
    part.starts_with('{')
}

fn shape(path: &str) -> ((usize, bool), Option<String>) {
    let first = path.split('/').nth(1).filter(|part| !is_parameter(part));
    ((path.split('/').count(), path.split('/').any(is_parameter)), first.map(str::to_owned))
}

fn encoded(path: &str) -> String {
    path.split('/').map(|part| utf8_percent_encode(part, ENCODED).to_string()).collect::<Vec<_>>().join("/")
}

/// The path of a request as it is compared. None when it can mean nothing: a part is empty, or is no
/// text.
fn canonical(path: &str) -> Option<String> {
    let part = |part: &str| {
        let decoded = percent_decode_str(part).decode_utf8().ok().filter(|text| !text.is_empty())?;
        Some(utf8_percent_encode(&decoded, ENCODED).to_string())
    };
    let parts: Vec<String> = path.strip_prefix('/')?.split('/').map(part).collect::<Option<_>>()?;
    Some(format!("/{}", parts.join("/")))
}
