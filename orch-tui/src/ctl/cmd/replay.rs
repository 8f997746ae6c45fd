//! `orchctl agent replay`: takes the place of an agent program. Arguments and text only; the work is in `crate::agent`.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use orch_proto::ErrorCode;

use crate::agent::{Spoken, copy, replay};
use crate::ctl::failure::Failure;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// How the program spoke
    protocol: Spoken,
    /// What it printed
    transcript: PathBuf,
    /// Files that it leaves here, with all that is below this directory
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Time before each line, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pace: u64,
    /// With which code it ends
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    exit: u8,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    if let Some(work) = &args.work {
        copy(work, Path::new(".")).map_err(|error| unreadable(work, &error))?;
    }
    let transcript = File::open(&args.transcript).map_err(|error| unreadable(&args.transcript, &error))?;
    // The console holds the stream itself; another descriptor of it can be read.
    let client = BufReader::new(File::from(std::io::stdin().as_fd().try_clone_to_owned()?));
    let pace = Duration::from_millis(args.pace);
    replay(args.protocol, BufReader::new(transcript), (client, std::io::stdout()), pace)?;
    match args.exit {
        0 => Ok(()),
        code => Err(Failure::Exit(code)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("`{}` cannot be read: {error}", path.display());
    Failure::new(ErrorCode::NotFound, message, "name what an agent program printed, and a directory of files")
}
