//! What is between the laptop and a host, and the ways in which it fails.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::host::Vm;

/// What is between the laptop and a host: it counts, and it can be cut.
pub(crate) struct Link {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Bytes towards the host.
    passed: AtomicU64,
    /// So many may pass; then it is cut.
    limit: AtomicU64,
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Passes on what comes from `from`, until one of both ends.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, counted: bool) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut count = count;
            if counted {
                let limit = self.limit.load(Ordering::SeqCst);
                let before = self.passed.fetch_add(count as u64, Ordering::SeqCst);
                if before + count as u64 > limit {
                    count = usize::try_from(limit.saturating_sub(before)).unwrap();
                    let _ = to.write_all(&buffer[..count]);
                    self.cut();
                    break;
                }
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}

impl Link {
    pub(crate) fn to(vm: &Vm) -> Self {
        let there = vm.port(22);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            limit: AtomicU64::new(u64::MAX),
            ..State::default()
        });
        let all = Arc::clone(&state);
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                // Dropped at once, while it is cut: as if nobody were there.
                if all.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(host) = TcpStream::connect(("127.0.0.1", there)) else {
                    continue;
                };
                let copies = |stream: &TcpStream| stream.try_clone().unwrap();
                all.open
                    .lock()
                    .unwrap()
                    .extend([copies(&here), copies(&host)]);
                for (from, to, counted) in [
                    (copies(&here), copies(&host), true),
                    (copies(&host), copies(&here), false),
                ] {
                    let all = Arc::clone(&all);
                    std::thread::spawn(move || all.pass(from, to, counted));
                }
            }
        });
        Self { port, state }
    }

    /// It is cut when so many bytes more have gone towards the host.
    pub(crate) fn cut_after(&self, bytes: u64) {
        let limit = self.state.passed.load(Ordering::SeqCst) + bytes;
        self.state.limit.store(limit, Ordering::SeqCst);
    }

    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    pub(crate) fn mend(&self) {
        self.state.limit.store(u64::MAX, Ordering::SeqCst);
        self.state.cut.store(false, Ordering::SeqCst);
    }
}
