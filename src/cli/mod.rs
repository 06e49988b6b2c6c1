//! The commands.

mod accounts;
mod by_hand;
mod check;
mod client;
mod init;
mod next;
mod preview;
mod run;
mod show;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;
use crate::plain::plain;

/// A durable automation engine: YAML flows start scripts that send WhatsApp messages.
#[derive(Parser)]
#[command(name = "postrider", version, about, disable_help_subcommand = true)]
struct Cli {
    /// The folder with flows/, scripts/ and postrider.yaml.
    #[arg(long, short = 'w', global = true, default_value = ".", value_name = "DIR")]
    workspace: PathBuf,
    /// Print JSON, as the API does.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the engine until it is told to stop.
    Run(RunArgs),
    /// Print a link that opens the dashboard in a browser, once, within ten minutes.
    Open,
    /// Make a workspace: example flows to begin with. Never overwrites anything.
    Init,
    /// Check settings, flows and scripts; needs no running engine.
    Check,
    /// Show when schedules are due next; needs no running engine.
    Next(NextArgs),
    /// Tell what happened to a flow or a person on a day, and why.
    Why {
        /// The name of a flow, a phone or another address, or what a person is called.
        subject: String,
        /// Such as 2026-10-25, today or yesterday.
        #[arg(default_value = "today")]
        day: String,
    },
    /// Start a flow by hand.
    Trigger(TriggerArgs),
    /// List the flows that are live.
    Flows {
        /// Only this one.
        name: Option<String>,
    },
    /// List runs, or show one with its timeline.
    Runs(RunsArgs),
    /// List messages, show one, or decide about one.
    Messages(MessagesArgs),
    /// Send one message.
    Send(SendArgs),
    /// Look at the phones of the sandbox.
    Sandbox {
        #[command(subcommand)]
        what: Option<SandboxCommand>,
    },
    /// List accounts with their state, ask a gateway whether something could be sent, or list its groups.
    Accounts {
        #[command(subcommand)]
        what: Option<AccountsCommand>,
    },
    /// Show what a flow as it is written now would do with a run's journal: where it first differs.
    Simulate {
        /// The run's id.
        run: String,
    },
    /// Erase a person: messages, events, and the journals in which they stand.
    Forget {
        /// Phone or other address.
        recipient: String,
    },
    /// Show the card that WhatsApp makes of a link, and what stands in its way; needs no running
    /// engine.
    Preview {
        /// The link.
        url: String,
    },
}

#[derive(Args, Clone)]
struct RunArgs {
    /// Address of the public side (webhooks).
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of the private side (API).
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The state file.
    #[arg(long, value_name = "FILE")]
    store: Option<String>,
    /// Send nothing: every account is the sandbox, the state is a copy that is thrown away.
    #[arg(long)]
    sandbox: bool,
    /// Make a copied state the one that counts; its original must not run any more.
    #[arg(long, conflicts_with = "sandbox")]
    adopt: bool,
}

#[derive(Args)]
struct NextArgs {
    /// Only of this flow.
    flow: Option<String>,
    /// How many, up to 10,000.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// From this time on, such as 2026-12-01T09:00; else from now on.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
}

