use std::sync::Arc;

use tokio::sync::Semaphore;

/// Holds up those who pass through until it is opened.
#[derive(Debug, Clone)]
pub struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub fn closed() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        self.arrived.add_permits(1);
        drop(self.open.acquire().await.unwrap());
    }

    /// Waits until somebody stands at the gate. Each arrival is told of once.
    pub async fn reached(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Whether somebody has come to the gate whom nobody was told of yet.
    pub fn is_reached(&self) -> bool {
        self.arrived.available_permits() > 0
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.open.add_permits(1);
    }
}
