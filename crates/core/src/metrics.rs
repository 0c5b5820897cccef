//! What a service counts, for Prometheus. The registry is passed, so that two services in one
//! process count apart.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// A service's metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<RequestLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

/// The bounds of the latency histogram, in seconds.
const LATENCIES: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

impl Metrics {
    /// Metrics whose names begin with `service`.
    #[must_use]
    pub fn new(service: &str) -> Self {
        let mut registry = Registry::with_prefix(service.replace('-', "_"));
        let requests = Family::<RequestLabels, Histogram>::new_with_constructor(|| Histogram::new(LATENCIES));
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's head to its answer, by route template and status",
            requests.clone(),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
            requests,
        }
    }

    /// Adds a metric under `name`, with `help` for the operator, and gives it back.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: &M) {
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register(name, help, metric.clone());
    }

    /// Adds a counter; its exposed name ends in `_total`.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, &counter);
        counter
    }

    /// Adds a gauge.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, &gauge);
        gauge
    }

    /// Adds a gauge family whose values, each with its `state`, are asked for at every scrape.
    pub fn collect_gauges(
        &self,
        name: &'static str,
        help: &'static str,
        values: impl Fn() -> Vec<(&'static str, usize)> + Send + Sync + 'static,
    ) {
        let collector = Gauges {
            name,
            help,
            values: Box::new(values),
        };
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .register_collector(Box::new(collector));
    }

    /// Counts one answered request.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, seconds: f64) {
        let labels = RequestLabels {
            method: method.to_owned(),
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&labels).observe(seconds);
    }

    /// All metrics in the `OpenMetrics` text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut exposition = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(
            &mut exposition,
            &self.registry.lock().unwrap_or_else(PoisonError::into_inner),
        );
        exposition
    }
}

/// A gauge family that is read when it is scraped.
struct Gauges {
    name: &'static str,
    help: &'static str,
    values: Box<dyn Fn() -> Vec<(&'static str, usize)> + Send + Sync>,
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (state, value) in (self.values)() {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let labels = [("state", state)];
            gauge.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
