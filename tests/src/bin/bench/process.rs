//! What the kernel knows of a process.

use anyhow::{Context, Result};

/// Its share of memory in KiB: private pages, and its part of those it shares.
pub(crate) fn pss_kib(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    field(&path, "Pss:")
}

/// How often its threads, all together, have gone to sleep waiting for something: each is a wake-up later.
pub(crate) fn sleeps(pid: u32) -> Result<u64> {
    let mut all = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        all += field(&thread?.path().join("status").to_string_lossy(), "voluntary_ctxt_switches:")?;
    }
    Ok(all)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line =
        text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name} in {path}"))?;
    let number = line.split_whitespace().nth(1).context("a number")?;
    Ok(number.parse()?)
}
