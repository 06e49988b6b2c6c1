//! Turns of the runs of random commands: made as the engine makes them from what is ready.

use super::*;

impl World {
    /// One turn of a run that is ready.
    pub(super) async fn turn(
        &mut self,
        choice: usize,
        sketches: &[Sketch],
        kv: &[sketch::Write],
        event: Option<(u8, Option<u8>)>,
        end: &End,
    ) {
        self.wake().await;
        let is_ready = |(_, run): &(&u32, &super::super::model::Run)| matches!(run.place, Place::Ready(_));
        let Some(number) = Self::pick(self.model.runs.iter().filter(is_ready).map(|(number, _)| *number), choice)
        else {
            return;
        };
        let all = self.store().ready_runs("flow", 0, 1_000).await.unwrap();
        let ready = all.into_iter().find(|ready| ready.id == rid(number)).expect("the run is ready");
        let promises = self.promised(sketches);
        let mut commit = TurnCommit { attempt: ready.attempt, ready: ready.ready, ..turn(1, super::super::ends()) };
        (commit.run, commit.at) = (rid(number), self.time());
        if let Some(Question::Wait(postrider::model::question::Wait::Delivery { message, .. })) =
            ready.pending.as_ref().map(|pending| &pending.question)
        {
            commit.waited_for = Some(*message);
        }
        commit.promises.messages = promises.iter().map(|promise| self.message(number, promise).into()).collect();
        commit.promises.kv = kv.iter().map(|write| self.write(write)).collect();
        let data = json!(self.fresh());
        if let Some((name, key)) = event {
            let mark = Digest::of(&data.to_string());
            let key = key.map(|key| key.to_string());
            let position = self.model.runs[&number].entries;
            commit.promises.events = vec![Emitted { position, mark, name: name.to_string(), key, data: data.clone() }];
        }
        let plan = self.planned(number, &ready, end, &promises);
        let position = self.journal(&mut commit, number, &ready, &plan);
        commit.outcome = self.outcome(position, &plan, &ready);
        if matches!(plan, Plan::Fail | Plan::Retry(_)) {
            commit.promises = Default::default();
        }
        let committed = self.store().commit_turn(commit.clone()).await.unwrap();
        if self.model.is_taken(if commit.promises.messages.is_empty() { &[] } else { &promises }) {
            assert_eq!(committed, Committed::KeyTaken);
            return;
        }
        assert!(super::super::is_yes(&committed), "{committed:?}");
        self.old.insert(number, ready.ready);
        self.remember(number, &ready);
        if matches!(plan, Plan::Ask { .. }) {
            self.model.loosen();
        }
        let run = self.model.runs.get_mut(&number).unwrap();
        (run.has_begun, run.entries) = (true, run.entries + u32::try_from(commit.entries.len()).unwrap());
        if !matches!(plan, Plan::Fail | Plan::Retry(_)) {
            self.keep(number, &promises, kv, event.map(|(name, key)| (name, key, data)));
        }
        self.model.runs.get_mut(&number).unwrap().place = Place::Ready(Said::Anything);
        self.end(number, &plan);
    }

    fn promised(&mut self, sketches: &[Sketch]) -> Vec<Promise> {
        let mut keys = BTreeSet::new();
        let promised = |sketch: &Sketch| {
            let number = self.fresh();
            Promise {
                number,
                to: sketch.to,
                // No two of them are due at the same instant.
                at: sketch.delay.map(|delay| self.now + 1_000 * i64::from(delay) + i64::from(number)),
                valid_for: sketch.valid_for.map(|valid| 1_000 * i64::from(valid)),
                keep: sketch.keep,
                key: sketch.key.filter(|key| keys.insert((*key, sketch.to))),
            }
        };
        sketches.iter().map(promised).collect()
    }

    fn message(&self, run: u32, promise: &Promise) -> NewMessage {
        let mut new = message(1, PEOPLE[promise.to]);
        new.body.options.keep = promise.keep;
        NewMessage {
            id: mid(promise.number),
            run: Some(rid(run)),
            to: Recipient::parse(PEOPLE[promise.to]).unwrap(),
            at: promise.at.map(from_millis),
            valid_for: promise.valid_for.map(|valid| std::time::Duration::from_millis(valid.unsigned_abs())),
            key: promise.key.map(|key| key.to_string()),
            ..new
        }
    }