#[derive(Args)]
struct TriggerArgs {
    /// Name of the flow.
    flow: String,
    /// Data for the script's `event.data`: JSON, or @FILE.
    #[arg(long, conflicts_with = "event", value_name = "JSON")]
    data: Option<String>,
    /// A file with a whole event, to try a flow without its webhook, file or time.
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
    /// The body of a request, to try a flow with a webhook: text or JSON, or @FILE.
    #[arg(long, conflicts_with_all = ["data", "event"], value_name = "BODY")]
    body: Option<String>,
    /// Wait until the run has ended.
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct RunsArgs {
    #[command(subcommand)]
    what: Option<RunsCommand>,
    /// Only of this flow.
    #[arg(long)]
    flow: Option<String>,
    /// Only in this state.
    #[arg(long)]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Subcommand)]
enum RunsCommand {
    /// One run: event, timeline, messages.
    Show {
        /// Its id.
        id: String,
    },
    /// Take back a run that is not over, with what it promised and has not sent.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Let a failed run go on from the last answer that came from outside.
    Retry {
        /// Its id.
        id: String,
    },
    /// Begin a new run with the same event. What was promised before is not sent again.
    Replay {
        /// Its id.
        id: String,
        /// With the flow as it is now, not as it was then.
        #[arg(long)]
        latest: bool,
        /// Send again what was sent before.
        #[arg(long)]
        resend: bool,
    },
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
struct MessagesArgs {
    #[command(subcommand)]
    what: Option<MessagesCommand>,
    /// Only to this recipient.
    #[arg(long)]
    to: Option<String>,
    /// Only in this state.
    #[arg(long)]
    state: Option<String>,
    /// Only of this flow.
    #[arg(long)]
    flow: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Subcommand)]
enum MessagesCommand {
    /// One message with its attempts.
    Show {
        /// Its id.
        id: String,
    },
    /// One more round for messages that are dead or rejected.
    Retry(Chosen),
    /// Take back messages that have not been sent.
    Cancel(Chosen),
    /// Decide about unknown messages: did they go out?
    Release {
        #[command(flatten)]
        chosen: Chosen,
        /// `sent`: they did; `resend`: send them again.
        #[arg(long = "as", value_parser = ["sent", "resend"])]
        as_what: String,
    },
}

/// Messages by their ids, or all in a state.
#[derive(Args)]
struct Chosen {
    /// Their ids.
    #[arg(required_unless_present = "state", conflicts_with = "state", value_name = "ID")]
    ids: Vec<String>,
    /// All that are in this state, such as `dead`.
    #[arg(long)]
    state: Option<String>,
    /// Of those only the ones of this flow.
    #[arg(long, requires = "state")]
    flow: Option<String>,
    /// Of those only the ones to this recipient.
    #[arg(long, requires = "state")]
    to: Option<String>,
}

#[derive(Subcommand)]
enum AccountsCommand {
    /// Ask the gateway whether something could be sent now; without a name all of them.
    Check {
        /// The account.
        name: Option<String>,
    },
    /// List the groups that the account's phone is in, with the addresses that flows write to.
    Groups {
        /// The account.
        name: String,
    },
}

#[derive(Args)]
struct SendArgs {
    /// What to send.
    #[arg(value_parser = ["text", "link", "image", "file"])]
    kind: String,
    /// Whom to: a phone such as +15417543010, or a group.
    to: String,
    /// The text, the link, or the file's path or address.
    what: String,
    /// From this account.
    #[arg(long)]
    account: Option<String>,
    /// Words beside a link, image or file.
    #[arg(long)]
    caption: Option<String>,
    /// Title of a link's card.
    #[arg(long)]
    title: Option<String>,
    /// Description on a link's card.
    #[arg(long)]
    description: Option<String>,
}

#[derive(Subcommand)]
enum SandboxCommand {
    /// What the phones got, newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Answer as if typed on one of the phones.
    Reply(ReplyArgs),
}

#[derive(Args)]
struct ReplyArgs {
    /// The phone.
    from: String,
    /// What is typed.
    text: String,
    /// A file of the workspace that goes with it.
    #[arg(long, value_name = "PATH")]
    media: Option<String>,
    /// The account, where there are several sandboxes.
    #[arg(long)]
    account: Option<String>,
}

/// Why a command ended badly.
pub enum Failure {
    /// Said already.
    Reported,
    /// To be said.
    Said(String),
    /// To be said; the command was not written as it should be.
    Usage(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Said(message)
    }
}

/// Reads the command line. What is wrong with it repeats what was typed, so that is read once more
/// without letters that steer.
fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse().map_err(|wrong| {
        let typed = std::env::args_os().map(|typed| plain(&typed.to_string_lossy()).into_owned());
        Cli::try_parse_from(typed).err().unwrap_or(wrong)
    })
}

/// Reads the command line, does what it says, gives the exit code: 0 fine, 1 problems found or
/// refused, 2 usage.
pub fn main() -> ExitCode {
    let cli = parse().unwrap_or_else(|wrong| wrong.exit());
    let flags = match &cli.command {
        Command::Run(args) => {
            let (listen, admin, store) = (args.listen.clone(), args.admin.clone(), args.store.clone());
            Flags { listen, admin, store, sandbox: args.sandbox, adopt: args.adopt }
        }
        _ => Flags::default(),
    };
    let place = client::Place { root: cli.workspace, json: cli.json };
    let result = match cli.command {
        Command::Run(_) => run::run(&place.root, flags),
        Command::Open => by_hand::open(&place),
        Command::Init => init::init(&place),
        Command::Check => check::check(&place),
        Command::Next(args) => next::next(&place, &args),
        Command::Why { subject, day } => show::why(&place, &subject, &day),
        Command::Trigger(args) => show::trigger(&place, &args),
        Command::Flows { name } => show::flows(&place, name.as_deref()),
        Command::Runs(args) => show::runs(&place, &args),
        Command::Messages(args) => show::messages(&place, &args),
        Command::Send(args) => show::send(&place, &args),
        Command::Sandbox { what: None } => show::sandbox(&place, 20),
        Command::Sandbox { what: Some(SandboxCommand::List { limit }) } => show::sandbox(&place, limit),
        Command::Sandbox { what: Some(SandboxCommand::Reply(args)) } => by_hand::reply(&place, &args),
        Command::Simulate { run } => by_hand::simulate(&place, &run),
        Command::Forget { recipient } => by_hand::forget(&place, &recipient),
        Command::Accounts { what: None } => accounts::list(&place),
        Command::Accounts { what: Some(AccountsCommand::Check { name }) } => accounts::check(&place, name.as_deref()),
        Command::Accounts { what: Some(AccountsCommand::Groups { name }) } => accounts::groups(&place, &name),
        Command::Preview { url } => preview::preview(&place, &url),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Said(message)) => {
            table::complain(&message);
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            table::complain(&message);
            ExitCode::from(2)
        }
    }
}
