//! The cache's metrics, for Prometheus.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use larder::metrics::{LOAD_BUCKETS, LOAD_DURATION, STORE_BUCKETS, STORE_DURATION};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::state::App;

/// Returns the route `/metrics`. Installs the recorder of this process, so it succeeds only once.
///
/// # Errors
/// There is a recorder already.
pub fn metrics(app: &App) -> Result<Router, Box<dyn Error>> {
    let prometheus = PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Full(LOAD_DURATION.to_owned()), &LOAD_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(STORE_DURATION.to_owned()), &STORE_BUCKETS)?
        .install_recorder()?;
    let metrics = app.metrics.clone();
    let page = move || {
        // The cache counts by itself. This passes on what it counted since the last time.
        metrics.publish();
        let page = prometheus.render();
        async move { page }
    };
    Ok(Router::new().route("/metrics", get(page)))
}
