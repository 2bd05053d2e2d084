//! Gemma, Llama and Mistral on a CPU: a safe interface of libgemma, without other crates.
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
//! libgemma is found by `GEMMA_LIB_DIR` (a folder with `libgemma.so`), by pkg-config, or where the linker looks.
//! A [`Model`] and a [`Scheduler`] are for any number of threads; a [`Session`] for one at a time, which the borrow checker
//! sees to: logits are borrowed from it, and while they are, nothing is computed.
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

/// The version of the library that runs.
pub fn version() -> &'static str {
    // SAFETY: a static text that ends with a NUL
    unsafe { std::ffi::CStr::from_ptr(ffi::gemma_version()) }
        .to_str()
        .unwrap_or("")
}
