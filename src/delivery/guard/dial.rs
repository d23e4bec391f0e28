//! The seam to the network: the one place that opens a connection for a delivery.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

/// A connection under way.
pub type DialFuture<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

/// Opens connections. Whoever calls it has checked the address.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to `address`, directly.
    fn dial(&self, address: SocketAddr) -> DialFuture<'_>;
}

/// The machine's network.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDial;

impl Dial for SystemDial {
    fn dial(&self, address: SocketAddr) -> DialFuture<'_> {
        Box::pin(TcpStream::connect(address))
    }
}
