//! What a gateway's folder says of itself, and the line of the table that this becomes. Settings, the composition
//! root, pages of documentation and tests read the table and name no gateway.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::keys::Keys;
use super::redacted::Redacted;
use super::site::Site;
use super::{SharedTransport, Transport};
use crate::model::capability::Capabilities;
use crate::model::policy::Pace;
use crate::secret::Secret;

/// What an account of one gateway is configured with.
pub trait Options: fmt::Debug + PartialEq + Send + Sync + Sized + 'static {
    /// The gateway's word in settings.
    const NAME: &'static str;
    /// The keys of its own that an account has.
    const KEYS: &'static [&'static str];
    /// How fast an account sends that says nothing about it.
    const PACE: Pace;
    /// What to do for an account that has nothing to verify events by.
    const REMEDY: &'static str = "set `inbound_token` on the account";
    /// Nobody else is behind it: it never lets one wait, and says nothing that we have not made.
    const BUILT_IN: bool = false;

    /// Reads them; none when something is wrong, which is noted then.
    fn read(keys: &mut Keys<'_>) -> Option<Self>;

    /// The credentials among them, in each form that goes over the wire encoded.
    fn secrets(&self) -> Vec<Secret>;
}

/// How one gateway is spoken to.
pub trait Adapter: Transport + Sized + 'static {
    /// What it is configured with.
    type Options: Options;

    /// What the gateway can do.
    fn can(options: &Self::Options) -> &'static Capabilities;

    /// For one account.
    ///
    /// # Errors
    /// When a credential cannot be sent in a header, or no client for HTTP can be made.
    fn new(options: &Self::Options, site: &Site<'_>) -> Result<Self, String>;
}

/// One line of the table.
pub struct Gateway {
    /// Its word in settings.
    pub name: &'static str,
    /// The keys of its own that an account has.
    pub keys: &'static [&'static str],
    /// How fast an account sends that says nothing about it.
    pub pace: Pace,
    /// What to do for an account that has nothing to verify events by.
    pub remedy: &'static str,
    /// Nobody else is behind it.
    pub is_built_in: bool,
    /// Reads what an account is configured with.
    pub read: fn(&mut Keys<'_>) -> Option<Configured>,
}

impl Gateway {
    /// What the folder of `A` says.
    pub const fn of<A: Adapter>() -> Self {
        Self {
            name: A::Options::NAME,
            keys: A::Options::KEYS,
            pace: A::Options::PACE,
            remedy: A::Options::REMEDY,
            is_built_in: A::Options::BUILT_IN,
            read: Configured::read::<A>,
        }
    }
}

/// A gateway with what one account is configured with for it.
#[derive(Clone)]
pub struct Configured {
    /// The gateway, as the table has it.
    pub row: &'static Gateway,
    options: Arc<dyn Chosen>,
}

impl Configured {
    /// With these options.
    pub fn new<A: Adapter>(options: A::Options) -> Self {
        Self { row: const { &Gateway::of::<A>() }, options: Arc::new(Of::<A>(options)) }
    }

    fn read<A: Adapter>(keys: &mut Keys<'_>) -> Option<Self> {
        A::Options::read(keys).map(Self::new::<A>)
    }

    /// What the gateway can do.
    pub fn capabilities(&self) -> &'static Capabilities {
        self.options.capabilities()
    }

    /// The adapter, which says none of the account's credentials.
    ///
    /// # Errors
    /// As of [`Adapter::new`].
    pub fn transport(&self, site: &Site<'_>) -> Result<SharedTransport, String> {
        let bare = self.options.transport(site)?;
        if self.row.is_built_in {
            return Ok(bare);
        }
        let own = self.options.secrets();
        let secrets: Vec<&Secret> = own.iter().chain(site.inbound_token).collect();
        Ok(Arc::new(Redacted::new(bare, &secrets)))
    }
}

impl PartialEq for Configured {
    fn eq(&self, other: &Self) -> bool {
        self.options.is_same(&*other.options)
    }
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

/// Options of which only their gateway knows the type.
trait Chosen: Any + fmt::Debug + Send + Sync {
    fn capabilities(&self) -> &'static Capabilities;
    fn secrets(&self) -> Vec<Secret>;
    fn transport(&self, site: &Site<'_>) -> Result<SharedTransport, String>;
    fn is_same(&self, other: &dyn Chosen) -> bool;
}

/// The options of one adapter.
struct Of<A: Adapter>(A::Options);

impl<A: Adapter> fmt::Debug for Of<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<A: Adapter> Chosen for Of<A> {
    fn capabilities(&self) -> &'static Capabilities {
        A::can(&self.0)
    }

    fn secrets(&self) -> Vec<Secret> {
        self.0.secrets()
    }

    fn transport(&self, site: &Site<'_>) -> Result<SharedTransport, String> {
        Ok(Arc::new(A::new(&self.0, site)?))
    }

    fn is_same(&self, other: &dyn Chosen) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<Self>().is_some_and(|other| other.0 == self.0)
    }
}
