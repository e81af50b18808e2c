//! Runs of a whole process, as a person at a prompt sees them: from start to exit, with the largest memory held.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wait4::Wait4;

#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) max: Duration,
    /// Largest resident set of any run, in bytes. The kernel counts the moment before `exec` too, so nothing can show less
    /// than xtask itself holds: a few MiB.
    pub(crate) peak: u64,
}

/// `runs` runs after two that warm the caches. `prepare` comes before each run and is not measured.
pub(crate) fn measure(
    runs: usize,
    mut prepare: impl FnMut() -> Result<()>,
    command: impl Fn() -> Command,
) -> Result<Measured> {
    let mut times = Vec::with_capacity(runs);
    let mut peak = 0;
    for run in 0..runs + 2 {
        prepare()?;
        let (time, rss) = once(command())?;
        if run >= 2 {
            times.push(time);
            peak = peak.max(rss);
        }
    }
    times.sort();
    let (Some(min), Some(max)) = (times.first(), times.last()) else {
        bail!("no runs")
    };
    Ok(Measured {
        min: *min,
        median: times[times.len() / 2],
        max: *max,
        peak,
    })
}

fn once(mut command: Command) -> Result<(Duration, u64)> {
    let name = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    // Read to its end before waiting: a full pipe would hold the child for ever.
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr
            .read_to_end(&mut said)
            .with_context(|| format!("reading what {name} says"))?;
    }
    let used = child
        .wait4()
        .with_context(|| format!("waiting for {name}"))?;
    let time = begin.elapsed();
    if !used.status.success() {
        let said = String::from_utf8_lossy(&said);
        bail!(
            "{name} ended with {}: {}",
            used.status,
            said.trim_end().lines().next().unwrap_or("it said nothing")
        );
    }
    Ok((time, used.rusage.maxrss))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_time_and_a_size() {
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("0.01");
            command
        };
        let measured = measure(3, || Ok(()), sleep).unwrap();
        assert!(measured.min >= Duration::from_millis(10), "{measured:?}");
        assert!(
            measured.min <= measured.median && measured.median <= measured.max,
            "{measured:?}"
        );
        assert!(measured.peak > 100_000, "{measured:?}");
    }

    #[test]
    fn a_failure_is_not_measured() {
        let fail = || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such host >&2; exit 1"]);
            command
        };
        let error = measure(1, || Ok(()), fail).unwrap_err().to_string();
        assert!(error.ends_with("exit status: 1: no such host"), "{error}");
    }
}
