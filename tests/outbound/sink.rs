//! Whoever is dialled: a listener on every address, on the ports that the targets name. It answers as the path says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};

const PORTS: [u16; 7] = [80, 443, 22, 25, 6379, 65535, 3128];

/// Listens until the process ends.
pub(crate) struct Sink {
    /// How many requests came to each address.
    requests: Arc<Mutex<BTreeMap<IpAddr, u64>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let requests: Arc<Mutex<BTreeMap<IpAddr, u64>>> = Arc::default();
        for port in PORTS {
            let listener = listen(port);
            let requests = Arc::clone(&requests);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let (stream, requests) = (stream.unwrap(), Arc::clone(&requests));
                    std::thread::spawn(move || serve(&stream, &requests));
                }
            });
        }
        Self { requests }
    }

    pub(crate) fn requests(&self, address: IpAddr) -> u64 {
        self.requests.lock().get(&address).copied().unwrap_or(0)
    }

    pub(crate) fn total(&self) -> u64 {
        self.requests.lock().values().sum()
    }
}

fn listen(port: u16) -> TcpListener {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    socket
        .bind(&std::net::SocketAddr::from(([0_u16; 8], port)).into())
        .unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

/// Answers requests until the peer goes: `/fail` with 500, `/to/URL` with a redirect to it, everything else with 200.
fn serve(stream: &TcpStream, requests: &Mutex<BTreeMap<IpAddr, u64>>) {
    let address = stream.local_addr().unwrap().ip().to_canonical();
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 0) && line != "\r\n" {
            head.push(std::mem::take(&mut line));
        }
        if line != "\r\n" {
            return;
        }
        let length = head.iter().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("content-length:")?.trim().parse().ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        *requests.lock().entry(address).or_default() += 1;
        let target = head[0].split(' ').nth(1).unwrap_or_default();
        let (status, location) = match target.split_once("/to/") {
            Some((_, url)) => ("302 Found", format!("location: {url}\r\n")),
            None if target == "/fail" => ("500 Failed", String::new()),
            None => ("200 OK", String::new()),
        };
        let answer = format!("HTTP/1.1 {status}\r\n{location}content-length: 0\r\n\r\n");
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
