//! `/metrics`, in Prometheus' text form.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::House;
use super::error::Refused;
use crate::memory::resident;
use crate::tally::{CLASSES, Times};
use crate::view::AccountRow;

/// What is read of everything at one moment.
struct Reading {
    house: Arc<House>,
    accounts: Vec<AccountRow>,
    waiting: Vec<(&'static str, u64)>,
    bad: Vec<(String, String, u64)>,
    now: jiff::Timestamp,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

/// Times by classes, as a histogram.
struct Histogram<'a>(&'a Times);

impl EncodeMetric for Histogram<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (sum, count, classes) = self.0.read();
        let bounds = CLASSES.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(classes).collect();
        encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

type Encoded = Result<(), std::fmt::Error>;

impl Reading {
    fn encode_counts(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let tally = &self.house.view.tally;
        let name = "postrider_runs";
        let mut family = encoder.encode_descriptor(name, "Runs that came to a state", None, MetricType::Counter)?;
        for (state, count) in tally.all_runs() {
            ConstCounter::new(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "postrider_messages",
            "Messages that came to a state, by account",
            None,
            MetricType::Counter,
        )?;
        for ((account, state), count) in tally.all_messages() {
            let labels = [("account", account.as_str()), ("state", state)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "postrider_requests_refused",
            "Requests that were refused, by side and status",
            None,
            MetricType::Counter,
        )?;
        for ((status, side), count) in tally.all_refused() {
            let labels = [("side", side), ("status", status.as_str())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_states(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let gauge = MetricType::Gauge;
        let mut family = encoder.encode_descriptor("postrider_runs_open", "Runs that are not over", None, gauge)?;
        for (state, count) in &self.waiting {
            ConstGauge::new(*count).encode(family.encode_family(&[("state", *state)])?)?;
        }
        let mut family =
            encoder.encode_descriptor("postrider_messages_bad", "Messages that need a person", None, gauge)?;
        for (account, flow, count) in &self.bad {
            let labels = [("account", account.as_str()), ("flow", flow.as_str())];
            ConstGauge::new(*count).encode(family.encode_family(&labels)?)?;
        }
        let mut family =
            encoder.encode_descriptor("postrider_account_ready", "1 if the account can send", None, gauge)?;
        for account in &self.accounts {
            let ready = u64::from(account.state == "ready");
            ConstGauge::new(ready).encode(family.encode_family(&[("account", account.name.as_str())])?)?;
        }
        let mut family = encoder.encode_descriptor("postrider_backlog", "Messages that wait", None, gauge)?;
        for account in &self.accounts {
            ConstGauge::new(account.backlog).encode(family.encode_family(&[("account", account.name.as_str())])?)?;
        }
        let mut family = encoder.encode_descriptor(
            "postrider_oldest_waiting",
            "Age of the oldest message that waits",
            Some(&Unit::Seconds),
            gauge,
        )?;
        for account in &self.accounts {
            let age = account.oldest.map_or(0.0, |at| self.now.duration_since(at.0).as_secs_f64().max(0.0));
            ConstGauge::new(age).encode(family.encode_family(&[("account", account.name.as_str())])?)?;
        }
        Ok(())
    }

    fn encode_engine(&self, encoder: &mut DescriptorEncoder<'_>) -> Encoded {
        let tally = &self.house.view.tally;
        let seconds = Some(&Unit::Seconds);
        let histogram = MetricType::Histogram;
        let times = encoder.encode_descriptor("postrider_commit", "Time of a durable commit", seconds, histogram)?;
        Histogram(tally.commits()).encode(times)?;
        let times = encoder.encode_descriptor(
            "postrider_schedule_lateness",
            "How late runs by the clock began",
            seconds,
            histogram,
        )?;
        Histogram(tally.lateness()).encode(times)?;
        let traffic = self.house.view.store.traffic();
        for (name, help, count) in [
            ("postrider_commits", "Commits of the store", traffic.commits),
            ("postrider_changes", "Changes in these commits", traffic.commands),
        ] {
            let counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(counter)?;
        }
        let cpu = encoder.encode_descriptor("process_cpu", "CPU time of the process", seconds, MetricType::Counter)?;
        ConstCounter::new(crate::clock::process_cpu().as_secs_f64()).encode(cpu)?;
        let flows = self.house.view.catalog.borrow().clone();
        for (name, help, unit, value) in [
            ("postrider_flows", "Flows that are live", None, flows.flows.len() as f64),
            ("postrider_flows_stale", "Flows whose file has a mistake", None, flows.stale.len() as f64),
            ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), resident() as f64),
            (
                "process_start_time",
                "When the process began, since 1970",
                seconds,
                self.house.view.engine.started.as_second() as f64,
            ),
        ] {
            let gauge = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
            ConstGauge::new(value).encode(gauge)?;
        }
        Ok(())
    }
}

impl prometheus_client::collector::Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Encoded {
        self.encode_counts(&mut encoder)?;
        self.encode_states(&mut encoder)?;
        self.encode_engine(&mut encoder)
    }
}

/// The figures, read now.
pub async fn metrics(State(house): State<Arc<House>>) -> Result<Response<Body>, Refused> {
    let counts = house.view.store.run_counts().await?;
    let waiting = counts.by_state.iter().filter(|(state, _)| !state.is_over());
    let reading = Reading {
        accounts: house.view.accounts().await?,
        waiting: waiting.map(|(state, count)| (state.name(), count.count)).collect(),
        bad: house.view.store.bad_messages().await?,
        now: house.view.clock.now(),
        house,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(reading));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Refused::busy(format!("the figures cannot be written: {error}")))?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
