//! Any cut of a journal replays to the same end: random scripts are driven to their end in a simulated
//! world, and then again from places in their journals, as after a crash. `POSTRIDER_REPLAY_CASE=7` runs
//! the one case of that seed, `POSTRIDER_REPLAY_CASES=5000` so many.

mod chance;
mod grammar;
mod traces;
mod words;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postrider::id::{MessageId, RunId};
use postrider::model::accounts::Accounts;
use postrider::model::journal::{Entry, Kind, Pending, Promises};
use postrider::model::message::{Content, Promised};
use postrider::model::policy::Limits;
use postrider::model::question::Question;
use postrider::script::{Ending, Main, Program, TurnInput, TurnOutput, turn};
use postrider::secret::Secret;
use serde_json::{Value, json};

use self::chance::Chance;
use self::grammar::{Script, script};
use self::traces::{KINDS, behind, count, given, is_write, stored, text, told};
use self::world::{Kept, World};
use super::{FACTS, start};

const CASES: u64 = 240;
/// Places in a journal from which a run goes on again; fewer where runs are long.
const CUTS: usize = 40;
const TURNS_OF_CUTS: usize = 4_000;
/// A run with more turns than this has no end.
const MOST_TURNS: usize = 5_000;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// One script in one world. Says which when something is wrong with it.
struct Case {
    seed: u64,
    script: Script,
    program: Program,
    world: World,
    event: String,
    params: Value,
    already: Arc<Vec<Promised>>,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Script { main, module } = &self.script;
            eprintln!("POSTRIDER_REPLAY_CASE={}\n--- lib/more\n{module}\n--- main\n{main}", self.seed);
        }
    }
}

/// A run from some place in its journal to its end.
struct Life {
    journal: Vec<Entry>,
    promises: Promises,
    /// What was asked of the outside world.
    asked: Vec<Pending>,
    ending: String,
    turns: usize,
}

impl Case {
    fn new(seed: u64) -> Self {
        let script = script(seed);
        let load = |name: &str| (name == "lib/more").then(|| Arc::from(script.module.as_str()));
        let main = Main { file: &"scripts/main.rhai".into(), text: &script.main.as_str().into(), indent: 0 };
        let program = Program::compile(main, &load).unwrap_or_else(|findings| {
            panic!("case {seed} does not compile: {findings:?}\n{}\n{}", script.module, script.main)
        });
        let event = json!({
            "trigger": "message",
            "body": { "items": [1, 2, 3] },
            "media": { "account": "main", "source": "M1", "kind": "image" },
        });
        let mut chance = Chance::of(seed, &["already"]);
        let again = |id| Promised {
            id: MessageId::from_bytes(id),
            account: "main".into(),
            to: "+15417543010".into(),
            content: Content::Text { text: "again".into() },
        };
        let already = (0..chance.below(3)).map(|_| again(chance.bytes())).collect();
        Self {
            seed,
            script,
            program,
            world: World::new(seed),
            event: event.to_string(),
            params: json!({ "team": "+15417543010" }),
            already: Arc::new(already),
        }
    }

    fn turn(&self, journal: &Arc<Vec<Entry>>, committed: usize, now: Timestamp) -> TurnOutput {
        let accounts = Accounts {
            default: Some("main".into()),
            by_name: BTreeMap::from([("main".into(), FACTS), ("other".into(), FACTS)]),
            public: false,
        };
        let hour = Duration::from_secs(3_600);
        turn(TurnInput {
            event: &self.event,
            params: &self.params,
            flow: "test",
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            accounts: Arc::new(accounts),
            secrets: Arc::new(BTreeMap::from([("KEY".to_owned(), Some(Secret::new("hidden")))])),
            run_time: start(),
            seed: Chance::of(self.seed, &["seed"]).bytes(),
            base: self.world.now(0),
            journal: journal.clone(),
            weight: journal.iter().map(Entry::weight).sum(),
            committed,
            already: self.already.clone(),
            // A busy machine is not what is tested here.
            limits: Limits { cpu_turn: hour, ..Limits::default() },
            cpu_left: hour,
            ..TurnInput::first(&self.program, RunId::from_bytes([7; 16]), now)
        })
    }

