//! `orchctl demo`: the main job end to end, on a fresh state directory.

use crate::ctl::failure::Failure;
use crate::ctl::session::Session;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the daemon up
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to work
    #[arg(long)]
    pub(crate) directory: Option<PathBuf>,
}

pub(crate) async fn run(_session: &mut Session, _args: DemoArgs) -> Result<(), Failure> {
    Ok(())
}
