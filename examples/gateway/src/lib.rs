//! A caching reverse proxy. The program is in `main.rs`; [`app`] is all of it but the command line.

mod proxy;

pub use proxy::app;
