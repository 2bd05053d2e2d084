//! Runs Gemma, Llama and Mistral models on a CPU: a safe interface to libgemma without other dependencies.
//!
//! ```no_run
//! use gemma::{Conversation, GenerateOptions, Model, Session, SessionOptions};
//!
//! fn main() -> gemma::Result<()> {
//!     let model = Model::load("model.gguf")?;
//!     let mut session = Session::new(&model, SessionOptions { n_ctx: 2048, ..Default::default() })?;
//!     let mut chat = Conversation::new(&model)?;
//!     for question in ["Where is the lighthouse?", "Who keeps it?"] {
//!         chat.ask(&mut session, question, &GenerateOptions::default(), |text| print!("{text}"))?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! libgemma is found in `GEMMA_LIB_DIR` (a folder with `libgemma.so`), by pkg-config, or in the linker's default folders.
//! Any number of threads may use a [`Model`] and a [`Scheduler`]; a [`Session`] is for one thread at a time. The borrow
//! checker ensures this: logits are borrowed from the session, which cannot compute while they are in use.
#![warn(missing_docs)]

mod error;
mod ffi;
mod generation;
mod model;
mod scheduler;
mod session;

pub use error::{Error, Result};
pub use generation::{Counts, GenerateOptions, Sampling, StopReason, Token};
pub use model::{Grammar, Model, ModelInfo};
pub use scheduler::{Answer, Scheduler};
pub use session::{Canceller, Conversation, Draft, Session, SessionOptions, Stream};

/// The version of the loaded library.
pub fn version() -> &'static str {
    // SAFETY: the result is a static NUL-terminated text
    unsafe { std::ffi::CStr::from_ptr(ffi::gemma_version()) }
        .to_str()
        .unwrap_or("")
}