    fn until(&self, seconds: u8) -> i64 {
        self.now + 1_000 * i64::from(seconds)
    }

    fn write(&self, (shared, key, value, ttl): &sketch::Write) -> KvWrite {
        let value = value.map(|value| json!(value));
        KvWrite { shared: *shared, key: key.to_string(), value, expires_at: ttl.map(|ttl| self.until(ttl)) }
    }

    /// What the turn ends with, given who is there.
    fn planned(&mut self, number: u32, ready: &ReadyRun, end: &End, promises: &[Promise]) -> Plan {
        let known = self.model.messages.keys().copied().chain(promises.iter().map(|promise| promise.number));
        let known: Vec<u32> = known.collect();
        let was_asked = ready.pending.as_ref().is_some_and(|pending| {
            matches!(pending.question, Question::Wait(postrider::model::question::Wait::Ask(_)))
        });
        match end {
            End::Succeed => Plan::Succeed,
            End::Retry(seconds) if !was_asked => Plan::Retry(self.until(*seconds)),
            End::Fail | End::Retry(_) => {
                if was_asked {
                    self.asked.insert(number);
                }
                Plan::Fail
            }
            End::Delivery { message, goal, seconds } => match Self::pick(known, *message) {
                Some(message) => {
                    let goal = [Accepted, Sent, Delivered, Read][usize::from(*goal)];
                    Plan::Wait(Wait::Delivery { message, goal }, self.until(*seconds))
                }
                None => Plan::Succeed,
            },
            End::Event { name, key, seconds } => {
                Plan::Wait(Wait::Event { name: *name, key: *key }, self.until(*seconds))
            }
            End::Words(seconds) => Plan::Wait(Wait::Words { from: TALKER }, self.until(*seconds)),
            End::Ask { to, seconds } if !self.model.opted_out.contains(to) => {
                let message = self.fresh();
                // Its reminder and its repetition have numbers of their own.
                self.last += 2;
                Plan::Ask { message, to: *to, timeout: 1_000 * i64::from(*seconds) }
            }
            End::Sleep(seconds) | End::Ask { seconds, .. } => Plan::Wait(Wait::Time, self.until(*seconds)),
            End::Cancel { message } => Self::pick(known, *message).map_or(Plan::Succeed, Plan::Cancel),
            End::Increment { shared, by } => Plan::Increment { shared: *shared, by: i64::from(*by) },
        }
    }

    /// Writes the answer that the turn began with, and a line of its own; gives the next free place.
    fn journal(&self, commit: &mut TurnCommit, number: u32, ready: &ReadyRun, plan: &Plan) -> u32 {
        let mut position = self.model.runs[&number].entries;
        let answer = ready.answer.clone().unwrap_or(Ok(Value::Null));
        let answered = ready.pending.clone().map(|pending| pending.answered(self.time(), answer));
        match plan {
            Plan::Retry(_) => {}
            Plan::Fail => commit.lost = answered.into_iter().collect(),
            _ => {
                position += u32::from(answered.is_some());
                commit.entries = answered.into_iter().chain([entry(position, json!(1))]).collect();
                position += 1;
            }
        }
        position
    }

