use std::sync::Arc;

use tokio::sync::Semaphore;

/// Stops tasks at a point of your choice until the test lets them go on.
///
/// Clones are the same gate.
///
/// ```
/// use cache_core::testing::Gate;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let gate = Gate::closed();
/// let load = tokio::spawn({
///     let gate = gate.clone();
///     async move {
///         gate.pass().await;
///         "loaded"
///     }
/// });
/// gate.reached().await;
/// // Here the load is running. Make the other requests now, or invalidate.
/// gate.open();
/// assert_eq!(load.await.unwrap(), "loaded");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    passes: Arc<Semaphore>,
}

impl Gate {
    /// Creates a gate that stops everybody.
    pub fn closed() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self {
            arrived: none(),
            passes: none(),
        }
    }

    /// Waits until the gate lets this caller through. Callers go through in the order in which they came.
    ///
    /// A caller that is dropped at the gate takes no place of another.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(permit) = self.passes.acquire().await {
            permit.forget();
        }
    }

    /// Waits until a caller has come to the gate. Each call waits for one more of them.
    pub async fn reached(&self) {
        if let Ok(arrival) = self.arrived.acquire().await {
            arrival.forget();
        }
    }

    /// Returns whether a caller has come to the gate for whom no [`reached`](Self::reached) has returned yet.
    pub fn is_reached(&self) -> bool {
        self.arrived.available_permits() > 0
    }

    /// Lets `callers` through: those who stand at the gate, and then those who come.
    pub fn admit(&self, callers: usize) {
        self.passes.add_permits(callers);
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.passes.close();
    }
}
