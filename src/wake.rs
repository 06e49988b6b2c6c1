//! Hints that shorten a wait. Losing one only makes something later, never wrong: the store's
//! tables are the truth and every service reads them again by itself.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A set of names that changed, and a bell.
///
/// Ringing for a name twice before anybody looked counts once, so it is bounded by the number of
/// different names.
#[derive(Clone, Default)]
pub struct Bell {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    names: Mutex<HashSet<Arc<str>>>,
    notify: Notify,
}

impl Bell {
    /// Something about `name` changed.
    pub fn ring(&self, name: &Arc<str>) {
        let fresh = {
            let mut names = self.inner.names.lock().unwrap_or_else(PoisonError::into_inner);
            !names.contains(name) && names.insert(name.clone())
        };
        if fresh {
            self.inner.notify.notify_one();
        }
    }

    /// Look again, at nothing in particular.
    pub fn nudge(&self) {
        self.inner.notify.notify_one();
    }

    /// Waits until it has been rung since the last look.
    pub async fn rung(&self) {
        self.inner.notify.notified().await;
    }

    /// The names rung for since the last look.
    pub fn take(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut *self.inner.names.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
