//! Figures of the machine and of this process: memory, processor, disk, and who has a file open.
use super::metrics::Reading;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What the last look saw: rates are taken between two looks.
struct Looked {
    system: System,
    at: Instant,
    disk_bytes: u64,
}

static LAST: Mutex<Option<Looked>> = Mutex::new(None);

/// The machine at one moment; the same for every database of a round.
#[derive(Clone)]
pub struct Machine {
    pub readings: Vec<Reading>,
    /// Handles a file, by its full path.
    handles: Option<HashMap<PathBuf, u32>>,
}

impl Machine {
    pub fn look() -> Machine {
        Machine { readings: figures(), handles: handles() }
    }

    pub fn connections(&self, file: &Path) -> Reading {
        let full = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        match &self.handles {
            Some(all) => Reading::new("connection_count", f64::from(all.get(&full).copied().unwrap_or(0))),
            None => Reading::none("connection_count", "not measurable here: open handles are listed on Linux only"),
        }
    }
}

fn figures() -> Vec<Reading> {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut looked = match last.take() {
        Some(before) => before,
        None => match System::new() {
            Ok(mut system) => {
                system.refresh_cpu_usage();
                let disk_bytes = disk_bytes(&mut system).unwrap_or(0);
                Looked { system, at: Instant::now(), disk_bytes }
            }
            Err(e) => return ["memory_usage", "cpu_usage", "disk_io"].map(|m| Reading::none(m, format!("not measurable here: {e}"))).to_vec(),
        },
    };
    // Two looks at the processor must be some time apart to mean anything.
    if let Some(rest) = sysinfo::MINIMUM_CPU_UPDATE_INTERVAL.max(Duration::from_millis(200)).checked_sub(looked.at.elapsed()) {
        std::thread::sleep(rest);
    }
    let seconds = looked.at.elapsed().as_secs_f64();
    let system = &mut looked.system;
    system.refresh_memory();
    system.refresh_cpu_usage();
    let cpu = f64::from(system.global_cpu_usage());
    let (total, free) = match system.cgroup_limits().filter(|c| c.total_memory > 0 && c.total_memory < system.total_memory()) {
        Some(c) => (c.total_memory, c.free_memory),
        None => (system.total_memory(), system.available_memory()),
    };
    let memory = if total > 0 {
        Reading::new("memory_usage", total.saturating_sub(free) as f64 / total as f64 * 100.0)
    } else {
        Reading::none("memory_usage", "not measurable here: the system does not tell its memory")
    };
    let disk = match disk_bytes(system) {
        Some(now) => {
            let moved = now.saturating_sub(looked.disk_bytes);
            looked.disk_bytes = now;
            Reading::new("disk_io", moved as f64 / seconds)
        }
        None => Reading::none("disk_io", "not measurable here: the system does not tell what a process reads and writes"),
    };
    looked.at = Instant::now();
    *last = Some(looked);
    vec![memory, Reading::new("cpu_usage", cpu), disk]
}

/// Bytes this process has read from and written to disk so far.
fn disk_bytes(system: &mut System) -> Option<u64> {
    let me = Pid::from_u32(std::process::id());
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[me]), true, ProcessRefreshKind::nothing().with_disk_usage());
    let used = system.process(me)?.disk_usage();
    Some(used.total_read_bytes.saturating_add(used.total_written_bytes))
}

/// Reads links only; no database file is opened by this.
fn handles() -> Option<HashMap<PathBuf, u32>> {
    let mut found = HashMap::new();
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for fd in fds.flatten() {
            if let Ok(to) = std::fs::read_link(fd.path())
                && to.is_absolute()
            {
                *found.entry(to).or_insert(0) += 1;
            }
        }
    }
    Some(found)
}

/// The machine's name, for the owner of a lock.
pub fn name() -> String {
    System::host_name().unwrap_or_else(|_| "localhost".into())
}

/// Whether a process of this machine is alive; true where that cannot be told.
pub fn alive(pid: u32) -> bool {
    let Ok(mut system) = System::new() else { return true };
    let pid = Pid::from_u32(pid);
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, ProcessRefreshKind::nothing());
    system.process(pid).is_some()
}
