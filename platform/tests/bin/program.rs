//! The program that this package's tests start as others start `lap`: `__keeper …` is a keeper, `serve …` a server's
//! session service that can be killed.
#![allow(missing_docs)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        // Before any thread is started: a rule of the keeper.
        Some("__keeper") => ExitCode::from(u8::try_from(lap_keeper::main(arguments)).unwrap_or(1)),
        Some("serve") => match arguments.next() {
            Some(data) => serve(PathBuf::from(data)),
            None => ExitCode::from(2),
        },
        _ => ExitCode::from(2),
    }
}

/// A session service over a data directory, until it is killed. Says `serving` when it does.
fn serve(data: PathBuf) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build()
    else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        match service::start(data).await {
            Ok(_sessions) => {
                println!("serving");
                let _ = std::io::stdout().flush();
                std::future::pending::<ExitCode>().await
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        }
    })
}

#[path = "../support/service.rs"]
mod service;