    /// Drives the run on from what is in the store, as `run::worker` does: what turns make is
    /// committed when the outside world is asked. It has given so many `answers` already.
    fn live(&self, journal: &[Entry], mut answers: usize, is_first: bool) -> Life {
        let mut journal = Arc::new(journal.to_vec());
        let (mut promises, mut asked, mut turns) = (Promises::default(), Vec::new(), 0);
        let mut open: Option<Pending> = None;
        loop {
            let committed = journal.len();
            answers += usize::from(open.is_some());
            let now = self.world.now(answers);
            let answer = |pending: Pending, journal: &mut Arc<Vec<Entry>>| {
                let answer = self.world.answer(&pending, Kept { journal: &journal[..], committed }, now);
                Arc::make_mut(journal).push(pending.answered(now, answer));
            };
            if let Some(pending) = open.take() {
                answer(pending, &mut journal);
            }
            let ending = loop {
                turns += 1;
                assert!(turns < MOST_TURNS, "no end is in sight");
                let output = self.turn(&journal, committed, now);
                only_new(&journal, &output, now);
                Arc::make_mut(&mut journal).extend(output.entries);
                promises.add(output.promises);
                if is_first {
                    self.repeat(&journal, committed, now, &output.ending);
                }
                match output.ending {
                    Ending::Waiting(pending) if matches!(pending.question, Question::Read(_)) => {
                        answer(pending, &mut journal);
                    }
                    ending => break ending,
                }
            };
            let new: Vec<Entry> = stored(&journal[committed..].to_vec());
            let entries = Arc::make_mut(&mut journal);
            entries.truncate(committed);
            entries.extend(new);
            match ending {
                Ending::Waiting(pending) => {
                    asked.push(stored(&pending));
                    open = Some(stored(&pending));
                }
                ending => {
                    let (ending, journal) = (told(&ending), Arc::unwrap_or_clone(journal));
                    return Life { journal, promises, asked, ending, turns };
                }
            }
        }
    }

    /// The same turn, a year later and with all that it has recorded in its journal: it comes to the
    /// same end and leaves nothing new.
    fn repeat(&self, journal: &Arc<Vec<Entry>>, committed: usize, now: Timestamp, ending: &Ending) {
        // A failure ends the run, and with it goes its entry: there is no turn behind that.
        if matches!(ending, Ending::Failed(_)) {
            return;
        }
        let again = self.turn(journal, committed, now + YEAR);
        assert_eq!(told(&again.ending), told(ending), "the same turn a year later");
        assert_eq!((again.entries.len(), again.replayed), (0, journal.len()), "the same turn a year later");
        assert_eq!(format!("{:?}", again.promises), format!("{:?}", Promises::default()));
    }

    /// The whole run, and the same from cuts of its journal.
    fn check(&self) -> Life {
        let whole = self.live(&[], 0, true);
        for defect in ["replay", "panic", "limit", "damaged", "version"] {
            assert!(!whole.ending.contains(&format!("kind: \"{defect}\"")), "{}", whole.ending);
        }
        let last = whole.journal.len() - count(&whole.journal, |kind| kind == Kind::Fail);
        let most = CUTS.min(TURNS_OF_CUTS / whole.turns + 2).min(last + 1);
        let mut cuts = BTreeSet::from([0, last]);
        let mut chance = Chance::of(self.seed, &["cuts"]);
        while cuts.len() < most {
            cuts.insert(chance.below(last + 1));
        }
        for cut in cuts {
            self.check_cut(&whole, cut);
        }
        whole
    }

    fn check_cut(&self, whole: &Life, cut: usize) {
        let kept = &whole.journal[..cut];
        let (answered, left): (Vec<&Pending>, Vec<&Pending>) =
            whole.asked.iter().partition(|pending| (pending.position as usize) < cut);
        let life = self.live(kept, answered.len(), false);
        for (place, (once, again)) in whole.journal.iter().zip(&life.journal).enumerate() {
            assert_eq!(text(once), text(again), "cut at {cut}: the entries at {place}");
        }
        assert_eq!(whole.journal.len(), life.journal.len(), "cut at {cut}: the length");
        assert_eq!(whole.ending, life.ending, "cut at {cut}: the ending");
        let (once, again) = (behind(&whole.promises, kept), life.promises);
        assert_eq!(format!("{once:#?}"), format!("{again:#?}"), "cut at {cut}: the promises");
        assert_eq!(text(&left), text(&life.asked), "cut at {cut}: the questions");
    }
}

