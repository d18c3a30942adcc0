//! Where the daemon is on this machine: the one look at the file system that the client takes.

use crate::error::Error;
use std::env;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// The endpoint of a daemon's `rpc` socket.
///
/// A directory that was named, here or in `AMID_RUN_DIR`, is the only one that is looked in: another could be another PBX's.
/// [`Kind::Unreachable`](crate::Kind::Unreachable) when there is none, with where it looked.
pub(crate) fn find(run_dir: Option<&Path>) -> Result<String, Error> {
    let mut looked = Vec::new();
    for dir in run_dir.map_or_else(usual, |named| vec![named.to_owned()]) {
        match look(&dir) {
            Ok(()) => return Ok(format!("ipc://{}/rpc", dir.display())),
            Err(found) => looked.push(format!("{}: {found}", dir.display())),
        }
    }
    Err(Error::unreachable(format_args!(
        "no amid daemon found ({})",
        looked.join("; ")
    )))
}

fn usual() -> Vec<PathBuf> {
    let of = |variable| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(named) = of("AMID_RUN_DIR") {
        return vec![named];
    }
    let private = of("XDG_RUNTIME_DIR").map(|path| path.join("amid"));
    [Some(PathBuf::from("/run/amid")), private].into_iter().flatten().collect()
}

/// Whether a directory holds the socket; if not, what is there instead.
fn look(dir: &Path) -> Result<(), String> {
    match fs::metadata(dir.join("rpc")) {
        Ok(found) if found.file_type().is_socket() => Ok(()),
        Ok(_) => Err("`rpc` is no socket".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
