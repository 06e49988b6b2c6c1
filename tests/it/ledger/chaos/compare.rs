//! What a store shows, beside what the model of it says.

use super::super::model::Run;
use super::*;

impl World {
    pub(super) async fn compare(&mut self) {
        self.messages().await;
        self.lane().await;
        self.runs().await;
        self.ready().await;
        self.values().await;
        self.keys().await;
    }

    async fn messages(&mut self) {
        let filter = MessageFilter { limit: 1_000, ..MessageFilter::default() };
        let shown = self.store().messages(filter).await.unwrap().rows;
        assert_eq!(shown.len(), self.model.messages.len(), "messages");
        let mut bad = 0;
        for record in shown {
            let number = number(record.id.as_bytes());
            assert!(
                self.model.may_be(number, record.state, self.now),
                "message {number} is {:?}, by the model {:?}",
                record.state,
                self.model.messages[&number],
            );
            if record.state != self.model.messages[&number].state {
                self.model.moves(number, record.state, self.now);
            }
            let message = &self.model.messages[&number];
            bad += u64::from(matches!(message.state, Unknown | Rejected | Dead));
            assert_eq!((record.to.as_str(), record.run), (PEOPLE[message.to], Some(rid(message.run))));
            let tries = record.attempts.iter().filter(|attempt| attempt.outcome.name() != "opted_out").count();
            assert_eq!(tries, message.claims, "tries of message {number}");
            if message.state == Scheduled {
                assert_eq!(record.due_at.map(|at| at.as_millisecond()), message.due_at);
            }
        }
        let counted: u64 = self.store().bad_messages().await.unwrap().iter().map(|(.., count)| count).sum();
        assert_eq!(counted, bad, "bad messages");
    }

    async fn lane(&mut self) {
        let due = self.store().due_messages("main", 0, 1_000).await.unwrap();
        for due in &due {
            let message = &self.model.messages[&number(due.id.as_bytes())];
            if message.claims > 0 && message.due_at.is_some() {
                assert_eq!(due.due_at.map(|at| at.as_millisecond()), message.due_at);
            }
        }
        let shown: Vec<u32> = due.iter().map(|due| number(due.id.as_bytes())).collect();
        let (known, open): (Vec<_>, Vec<_>) = self.model.lane().into_iter().partition(|(_, is_known)| *is_known);
        let known: Vec<u32> = known.into_iter().map(|(number, _)| number).collect();
        let mut open: Vec<u32> = open.into_iter().map(|(number, _)| number).collect();
        assert_eq!(shown.len(), known.len() + open.len(), "queued: {shown:?}, by the model {known:?} and {open:?}");
        assert_eq!(shown[..known.len()], known, "the order of the lane");
        let mut rest = shown[known.len()..].to_vec();
        rest.sort_unstable();
        open.sort_unstable();
        assert_eq!(rest, open);
        self.model.ordered(&shown);
        // Whether what is on the wire is a part of it is not said.
        let sending = self.model.messages.values().filter(|message| message.state == Sending).count();
        let backlog = usize::try_from(self.store().lane_length("main").await.unwrap()).unwrap();
        assert!((shown.len()..=shown.len() + sending).contains(&backlog), "{backlog} in the backlog");
    }

    async fn runs(&mut self) {
        let shown = self.store().runs(RunFilter { limit: 1_000, ..RunFilter::default() }).await.unwrap().rows;
        let order: Vec<u32> = shown.iter().map(|record| number(record.id.as_bytes())).collect();
        assert!(order.iter().copied().eq(self.model.runs.keys().rev().copied()), "runs, newest first: {order:?}");
        for record in shown {
            let number = number(record.id.as_bytes());
            let run = &self.model.runs[&number];
            let is_right = match run.place {
                Place::Over(state) => record.state == state,
                Place::Waiting(..) => record.state == RunState::Waiting,
                Place::Ready(_) if !run.has_begun => record.state == RunState::Queued,
                Place::Ready(_) => !record.state.is_over(),
            };
            assert!(is_right, "run {number} is {:?}, by the model {run:?}", record.state);
            if let Place::Waiting(wait, until) = &run.place {
                waits_for(&record, wait, *until);
            }
            let (entries, _) = self.store().journal_after(record.id, 0).await.unwrap();
            assert_eq!(entries.len() as u32, run.entries, "the journal of run {number}");
        }
    }

    async fn ready(&mut self) {
        let ready = self.store().ready_runs("flow", 0, 1_000).await.unwrap();
        let mut shown: Vec<u32> = ready.iter().map(|ready| number(ready.id.as_bytes())).collect();
        shown.sort_unstable();
        let is_ready = |(_, run): &(&u32, &Run)| matches!(run.place, Place::Ready(_));
        let wanted: Vec<u32> = self.model.runs.iter().filter(is_ready).map(|(number, _)| *number).collect();
        assert_eq!(shown, wanted, "ready runs");
        let flows = self.store().ready_flows().await.unwrap();
        assert_eq!(flows.len(), usize::from(!wanted.is_empty()));
        for ready in ready {
            let run = &self.model.runs[&number(ready.id.as_bytes())];
            assert_eq!((ready.attempt, ready.pending.is_some()), (run.attempt, run.has_asked), "{run:?}");
            let Place::Ready(said) = &run.place else { continue };
            let answer = ready.answer;
            let is_right = match said {
                Said::Anything => true,
                Said::Nothing => answer.is_none() || answer == Some(Ok(Value::Null)),
                Said::Value(None, value) => answer.as_ref() == Some(&Ok(value.clone())),
                Said::Value(Some(name), value) => matches!(&answer, Some(Ok(map)) if map[*name] == *value),
                Said::Thrown(kind) => matches!(&answer, Some(Err(error)) if error.kind == *kind),
            };
            assert!(is_right, "the answer is {answer:?}, by the model {said:?}");
        }
    }

    async fn values(&self) {
        for (shared, flow) in [(false, "flow"), (true, "")] {
            let mut names = Vec::new();
            for key in 0..=sketch::SUM {
                let value = self.model.value(shared, key, self.now);
                names.extend(value.is_some().then(|| key.to_string()));
                let shown = self.store().kv_get(flow, &key.to_string(), self.time()).await.unwrap();
                assert_eq!(shown, value, "value {key} of `{flow}`");
            }
            assert_eq!(self.store().kv_keys(flow, "", self.time()).await.unwrap(), names);
        }
    }

    async fn keys(&self) {
        for (place, to) in PEOPLE.iter().enumerate() {
            for key in 0..2 {
                let known = self.store().keyed("flow", &key.to_string(), to).await.unwrap();
                let wanted = self.model.keys.get(&(key, place)).map(|number| mid(*number));
                assert_eq!(known.map(|known| known.id), wanted, "key {key} to {to}");
            }
        }
    }
}

fn waits_for(record: &RunRecord, wait: &Wait, until: Option<i64>) {
    let kind = match wait {
        // It waits for another question first.
        Wait::Ask { is_behind: true, .. } => return,
        Wait::Time => "time",
        Wait::Retry => "retry",
        Wait::Delivery { .. } => "delivery",
        Wait::Event { .. } => "event",
        Wait::Words { .. } | Wait::Ask { .. } => "reply",
    };
    let shown = record.waiting_for.as_ref().expect("a waiting run waits for something");
    assert_eq!((shown.kind.as_str(), shown.until), (kind, until), "what {:?} waits for", record.id);
}
