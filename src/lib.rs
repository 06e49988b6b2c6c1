//! Postrider is a durable automation engine: YAML flows start Rhai scripts, scripts send WhatsApp
//! messages through gateways. This page is the map of the house.
//!
//! # The main job
//!
//! ```text
//! http::webhook   verifies, reads the body, makes the event
//!   → run::intake      offers the run to the run queue; if its first turn is not done at once, the run is accepted
//!                      without it, and the dispatcher or the offer brings it to a thread
//!   → run::worker      takes a run from the queue, on a thread of its own kind
//!   → script::turn     pure: script + event + journal → ending, entries, promises
//!   → ledger::turns    the run, its entries, messages and new state in one transaction; only now is the caller told
//!   → ledger::journal  what the turn recorded, and what is kept of one that threw
//!   → outbox::lane     gets the messages with the commit; claims (the attempt is on record), sends, settles
//!   → transport        one gateway's dialect over HTTP
//! ```
//!
//! The other ways in meet it at the run: [`trigger`] begins runs for the clock and for files, each
//! in one transaction with what makes it unique (the instant; the file's content). Files that
//! change are taken over by `app::reload`: [`flow::library`] reads what changed, [`flow::catalog`]
//! is the set that is live, swapped whole; [`changes`] only tells when to look.
//!
//! # What keeps the promise
//!
//! * **A signal is a hint, the table is the truth.** Bells ([`wake`]) only shorten a wait; every
//!   service reads the store by itself and would find its work without them.
//! * **A turn does no I/O.** What a script wants is a promise (recorded, the script goes on) or a
//!   question (the turn ends; with the answer in the journal it is run again from its first line).
//!   The first question closes a latch, so that nothing can swallow it.
//! * **One turn, one transaction.** Journal entries and messages are on disk together, before the
//!   outside world is touched; a message's id is made from run, position and index, so the same
//!   promise is one message.
//! * **An attempt is on record before the wire is touched.** One that is open after a crash, or
//!   ends without a clear answer, is `unknown`: nobody guesses.
//! * **One writer.** All changes go through one thread that puts whatever waits into one
//!   transaction ([`store::sqlite`]); the folder's lock makes one engine the owner.
//! * **Rules, rows, backends.** [`ledger`] has every legal step, a function over one transaction with no SQL in it;
//!   what one step means for others is a queue that is worked off before the commit. [`store::rows`] has all SQL, by
//!   noun, in the dialect that SQLite and PostgreSQL share. [`store::sqlite`] has only what is SQLite's own.
//!
//! # Layers
//!
//! Imports point downward only; `tests/it/tidy.rs` checks it.
//!
//! | row | modules | job |
//! |---|---|---|
//! | 9 | [`cli`] | commands |
//! | 8 | [`app`] | composition root: settings become ready objects, services start and stop |
//! | 7 | [`config`] | `postrider.yaml`, `.env`, flags |
//! | 6 | [`http`], [`trigger`], [`alarm`] | public side (webhooks), private side (pages, API); clock and files |
//! | 5 | [`view`] | read models: API, commands and pages say the same |
//! | 4 | [`run`], [`inbound`] | intake, run queue, threads, effects, waiting callers; requests of gateways become what the ledger takes in |
//! | 3 | [`flow`], [`outbox`], [`ledger`] | flow files and versions; lanes, order, pace, retries; every legal step of what is durable |
//! | 2 | [`store`], [`transport`], [`script`] | rows and the database; gateways; Rhai |
//! | 1 | [`model`] | nouns and pure decisions |
//! | 0 | [`blobs`], [`changes`], [`clock`], [`cores`], [`feed`], [`fetch`], [`few`], [`files`], [`id`], [`json`], [`links`], [`memory`], [`panics`], [`plain`], [`preview`], [`secret`], [`service`], [`shutdown`], [`tally`], [`telemetry`], [`units`], [`wake`] | leaves |
//!
//! # Where things are decided
//!
//! | what | file |
//! |---|---|
//! | in which states a step is legal: of a run; of a message | `model/run.rs`; `model/delivery.rs` |
//! | the words of a state or of an attempt's end | the same |
//! | whether a run is accepted: room for it, shares of flows | `ledger/runs.rs`; `ledger/work/backlog.rs` |
//! | whether a run is accepted together with its first turn; how long that may take | `run/fresh.rs`; `run/intake.rs` |
//! | what a turn changes; what people are told that its run waits for | `ledger/turns.rs` |
//! | what a turn leaves in the journal, also one that threw | `ledger/journal.rs` |
//! | values (`kv`), `emit`, waiting for a message's fate | `ledger/values.rs`, `ledger/events.rs`, `ledger/delivery_waits.rs` |
//! | `ask`: one at a time in a chat, its time, reminder, end | `ledger/questions.rs` |
//! | which run a reply is for, and whether it is an answer | `ledger/replies.rs` |
//! | how an answer is understood: choices, numbers, patterns | `model/conversation.rs` |
//! | who wants no more messages, by which words | `model/opt_out.rs` |
//! | opening an attempt: budgets, people who opted out | `ledger/claims.rs` |
//! | the end of an attempt | `ledger/attempts.rs` |
//! | what a step changes in a message: tries, times, place | `ledger/messages.rs` |
//! | what a gateway's answer means for the next try, and when | `outbox/outcome.rs`; waits: `model/policy.rs` |
//! | acks, echoes, messages of which nobody knows | `ledger/reconciliation.rs` |
//! | after a crash | `ledger/recovery.rs` |
//! | what the clock does: to messages; to runs | `ledger/message_timers.rs`; `ledger/run_timers.rs` |
//! | retry, release, end a wait by hand; cancel, and ends of runs without a turn | `ledger/operator.rs`; `ledger/endings.rs` |
//! | what moves to another account; when | `ledger/failover.rs`; `outbox/failover_timing.rs` |
//! | how new messages come to their lane without being read | `store/arrivals.rs` |
//! | order of what one person gets | `outbox/queues.rs` |
//! | how fast: rate, distance to one person, quiet hours | `outbox/pace.rs` |
//! | how many at once; pause and probe of a failing account | `outbox/permits.rs`; `outbox/breaker.rs` |
//! | why a message waits or how it ended, in words | `outbox/why.rs` |
//! | how many runs are read ahead; fairness between flows | `run/flow_queue.rs`; `run/queue.rs` |
//! | answers that a turn gets at once; errands | `run/local_answers.rs`; `run/effects.rs` |
//! | another attempt of a run, its failure flow | `run/without_script.rs`, `run/follow_up.rs` |
//! | `event` and `params` in a script; when a script is compiled | `script/constants.rs`; `script/program.rs` |
//! | CPU and memory of a turn | `script/limits.rs` |
//! | what a script function takes and does | `script/host/`; fields of messages: `script/message.rs` |
//! | a link's card: what is read of its page; when it is filled in | `preview/mod.rs`; `outbox/cards.rs` |
//! | which account is meant, and the sentence when there is none | `model/accounts.rs` |
//! | what a gateway can do; how a message is made to fit | `model/capability.rs`, `model/fit.rs` |
//! | one gateway: its keys; its requests; its events | `transport/NAME/options.rs`, `transport/NAME/adapter.rs`, `transport/NAME/events.rs` |
//! | numbers of acks; what gateways' answers and events share | `transport/acks.rs`; `transport/answer.rs`, `transport/events/mod.rs` |
//! | instants of a schedule; what became of them | `flow/schedule.rs`, `trigger/due.rs`; `trigger/clockwork.rs` |
//! | which file begins a run | `trigger/file_watch.rs` |
//! | keys of a flow file; of the settings | `flow/file/`; `config/` |
//! | what is checked of a webhook; its answer | `http/verify.rs`; `http/webhook.rs` |
//! | usual limits (bodies, CPU, memory, backlog), tries, waits | `model/policy.rs` |
//! | room that all connections share: bodies, slow callers | `http/side/` |
//! | the folder `.postrider`: its lock, token and keys | `app/state_folder.rs` |
//! | what pages, API and commands are given of accounts, flows, messages, runs, ... | `view/` |
//! | words that pages and commands share; routes and markup of one page | `view/words.rs`; `http/pages/`, `http/pages/templates/` |
//! | what a lane shows of itself | `outbox/mod.rs` |
//! | what a list shows and how it is searched | `store/rows/lists.rs` |
//! | SQL of a noun | `store/rows/` |
//! | the file itself: tables; formats; opening; log; readers; rows that nobody can work on | `store/sqlite/formats.rs`; `store/sqlite/schema.rs`; `store/sqlite/connect.rs`; `store/sqlite/checkpoint.rs`; `store/sqlite/readers.rs`; `store/sqlite/repair.rs` |
//! | what is old enough to go; how much at once, and when it is looked for | `ledger/keep.rs`; `app/keep.rs` |
//! | forgetting a person; what deleted rows leave on the disk | `ledger/forget.rs`; `store/sqlite/scrub.rs` |
//!
//! # Glossary
//!
//! | our word | elsewhere | what it is |
//! |---|---|---|
//! | flow | workflow | a YAML file: triggers and a script |
//! | run | execution, workflow instance | one event, worked on to its end |
//! | turn | workflow task, activation | the script from its first line, as far as recorded answers carry it |
//! | journal, entry | event history | the calls of a run with their answers, from which a turn is replayed |
//! | promise | command, outbox record | something that a turn wants done, on disk with the turn |
//! | question | await, blocking call | something that a script cannot go on without |
//! | errand, effect | activity, side effect | an answer that is fetched outside, between two turns; until it has come its run is in flight |
//! | fresh run | - | one that is not on disk yet: its first turn may go there with it |
//! | run queue, lease | work queue | ready runs in memory, fair between flows; a lease is a run on a thread |
//! | subscriber | waiting client | a caller who waits for what a run has to say |
//! | service, turn of it | background worker | what is done again and again until the end; one loop runs them all |
//! | lane | send queue, worker | the messages of one account, on their way out |
//! | recipient queue | ordered queue per key | keeps the order of what one person gets |
//! | set aside | spilled | who waits so long that nothing of theirs is held in memory |
//! | permit | semaphore | leave for an attempt to touch the wire; so many are held at once |
//! | breaker, pause | circuit breaker | an account does not send; a probe is its half-open state |
//! | attempt | delivery attempt | one try of one message, on record before the wire is touched |
//! | unknown | in doubt | nobody knows whether a message went out |
//! | failover, diversion | failover | another account sends instead |
//! | message timers, run timers | timers, schedulers | services that do what is due by the clock |
//! | bell | signal, condition variable | shortens a wait; the table stays the truth |
//! | evidence, reconciliation | reconciliation | acks and echoes that show what became of a message |
//! | letter | routed inbound message | what a person wrote, with the runs that it would begin |
//! | told, heard | gateway event | what a gateway sends to us |
//! | occurrence | scheduled tick | an instant at which a trigger was due, and its fate |
//! | ledger | domain logic, state machines | the legal steps of what is durable, each in one transaction |
//! | work, happened | unit of work, domain event | what a step works with; what it means for others, worked off before the commit |
//! | set | batch | hot commands of a group that are run together |
//! | opt-out | unsubscribe | a person wants to hear no more of an account |
//! | seen file | processed-files table | which files a watch has seen |
//! | catalog | registry, snapshot | the flows that are live, swapped whole |
//! | ground | environment | what all flows are built on: accounts, secrets, zone |
//! | stale | last known good | a flow whose file has a mistake; its last good version is live |
//! | feed, change | change stream | what pages are told, by server-sent events |
//! | tally | metrics | counts, for `/metrics` and pages |
//! | walls | isolation, tenancy | what keeps the flows of different authors apart |

pub mod alarm;
pub mod app;
pub mod blobs;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cores;
pub mod feed;
pub mod fetch;
pub mod few;
pub mod files;
pub mod flow;
pub mod http;
pub mod id;
pub mod inbound;
pub mod json;
pub mod ledger;
pub mod links;
pub mod memory;
pub mod model;
pub mod outbox;
pub mod panics;
pub mod plain;
pub mod preview;
pub mod run;
pub mod script;
pub mod secret;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod tally;
pub mod telemetry;
pub mod transport;
pub mod trigger;
pub mod units;
pub mod view;
pub mod wake;