/// A turn leaves what is new and nothing else: entries behind those that there are, promises for them.
fn only_new(journal: &[Entry], output: &TurnOutput, now: Timestamp) {
    assert_eq!(output.replayed, journal.len(), "calls that were made again; {}", told(&output.ending));
    for (place, entry) in (journal.len()..).zip(&output.entries) {
        assert_eq!((entry.position as usize, entry.at), (place, now.as_millisecond()), "{entry:?}");
    }
    let (new, promises) = (&output.entries, &output.promises);
    assert_eq!(promises.kv.len(), count(new, is_write), "{new:?}");
    assert_eq!(promises.runs.len(), count(new, |kind| kind == Kind::FlowStart), "{new:?}");
    assert_eq!(usize::from(promises.response.is_some()), count(new, |kind| kind == Kind::Respond), "{new:?}");
    let emitted = new.iter().filter(|entry| entry.kind == Kind::Emit).map(|entry| entry.position);
    assert!(promises.events.iter().map(|event| event.position).eq(emitted), "{new:?}");
    let (before, here) = (given(journal), given(new));
    for message in &promises.messages {
        let id = message.id.to_string();
        assert!(here.contains(&id) && !before.contains(&id), "{message:?} is promised again");
    }
}

/// What is told of a case that is as it should be.
struct Told {
    /// It asks the world five times or more.
    is_busy: bool,
    ending: String,
    kinds: BTreeSet<String>,
    script: String,
}

impl Told {
    fn of(seed: u64) -> Self {
        let case = Case::new(seed);
        let life = case.check();
        Self {
            is_busy: life.asked.len() >= 5,
            ending: life.ending.split(':').next().unwrap_or_default().to_owned(),
            kinds: life.journal.iter().map(|entry| format!("{:?}", entry.kind)).collect(),
            script: case.script.main.clone(),
        }
    }
}

#[test]
fn any_cut_of_a_journal_replays_to_the_same_end() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("POSTRIDER_REPLAY_CASE") {
        let life = Case::new(seed).check();
        return println!("{} entries, {} turns, {}", life.journal.len(), life.turns, life.ending);
    }
    let cases = number("POSTRIDER_REPLAY_CASES").unwrap_or(CASES);
    // The longest of all tests: it takes as many threads as there are cores.
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let told = std::thread::scope(|scope| {
        let some = |first: u64| (first..cases).step_by(threads as usize).map(Told::of).collect::<Vec<_>>();
        let all: Vec<_> = (0..threads).map(|first| scope.spawn(move || some(first))).collect();
        // A case that is not as it should be has said which it is.
        all.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (mut busy, mut endings, mut seen) = (0, BTreeMap::new(), String::new());
    let mut kinds = BTreeSet::new();
    for one in told {
        busy += u64::from(one.is_busy);
        *endings.entry(one.ending).or_insert(0_u64) += 1;
        kinds.extend(one.kinds);
        seen += &one.script;
    }
    println!("{cases} cases, {busy} with five questions or more, {endings:?}");
    // What is said of nothing is not worth much.
    assert!(busy * 100 >= cases * 50, "{busy} of {cases} cases ask the world five times");
    let ended = |how: &str| endings.get(how).copied().unwrap_or(0);
    assert!(ended("done") * 100 >= cases * 50 && ended("thrown") > 0 && ended("failed") > 0, "{endings:?}");
    let missing: Vec<Kind> = KINDS.into_iter().filter(|kind| !kinds.contains(&format!("{kind:?}"))).collect();
    assert!(missing.is_empty(), "no journal has {missing:?}");
    for word in ["sort(", "dedup(", "while", "switch", "catch", "throw", "Fn(", ".call(", "return", "for_each", "lib::"]
    {
        assert!(seen.contains(word), "no script has `{word}`");
    }
}
