//! Progress, where somebody watches.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::Global;
use crate::flow;

/// A line that says what is being done, and a bar while it is known how much of it there is; on a terminal only. It is gone when the
/// work is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    /// The bar counts items, because nobody knows their bytes.
    counts_items: AtomicBool,
}

const SPINNER: &str = "{spinner:.cyan} {msg}";
const BYTES: &str =
    "{spinner:.cyan} {prefix} {bar:24.cyan/dim} {binary_bytes}/{binary_total_bytes} {msg:.dim}";
const ITEMS: &str = "{spinner:.cyan} {prefix} {bar:24.cyan/dim} {pos}/{len} {msg:.dim}";

impl Progress {
    pub(crate) fn start(global: &Global, what: &str) -> Self {
        let bar = if global.quiet {
            ProgressBar::hidden()
        } else {
            // Draws nothing if stderr is no terminal.
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
        };
        let progress = Self {
            bar,
            counts_items: AtomicBool::new(false),
        };
        progress.style(SPINNER);
        progress.bar.set_message(what.to_owned());
        // What is done at once needs no spinner: it would only flicker.
        progress.bar.enable_steady_tick(Duration::from_millis(120));
        progress
    }

    pub(crate) fn say(&self, what: &str) {
        self.style(SPINNER);
        self.bar.set_message(what.to_owned());
    }

    /// Writes to stderr, above the line.
    pub(crate) fn above(&self, text: &str) {
        self.aside(|| super::tell(text));
    }

    /// Does something with the terminal while the line is out of the way.
    pub(crate) fn aside<T>(&self, what: impl FnOnce() -> T) -> T {
        self.bar.suspend(what)
    }

    /// So much of so much.
    pub(crate) fn at(&self, done: u64, of: u64, what: &str) {
        self.style(ITEMS);
        self.bar.set_length(of);
        self.bar.set_position(done);
        self.bar.set_message(what.to_owned());
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("━╸─"));
        }
    }
}

impl flow::progress::Progress for Progress {
    fn begin(&self, what: &str, items: usize, bytes: u64) {
        self.counts_items.store(bytes == 0, Ordering::Relaxed);
        self.bar.set_position(0);
        self.bar
            .set_length(if bytes > 0 { bytes } else { items as u64 });
        self.bar.set_prefix(what.to_owned());
        self.bar.set_message("");
        self.style(if bytes > 0 { BYTES } else { ITEMS });
    }

    fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn done(&self, item: &str) {
        self.bar.set_message(item.to_owned());
        if self.counts_items.load(Ordering::Relaxed) {
            self.bar.inc(1);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