    fn outcome(&self, position: u32, plan: &Plan, ready: &ReadyRun) -> Outcome {
        let error = ScriptError::new("thrown", "no");
        let question = match plan {
            Plan::Succeed => return Outcome::Succeeded(Value::Null),
            Plan::Fail => return Outcome::Failed(error),
            Plan::Retry(at) => {
                let (pending, answer) = (ready.pending.clone(), ready.answer.clone());
                return Outcome::Retrying(Box::new(Retrying { error, at: from_millis(*at), pending, answer }));
            }
            Plan::Cancel(number) => {
                Question::Change(postrider::model::question::Change::Cancel { message: mid(*number) })
            }
            Plan::Increment { shared, by } => Question::Change(postrider::model::question::Change::Increment {
                shared: *shared,
                key: sketch::SUM.to_string(),
                by: (*by).into(),
            }),
            Plan::Ask { message, to, timeout } => {
                Question::Wait(postrider::model::question::Wait::Ask(Box::new(Asked {
                    message: mid(*message),
                    reminder: mid(*message + 1),
                    repetition: mid(*message + 2),
                    account: "main".into(),
                    to: PEOPLE[*to].into(),
                    text: "Ok?".into(),
                    choices: Vec::new(),
                    timeout: *timeout,
                    remind: None,
                })))
            }
            Plan::Wait(wait, until) => match wait {
                Wait::Delivery { message, goal } => Question::Wait(postrider::model::question::Wait::Delivery {
                    message: mid(*message),
                    goal: goal.name().into(),
                    until: Some(*until),
                }),
                Wait::Event { name, key } => {
                    let run = &self.model.runs[&number(ready.id.as_bytes())];
                    let mut got: Vec<i64> = run.got.iter().map(|(_, number)| *number).collect();
                    got.extend(told(ready).map(|(_, number)| number));
                    let (name, key) = (name.to_string(), key.map(|key| key.to_string()));
                    Question::Wait(postrider::model::question::Wait::Event {
                        name,
                        key,
                        after: 0,
                        got,
                        until: Some(*until),
                    })
                }
                Wait::Words { from } => Question::Wait(postrider::model::question::Wait::Message {
                    account: Some("main".into()),
                    from: Some(PEOPLE[*from].into()),
                    text: None,
                    until: *until,
                }),
                _ => Question::Wait(postrider::model::question::Wait::Sleep { until: *until }),
            },
        };
        Outcome::Waiting(pending(position, question))
    }

    /// The event that the run got, so that it gets another one next.
    fn remember(&mut self, number: u32, ready: &ReadyRun) {
        self.model.runs.get_mut(&number).unwrap().got.extend(told(ready));
    }

    fn keep(
        &mut self,
        number: u32,
        promises: &[Promise],
        kv: &[sketch::Write],
        event: Option<(u8, Option<u8>, Value)>,
    ) {
        for promise in promises {
            self.model.promise(number, promise, self.now);
        }
        for (shared, key, value, ttl) in kv {
            let until = ttl.map(|ttl| self.until(ttl));
            match value {
                Some(value) => self.model.values.insert((*shared, *key), (json!(value), until)),
                None => self.model.values.remove(&(*shared, *key)),
            };
        }
        if let Some((name, key, data)) = event {
            self.model.emits(number, name, key, data);
        }
    }

    fn end(&mut self, number: u32, plan: &Plan) {
        let now = self.now;
        match plan {
            Plan::Succeed => self.model.runs.get_mut(&number).unwrap().place = Place::Over(RunState::Succeeded),
            Plan::Fail => self.model.runs.get_mut(&number).unwrap().place = Place::Over(RunState::Failed),
            Plan::Retry(at) => self.model.waits(number, Wait::Retry, Some(*at)),
            Plan::Wait(Wait::Delivery { message, goal }, until) => {
                self.model.waits_for_message(number, *message, *goal, *until);
            }
            Plan::Wait(wait, until) => {
                self.model.waits(number, wait.clone(), Some(*until));
                self.model.tell(number);
            }
            Plan::Ask { message, to, timeout } => self.model.asks(number, *message, *to, *timeout, now),
            Plan::Cancel(message) => {
                let before = self.model.messages[message].state;
                let is_open = matches!(before, Scheduled | Queued);
                if is_open {
                    self.model.loosen();
                    self.model.moves(*message, Cancelled, now);
                }
                // What was taken back before is no less taken back.
                let said = if before == Cancelled { Said::Anything } else { Said::Value(None, json!(is_open)) };
                self.model.waits(number, Wait::Time, None);
                self.model.answer(number, said, now);
            }
            Plan::Increment { shared, by } => {
                let sum = self.model.increment(*shared, sketch::SUM, *by, now);
                self.model.waits(number, Wait::Time, None);
                self.model.answer(number, Said::Value(None, sum), now);
            }
        }
    }
}

/// How a turn ends, with all that is to be known of it.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Succeed,
    Fail,
    Retry(i64),
    Wait(Wait, i64),
    Ask { message: u32, to: usize, timeout: i64 },
    Cancel(u32),
    Increment { shared: bool, by: i64 },
}

/// The event that a run was told, and its number.
fn told(ready: &ReadyRun) -> Option<(Value, i64)> {
    let is_event =
        matches!(ready.pending.as_ref()?.question, Question::Wait(postrider::model::question::Wait::Event { .. }));
    let answer = ready.answer.as_ref().filter(|_| is_event)?.as_ref().ok()?;
    Some((answer["data"].clone(), answer["number"].as_i64()?))
}
