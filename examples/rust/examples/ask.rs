//! Asks a model questions and prints the answers while they are generated; each question continues the
//! conversation.
//!     cargo run --release --example ask -- MODEL.gguf "a question" ["another"...]
use std::io::Write;

use gemma::{Conversation, GenerateOptions, Model, Session, SessionOptions};

fn run(path: &str, questions: &[String]) -> gemma::Result<()> {
    let model = Model::load(path)?;
    let mut session = Session::new(&model, SessionOptions::default())?;
    let mut chat = Conversation::new(&model)?;
    let options = GenerateOptions {
        max_tokens: 100,
        ..Default::default()
    };
    for question in questions {
        chat.ask(&mut session, question, &options, |text| {
            print!("{text}");
            let _ = std::io::stdout().flush();
        })?;
        println!();
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() < 3 {
        eprintln!("usage: ask MODEL.gguf \"a question\"...");
        std::process::exit(1);
    }
    if let Err(e) = run(&arguments[1], &arguments[2..]) {
        eprintln!("ask: {e}");
        std::process::exit(1);
    }
}
